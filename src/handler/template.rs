//! A name that is made of the event: the subject, stream or routing key of kinds that have such a thing.
//!
//! `"bik.{source}.{event}"` has placeholders, whose values come from whoever posts: they may hold anything. So the kind
//! says which characters are safe for it in a value; any other becomes `_`. What the template itself says stays.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::safe_text::push_safe;
use crate::event::Event;

/// A value is cut to as many characters: BIK's names are shorter, and destinations bound the whole.
const VALUE_CHARS: usize = 100;
/// What stands for a value that an event does not have.
const NO_VALUE: &str = "none";

/// A template, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template, for a kind that checks what stands between the placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// What is put in for each event.
    Value(Placeholder),
}

/// What a template can say of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The source that it came in by.
    Source,
    /// Its name.
    Event,
    /// Its class: `incoming` or `other`.
    Class,
    /// Its first status, or `none`.
    Status,
}

impl Placeholder {
    const ALL: [(&'static str, Self); 4] =
        [("source", Self::Source), ("event", Self::Event), ("class", Self::Class), ("status", Self::Status)];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, placeholder)| *placeholder)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, placeholder)| *placeholder == self).map_or("", |(name, _)| *name)
    }

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

/// Why a text is no template; says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is empty.
    #[error("it must not be empty")]
    Empty,
    /// A placeholder that there is not.
    #[error("there is no placeholder {{{0}}}: write {{source}}, {{event}}, {{class}} or {{status}}")]
    Unknown(String),
    /// A brace without its other.
    #[error("a brace stands alone: placeholders are written {{source}}, {{event}}, {{class}} and {{status}}")]
    Brace,
}

/// As it is written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Value(value) => write!(f, "{{{}}}", value.name()),
        })
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`], which says what to write instead.
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
                Placeholder::named(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Value(placeholder));
            rest = after;
        }
        push_text(rest, &mut parts)?;
        Ok(Self { parts })
    }

    /// A template of these parts, which are neither none nor empty: for defaults.
    pub const fn of(parts: Vec<Part>) -> Self {
        Self { parts }
    }

    /// What it comes to for an event; of the values, each character that is not safe is `_`.
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

    /// What it is made of, in its order; never empty, and no two texts in a row.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The template with `value` in the place of every placeholder: what it comes to for any event, as a pattern.
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
    use std::sync::Arc;

    use super::*;
    use crate::{clock::Timestamp, event::Element};

    fn event(raw: &str) -> Event {
        let element = Arc::new(Element::read(raw.as_bytes()).unwrap());
        Event {
            seq: 1,
            came_at: Timestamp::default(),
            received_at: Timestamp::default(),
            source: "shop.eu".into(),
            element,
        }
    }

    fn rendered(template: &str, raw: &str) -> String {
        Template::parse(template).unwrap().render(&event(raw), |c| c.is_ascii_alphanumeric() || c == '-')
    }

    #[test]
    fn a_name_has_the_values_of_the_event_with_what_is_not_safe_replaced() {
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
    fn a_value_is_cut_before_it_grows_beyond_what_destinations_take() {
        let raw = format!(r#"{{"eventName":"{}"}}"#, "x".repeat(5000));
        assert_eq!(rendered("{event}", &raw).len(), VALUE_CHARS);
    }

    #[test]
    fn a_wrong_template_is_an_error_that_says_what_to_write() {
        for (text, word) in
            [("", "empty"), ("{evnt}", "{source}"), ("a{event", "{event}"), ("a}b", "{event}"), ("{}", "{}")]
        {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn any_event_is_a_pattern() {
        assert_eq!(Template::parse("bik.{source}.{event}").unwrap().with_each("*"), "bik.*.*");
        assert_eq!(Template::parse("{class}").unwrap().parts(), [Part::Value(Placeholder::Class)]);
    }
}
