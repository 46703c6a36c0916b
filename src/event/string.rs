//! Decodes JSON strings. A lone surrogate becomes U+FFFD (BIK T4).

use std::borrow::Cow;

use memchr::memchr;
use serde::de::{Deserializer as _, Visitor};

/// Returns the content of a JSON string. `None` if the value is not a string.
pub(super) fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inner = inner(raw)?;
    if memchr(b'\\', inner.as_bytes()).is_some() {
        unescaped(raw).map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Decodes the escapes of a JSON string and returns its content. The escape of a lone surrogate becomes U+FFFD.
pub(super) fn unescaped(json: &str) -> Option<String> {
    // Asked for bytes, serde_json returns a lone surrogate in WTF-8. Asked for a string, it returns an error.
    serde_json::Deserializer::from_str(json).deserialize_bytes(Wtf8).ok()
}

struct Wtf8;

impl Visitor<'_> for Wtf8 {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<String, E> {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // A surrogate has three bytes. Each of them is a separate chunk, and only the first is 0xED.
            if chunk.invalid().first() == Some(&0xed) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }
}

/// Returns the text between the quotes of a string.
pub(super) fn inner(string: &str) -> Option<&str> {
    string.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Option<String> {
        unquoted(json).map(Cow::into_owned)
    }

    #[test]
    fn each_lone_surrogate_becomes_one_replacement_character() {
        for (json, text) in [
            (r#""plain é""#, "plain é"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude00 cut""#, "\u{fffd} cut"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\udbff\udbff""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\n\ud83dA\ud83d\u0041""#, "\u{fffd}\n\u{fffd}A\u{fffd}A"),
            (r#""\ud7ff퟿í\ud83d""#, "\u{d7ff}\u{d7ff}í\u{fffd}"),
            (r#""\u0000\\\/""#, "\0\\/"),
        ] {
            assert_eq!(said(json).as_deref(), Some(text), "{json}");
        }
        assert_eq!(said("17"), None);
    }
}
