//! Templates for names that depend on the event: the subject, stream, topic or routing key of a broker.
//!
//! A template such as `"bik.{source}.{event}"` has placeholders. Their values may contain any character, because most
//! of them come from the event. Each kind defines which characters of a value are safe; all others become `_`. The
//! literal text of a template is not changed.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::safe_text::push_safe;
use crate::{event::Event, names::names};

/// A value is truncated to this many characters, because destinations limit the length of the whole name. BIK's own
/// event names and statuses are shorter than this.
const VALUE_CHARS: usize = 100;
/// The value of `{status}` if the event has no status.
const NO_VALUE: &str = "none";

/// A validated template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The parts in order. Never empty, and never two texts in a row.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Literal text without placeholders.
    Text(String),
    /// A placeholder, replaced by a value of the event.
    Value(Placeholder),
}

names! {
    /// The values that a template can use.
    enum Placeholder {
        /// The source that received the event.
        Source = "source",
        /// The name of the event (`eventName`).
        Event = "event",
        /// The class of the event: `incoming` or `other`.
        Class = "class",
        /// The first status of the event, or `none`.
        Status = "status",
    }
}

impl Placeholder {
    fn push(self, event: &Event, is_safe: impl Fn(char) -> bool, out: &mut String) {
        match self {
            Self::Source => push_safe(&event.source, VALUE_CHARS, is_safe, out),
            Self::Event => push_safe(event.element.name(), VALUE_CHARS, is_safe, out),
            Self::Class => out.push_str(event.element.class().as_str()),
            Self::Status => {
                let view = event.element.view();
                let status = view.statuses().next().map_or(NO_VALUE, |status| status.as_str());
                push_safe(status, VALUE_CHARS, is_safe, out);
            }
        }
    }
}

/// Why a text is not a template, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("must not be empty: write a template such as \"bik.{{source}}.{{event}}\"")]
    Empty,
    /// The text has an unknown placeholder.
    #[error("unknown placeholder {{{0}}}: use {{source}}, {{event}}, {{class}} or {{status}}")]
    Unknown(String),
    /// A brace has no matching brace.
    #[error("unmatched brace: write a placeholder as {{source}}, {{event}}, {{class}} or {{status}}")]
    Brace,
}

/// Writes the template as in the configuration.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Value(value) => write!(f, "{{{}}}", value.as_str()),
        })
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Returns [`TemplateError`], which says what to write instead.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            push_text(before, &mut parts)?;
            let (name, after) = after.split_once('}').ok_or(TemplateError::Brace)?;
            let placeholder =
                Placeholder::from_name(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Value(placeholder));
            rest = after;
        }
        push_text(rest, &mut parts)?;
        Ok(Self { parts })
    }

    /// A template without placeholders, used for defaults. The text must not be empty.
    pub fn of(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())] }
    }

    /// The template `bik.{source}.{event}`, the default of kinds whose subjects or routing keys have parts with dots
    /// between them.
    pub fn by_source_and_event() -> Self {
        let dot = |text: &str| Part::Text(text.to_owned());
        let (source, event) = (Part::Value(Placeholder::Source), Part::Value(Placeholder::Event));
        Self { parts: vec![dot("bik."), source, dot("."), event] }
    }

    /// Renders the name for an event. Unsafe characters in values become `_`.
    pub fn render(&self, event: &Event, is_safe: impl Fn(char) -> bool + Copy) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(placeholder) => placeholder.push(event, is_safe, &mut out),
            }
        }
        out
    }

    /// The name, if it is the same for every event.
    pub fn literal(&self) -> Option<&str> {
        match &*self.parts {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The template with `value` in place of every placeholder. With a wildcard as `value`, this is a pattern that
    /// matches every rendered name.
    pub fn with_each(&self, value: &str) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Value(_) => value,
        });
        texts.collect()
    }
}

fn push_text(text: &str, parts: &mut Vec<Part>) -> Result<(), TemplateError> {
    if text.contains('}') {
        return Err(TemplateError::Brace);
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Delivery;

    fn rendered(template: &str, raw: &str) -> String {
        let event = Event { source: "shop.eu".into(), ..(*Delivery::sample(1, raw).event).clone() };
        Template::parse(template).unwrap().render(&event, |c| c.is_ascii_alphanumeric() || c == '-')
    }

    #[test]
    fn unsafe_characters_of_values_are_replaced_in_a_name() {
        let status =
            r#"{"eventName":"message-status-update","eventInfo":{"messageId":"m","status":"DELIVERED"}}"#;
        assert_eq!(rendered("bik.{source}.{event}", status), "bik.shop_eu.message-status-update");
        assert_eq!(rendered("{class}/{status}", status), "other/delivered");
        let incoming = r#"{"eventName":"incoming-message","eventInfo":{"messageId":"m","status":""}}"#;
        assert_eq!(rendered("x:{class}:{status}", incoming), "x:incoming:none");
        assert_eq!(rendered("{event}", r#"{"eventName":"a.* >\u0000é"}"#), "a______");
        assert_eq!(rendered("plain.*", incoming), "plain.*");
    }

    #[test]
    fn a_long_value_is_truncated() {
        let raw = format!(r#"{{"eventName":"{}"}}"#, "x".repeat(5000));
        assert_eq!(rendered("{event}", &raw).len(), VALUE_CHARS);
    }

    #[test]
    fn an_invalid_template_is_an_error_that_says_what_to_write() {
        for (text, word) in
            [("", "empty"), ("{evnt}", "{source}"), ("a{event", "{event}"), ("a}b", "{event}"), ("{}", "{}")]
        {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_pattern_matches_every_rendered_name() {
        assert_eq!(Template::parse("bik.{source}.{event}").unwrap().with_each("*"), "bik.*.*");
        assert_eq!(Template::parse("{class}").unwrap().literal(), None);
        assert_eq!(Template::parse("bik").unwrap().literal(), Some("bik"));
    }
}
