//! The text of a message. Insight does not store it; the journal has it as long as it has the event.

use super::redaction::Redaction;
use crate::{admin::AdminState, event::View, insight::ask::MessageRow};

/// The text of a message, or a description.
pub(super) enum MessageText {
    Text(String),
    /// A description of a message without a text.
    Description(String),
}

impl MessageText {
    /// Reads the text from the event that mentioned the message first. A read error becomes a description, so that the
    /// rest of the page is still shown.
    pub(super) async fn of(shared: &AdminState, message: &MessageRow) -> Self {
        match shared.parts.journal.get(message.first_seq).await {
            Ok(Some(event)) => text_of(&event.element.view(), &message.message_id),
            Ok(None) => Self::Description("the text is no longer stored".to_owned()),
            Err(error) => {
                tracing::error!(
                    seq = message.first_seq,
                    error = error.class(),
                    "event could not be read for a page"
                );
                Self::Description("the text cannot be read".to_owned())
            }
        }
    }

    /// Returns whether it is a description and not the text of the message.
    pub(super) const fn is_description(&self) -> bool {
        matches!(self, Self::Description(_))
    }

    /// Formats it for a page: the text is masked unless personal data is shown.
    pub(super) fn shown(self, redaction: Redaction) -> String {
        match self {
            Self::Text(text) => redaction.text(&text).into_owned(),
            Self::Description(what) => what,
        }
    }
}

fn text_of(view: &View<'_>, message: &str) -> MessageText {
    match view {
        View::Incoming(incoming) => {
            let Some(info) = incoming.infos.iter().find(|info| info.message_id.as_deref() == Some(message))
            else {
                return MessageText::Description("a message".to_owned());
            };
            if let Some(text) = info.message.as_deref().filter(|text| !text.is_empty()) {
                return MessageText::Text(text.to_owned());
            }
            let parts = [
                ("a location", info.location.is_some()),
                ("an order", info.order.is_some()),
                ("a media file", info.media.is_some() || info.media_type.is_some()),
                ("a message with options or buttons", info.options.is_some() || info.buttons.is_some()),
            ];
            let what =
                parts.into_iter().find(|(_, is)| *is).map_or("a message without text", |(what, _)| what);
            MessageText::Description(what.to_owned())
        }
        View::Status(update) => {
            let info = update.infos.iter().find(|info| info.message_id.as_deref() == Some(message));
            match info.and_then(|info| info.message.as_deref()).filter(|text| !text.is_empty()) {
                Some(text) => MessageText::Text(text.to_owned()),
                None => MessageText::Description("a message without text".to_owned()),
            }
        }
        View::Subscribed(_) | View::Other(_) => MessageText::Description("a message".to_owned()),
    }
}
