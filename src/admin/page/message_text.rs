//! The text of a message. Insight does not store the text; the event in the journal contains it until retention deletes
//! the event.

use super::{redaction::Redaction, visit::PageVisit};
use crate::{event::View, insight::ask::MessageRow};

/// The text of a message as shown on a page, or a description.
pub(super) struct MessageText {
    pub(super) text: String,
    /// `text` is a description, not the text of the message.
    pub(super) is_description: bool,
}

impl MessageText {
    /// Reads the text from the event that mentioned the message first. A read error becomes a description, so that the
    /// rest of the page is still shown.
    pub(super) async fn of(visit: &PageVisit, message: &MessageRow) -> Self {
        match visit.journal().get(message.first_seq).await {
            Ok(Some(event)) => Self::in_event(&event.element.view(), &message.message_id, visit.redaction()),
            Ok(None) => Self::description("the text is no longer stored"),
            Err(error) => {
                tracing::error!(
                    seq = message.first_seq,
                    error = error.class(),
                    "event could not be read for a page"
                );
                Self::description("the text cannot be read")
            }
        }
    }

    pub(super) fn description(what: &str) -> Self {
        Self { text: what.to_owned(), is_description: true }
    }

    fn in_event(view: &View<'_>, message: &str, redaction: Redaction) -> Self {
        let (View::Incoming(event) | View::Status(event)) = view else {
            return Self::description("a message");
        };
        let info = event.infos.iter().find(|info| info.message_id.as_deref() == Some(message));
        if let Some(text) = info.and_then(|info| info.message.as_deref()).filter(|text| !text.is_empty()) {
            return Self { text: redaction.text(text).into_owned(), is_description: false };
        }
        // Only messages from customers have a location, an order, media, options or buttons, so the arms for these do
        // not check `view`.
        Self::description(match info {
            None if matches!(view, View::Incoming(_)) => "a message",
            Some(info) if info.location.is_some() => "a location",
            Some(info) if info.order.is_some() => "an order",
            Some(info) if info.media.is_some() || info.media_type.is_some() => "a media file",
            Some(info) if info.options.is_some() || info.buttons.is_some() => {
                "a message with options or buttons"
            }
            _ => "a message without text",
        })
    }
}
