//! The content of a message, as shown on a page.

use askama::{Template, filters::HtmlSafe};

use super::{super::redaction::Redaction, visit::PageVisit};
use crate::{
    admin::wire::ShownContent,
    event::{WORD_CHARS, excerpt},
    insight::ask::MessageRow,
};

/// The content of a message in HTML: its text, a label that describes it, or both. A deleted message is struck out.
#[derive(Default, Template)]
#[template(
    source = r#"{% if let Some(label) = label.as_ref() -%}
{% if deleted %}<s class="muted">{{ label }}</s>
{%- else %}<span class="muted">{{ label }}{% if text.is_some() %}:{% endif %}</span>{% if text.is_some() %} {% endif %}
{%- endif %}
{%- endif %}
{%- if let Some(text) = text.as_ref() %}{{ text }}{% endif %}
{%- if edited %} <span class="tag">edited</span>{% endif %}"#,
    ext = "html"
)]
pub(super) struct MessageText {
    /// The kind of the content, or why nothing can be shown. It contains no personal data.
    label: Option<String>,
    text: Option<String>,
    edited: bool,
    deleted: bool,
}

impl HtmlSafe for MessageText {}

impl MessageText {
    /// Reads the content of a message from its events ([`ShownContent::seqs`]). A read error becomes a description, so
    /// that the rest of the page is still shown.
    pub(super) async fn of(visit: &PageVisit, message: &MessageRow, seqs: &[u64]) -> Self {
        match ShownContent::read(visit.journal(), message, seqs).await {
            Ok(Some(content)) => Self::shown(content, message.deleted, visit.redaction()),
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
        Self { label: Some(what.to_owned()), ..Self::default() }
    }

    fn shown(content: ShownContent, deleted: bool, redaction: Redaction) -> Self {
        let ShownContent { text, content, edited } = content;
        Self {
            label: content.map(|label| excerpt(&label, WORD_CHARS).into_owned()),
            text: text.map(|text| redaction.text(&text).into_owned()),
            edited,
            deleted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_masked_marked_or_struck_out() {
        let shown = |content: Option<&str>, text: Option<&str>, edited: bool, deleted: bool, is_off: bool| {
            let [content, text] = [content, text].map(|part| part.map(str::to_owned));
            MessageText::shown(ShownContent { text, content, edited }, deleted, Redaction { is_off })
                .to_string()
        };
        assert_eq!(shown(None, Some("<Hi>"), false, false, true), "&#60;Hi&#62;");
        assert_eq!(shown(None, Some("Hi"), true, false, true), r#"Hi <span class="tag">edited</span>"#);
        let image = r#"<span class="muted">image:</span> •••• (4 characters)"#;
        assert_eq!(shown(Some("image"), Some("Look"), false, false, false), image);
        assert_eq!(
            shown(Some("sticker"), None, false, false, false),
            r#"<span class="muted">sticker</span>"#
        );
        let deleted = r#"<s class="muted">deleted message</s>"#;
        assert_eq!(shown(Some("deleted message"), None, false, true, true), deleted);
    }
}
