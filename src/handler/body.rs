//! What a message holds, for the kinds whose messages have room for the rest beside it.

use serde::Deserialize;

use super::Delivery;

/// What a message holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// The event with its key, seq, source and the rest, as JSON.
    #[default]
    Envelope,
    /// The event alone, as BIK sent it; the rest is in the headers.
    Raw,
}

impl Body {
    /// Of an event.
    pub(super) fn of(self, delivery: &Delivery) -> String {
        match self {
            Self::Envelope => delivery.to_envelope(),
            Self::Raw => delivery.event.element.rendered().into_owned(),
        }
    }
}
