//! The data that is sent for an event. Used by kinds that also pass the metadata separately, such as in headers.

use serde::Deserialize;

use super::Delivery;

/// The content of the data that is sent for an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Body {
    /// The event together with its key, seq, source and other metadata, as JSON.
    #[default]
    Envelope,
    /// The event alone. Brokers get the event as one line of JSON (see [`Body::of`]); the program of kind `exec` gets
    /// the bytes as they were received. The metadata is in the headers, or in the environment of the program.
    Raw,
}

impl Body {
    /// Renders the body of a message to a broker, as one line of JSON.
    #[allow(dead_code, reason = "a build may have no kind that uses it")]
    pub(super) fn of(self, delivery: &Delivery) -> String {
        match self {
            Self::Envelope => delivery.to_envelope(),
            Self::Raw => delivery.event.element.rendered().into_owned(),
        }
    }
}
