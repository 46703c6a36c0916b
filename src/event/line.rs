//! An event as one line of JSON, as in `events --json`, the API, and handler kinds such as `jsonl`.

use serde::{Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

use super::Event;

/// Serializes as the object of [`Event::to_json_line`].
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json_line()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl Event {
    /// Returns an object with `seq`, `receivedAt` (the time [`Event::came_at`]), `source`, `eventName`, `id` (null if
    /// the event has none) and `event` (the element as rendered, BIK T7). All members are always present, in this
    /// order. There is no line break at the end.
    pub fn to_json_line(&self) -> String {
        let mut line = String::with_capacity(self.json_line_size_hint());
        self.push_json_line(&mut line);
        line
    }

    /// Appends the line of [`Event::to_json_line`].
    pub fn push_json_line(&self, out: &mut String) {
        out.push('{');
        self.push_json_fields(out);
        out.push('}');
    }

    /// Appends the members of [`Event::to_json_line`] without the braces, for a line that begins with other members.
    pub fn push_json_fields(&self, out: &mut String) {
        let element = &self.element;
        out.push_str("\"seq\":");
        out.push_str(&self.seq.to_string());
        out.push_str(",\"receivedAt\":\"");
        out.push_str(&self.came_at.to_string());
        out.push_str("\",\"source\":");
        push_string(out, &self.source);
        out.push_str(",\"eventName\":");
        push_string(out, element.name());
        out.push_str(",\"id\":");
        match element.id() {
            Some(id) => push_string(out, id),
            None => out.push_str("null"),
        }
        out.push_str(",\"event\":");
        out.push_str(&element.rendered());
    }

    /// Returns the approximate length of [`Event::to_json_line`] in bytes; it is seldom less than the real length.
    pub fn json_line_size_hint(&self) -> usize {
        let fields = self.source.len() + self.element.name().len() + self.element.id().map_or(0, str::len);
        self.element.raw().len() + fields + 128
    }
}

/// Appends a JSON string (RFC 8259, section 7). Escapes only the characters that must be escaped.
fn push_string(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        out.push_str(&rest[..at]);
        let byte = rest.as_bytes()[at];
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                out.push_str("\\u00");
                out.extend([HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::push_string;

    proptest! {
        #[test]
        fn a_pushed_string_parses_to_the_same_text(text in any::<String>()) {
            let mut json = String::new();
            push_string(&mut json, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        for control in '\0'..' ' {
            let mut json = String::new();
            push_string(&mut json, &format!("a{control}\"\\b"));
            assert!(!json.contains(control), "{control:?} is not escaped");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), format!("a{control}\"\\b"));
        }
    }
}
