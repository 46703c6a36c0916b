//! Indents JSON for display. Tokens are kept byte for byte, unless they are hidden as personal data. No JSON parser is
//! used, because a parser would lose digits and lone surrogates.

use crate::admin::redaction::{HIDDEN, Redaction};

/// Keys whose values contain no personal data (BIK §2 and §3).
const PLAIN: &[&str] = &[
    "broadcastId",
    "channel",
    "channelId",
    "createdAt",
    "customerSource",
    "event",
    "eventName",
    "eventSource",
    "isDeleted",
    "isEdited",
    "mediaType",
    "owner",
    "ownerId",
    "source",
    "status",
    "storeId",
    "templateId",
    "timestamp",
    "type",
];

/// The output is cut as soon as it is longer than this number of bytes. Without this limit, deep nesting could make the
/// indented text many times longer than the input.
const WRITTEN_BYTES: usize = 1024 * 1024;

/// Indents a rendered element (one line of JSON). If personal data is masked, only these values are shown: `null`,
/// booleans, empty strings, and the values of plain keys. Returns the output, and whether it was cut
/// ([`WRITTEN_BYTES`]).
pub(super) fn indented(json: &str, redaction: Redaction) -> (String, bool) {
    let mut written = Written {
        json,
        redaction,
        out: String::with_capacity((json.len() * 2).min(WRITTEN_BYTES)),
        within: Vec::new(),
    };
    let mut at = 0;
    while let Some(byte) = json.as_bytes().get(at) {
        if written.out.len() > WRITTEN_BYTES {
            return (written.out, true);
        }
        at = match byte {
            b'{' | b'[' => written.open(at),
            b'}' | b']' => written.close(at),
            b',' => written.next(at),
            b':' => written.colon(at),
            b'"' => written.text(at),
            _ => written.literal(at),
        };
    }
    (written.out, false)
}

struct Written<'a> {
    json: &'a str,
    redaction: Redaction,
    out: String,
    within: Vec<Container>,
}

/// An open object or array.
struct Container {
    is_object: bool,
    /// The next string is a key.
    key_is_next: bool,
    /// The values inside contain no personal data. For an object, this refers only to the value of the key that was
    /// read last.
    plain: bool,
}

impl Written<'_> {
    fn open(&mut self, at: usize) -> usize {
        let is_object = self.json.as_bytes()[at] == b'{';
        let plain = !is_object && self.plain();
        self.within.push(Container { is_object, key_is_next: is_object, plain });
        self.out.push_str(&self.json[at..=at]);
        if !matches!(self.json.as_bytes().get(at + 1), Some(b'}' | b']')) {
            self.line();
        }
        at + 1
    }

    fn close(&mut self, at: usize) -> usize {
        self.within.pop();
        if !self.out.ends_with(['{', '[']) {
            self.line();
        }
        self.out.push_str(&self.json[at..=at]);
        at + 1
    }

    fn next(&mut self, at: usize) -> usize {
        if let Some(container) = self.within.last_mut() {
            container.key_is_next = container.is_object;
        }
        self.out.push(',');
        self.line();
        at + 1
    }

    fn colon(&mut self, at: usize) -> usize {
        self.out.push_str(": ");
        at + 1
    }

    fn text(&mut self, at: usize) -> usize {
        let end = end_of_string(self.json.as_bytes(), at);
        let text = &self.json[at..end];
        let is_key = self.within.last().is_some_and(|container| container.key_is_next);
        let plain = if is_key { self.key(text.trim_matches('"')) } else { self.plain() || text == "\"\"" };
        if self.redaction.is_off || plain {
            self.out.push_str(text)
        } else {
            self.hidden()
        }
        end
    }

    /// Records whether the value of this key may be shown. Returns whether the key itself may be shown: a key that is
    /// not a short identifier may contain personal data.
    fn key(&mut self, key: &str) -> bool {
        // The key `id` is plain only at the top level. A nested id may be the id of a customer.
        let is_own_id = key == "id" && self.within.len() == 1;
        if let Some(container) = self.within.last_mut() {
            container.key_is_next = false;
            container.plain = is_own_id || PLAIN.contains(&key);
        }
        key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    }

    fn literal(&mut self, at: usize) -> usize {
        let rest = &self.json[at..];
        let end = rest.find([',', '}', ']', ':', '"', '{', '[']).unwrap_or(rest.len()).max(1);
        let literal = &rest[..end];
        if self.redaction.is_off || self.plain() || ["null", "true", "false"].contains(&literal) {
            self.out.push_str(literal);
        } else {
            self.hidden();
        }
        at + end
    }

    fn plain(&self) -> bool {
        self.within.last().is_some_and(|container| container.plain)
    }

    fn hidden(&mut self) {
        self.out.push('"');
        self.out.push_str(HIDDEN);
        self.out.push('"');
    }

    fn line(&mut self) {
        self.out.push('\n');
        for _ in &self.within {
            self.out.push_str("  ");
        }
    }
}

/// The position after the closing quote of the string that starts at `start`.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"eventName":"x","eventInfo":[{"assetValue":"+91 1","n":123456789012345678901,"a":[1,"y"],"e":{},"f":[],"b":true,"status":""}],"919938":"\"<b>\\","storeId":"s","id":"own","x":{"id":"other"}}"#;

    #[test]
    fn tokens_are_shown_unchanged() {
        let (shown, cut) = indented(JSON, Redaction { is_off: true });
        assert!(!cut);
        assert!(shown.contains("123456789012345678901"), "{shown}");
        assert!(shown.contains("\n  \"eventInfo\": [\n    {\n      \"assetValue\": \"+91 1\",\n"), "{shown}");
        assert!(shown.contains("\"e\": {},\n      \"f\": [],\n"), "{shown}");
        let squeezed: String = shown.lines().map(str::trim_start).collect::<String>().replace("\": ", "\":");
        assert_eq!(squeezed, JSON);
    }

    #[test]
    fn masked_json_shows_only_plain_values() {
        let (shown, _) = indented(JSON, Redaction { is_off: false });
        for hidden in ["+91", "1234", "\"y\"", "<b>", "919938", "other"] {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
        for plain in [
            "\"eventName\": \"x\"",
            "\"storeId\": \"s\"",
            "\"b\": true",
            "\"assetValue\": \"••••\"",
            "\"status\": \"\"",
            "\"id\": \"own\"",
        ] {
            assert!(shown.contains(plain), "{plain}: {shown}");
        }
    }

    #[test]
    fn deeply_nested_json_is_cut() {
        let deep = format!("{}{}", "[".repeat(127), "1,".repeat(128 * 1024));
        let (shown, cut) = indented(&deep, Redaction { is_off: true });
        assert!(cut && shown.len() < WRITTEN_BYTES + 1024, "{}", shown.len());
    }

    #[test]
    fn indenting_invalid_json_terminates() {
        for odd in ["", "\"", "\"\\", "{", "]", "nonsense", "{\"a\"", "é\"é"] {
            indented(odd, Redaction { is_off: false });
        }
    }
}
