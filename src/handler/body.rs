//! The body of a message, for kinds whose messages also have headers.

use serde::Deserialize;

use super::Delivery;

/// Content of the message body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Body {
    /// The event together with its key, seq, source and other metadata, as JSON.
    #[default]
    Envelope,
    /// The event alone, as BIK sent it. The metadata is in the headers.
    Raw,
}

impl Body {
    /// Renders the body for a delivery.
    pub(super) fn of(self, delivery: &Delivery) -> String {
        match self {
            Self::Envelope => delivery.to_envelope(),
            Self::Raw => delivery.event.element.rendered().into_owned(),
        }
    }
}
