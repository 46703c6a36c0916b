//! One field of an element: raw JSON, read as the type that it should have. A wrong type is `None` and a warning, never
//! a rejected event (T5).

use std::borrow::Cow;

use serde::de::{Deserializer as _, Visitor};
use serde_json::value::RawValue;

use super::view::Stamp;

/// A field as it stands in its object; `None` where it is missing.
pub(super) type Field<'a> = Option<&'a RawValue>;

/// A field that is there, and is not `null`, and has another type than it should.
pub(super) struct WrongType;

/// Reads optional fields, and counts those of a wrong type.
#[derive(Default)]
pub(super) struct Reader {
    /// How many fields had a wrong type.
    pub warnings: u32,
}

impl Reader {
    /// Any text.
    pub(super) fn text(&mut self, field: Field<'_>) -> Option<String> {
        self.checked(text(field)).map(Cow::into_owned)
    }

    /// An id: see [`id`].
    pub(super) fn id(&mut self, field: Field<'_>) -> Option<String> {
        self.checked(id(field)).map(Cow::into_owned)
    }

    /// A word of an open enum; `""` is none (T9).
    pub(super) fn word<W: for<'t> From<&'t str>>(&mut self, field: Field<'_>) -> Option<W> {
        self.checked(filled(field)).map(|word| W::from(&word))
    }

    /// A time; `""` is none.
    pub(super) fn time(&mut self, field: Field<'_>) -> Option<Stamp> {
        self.checked(filled(field)).map(|text| Stamp { time: text.parse().ok(), text: text.into_owned() })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, field: Field<'_>) -> Option<bool> {
        self.checked(present(field).map(|raw| raw.get().parse().map_err(|_other| WrongType)).transpose())
    }

    /// A list of texts; those of another type are left out.
    pub(super) fn texts(&mut self, field: Field<'_>) -> Vec<String> {
        let items = self.checked(present(field).map(list).transpose()).unwrap_or_default();
        items.into_iter().filter_map(|item| self.text(Some(item))).collect()
    }

    /// An object, or several in an array; items of another type are left out.
    pub(super) fn objects<'a>(&mut self, field: Field<'a>) -> Vec<&'a RawValue> {
        let Some(raw) = present(field) else { return Vec::new() };
        if raw.get().starts_with('{') {
            return vec![raw];
        }
        let mut items = self.checked(list(raw).map(Some)).unwrap_or_default();
        let all = items.len();
        items.retain(|item| item.get().starts_with('{'));
        self.warn(all - items.len());
        items
    }

    /// What was read, or a warning.
    pub(super) fn checked<T>(&mut self, read: Result<Option<T>, WrongType>) -> Option<T> {
        read.unwrap_or_else(|WrongType| {
            self.warn(1);
            None
        })
    }

    fn warn(&mut self, fields: usize) {
        self.warnings = self.warnings.saturating_add(u32::try_from(fields).unwrap_or(u32::MAX));
    }
}

/// A field that is there and is not `null`.
pub(super) fn present(field: Field<'_>) -> Field<'_> {
    field.filter(|raw| raw.get() != "null")
}

/// A field of a shape that nobody has promised: kept as it is.
pub(super) fn raw(field: Field<'_>) -> Option<Box<RawValue>> {
    present(field).map(ToOwned::to_owned)
}

/// A text. A lone surrogate in it becomes U+FFFD (T4).
pub(super) fn text(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    present(field).map(|raw| unquoted(raw).ok_or(WrongType)).transpose()
}

/// A text that is not empty: `""` counts as absent (T9).
pub(super) fn filled(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    text(field).map(|text| text.filter(|text| !text.is_empty()))
}

/// An id: opaque. A number keeps its exact text (T5); `""` counts as absent, since it identifies nothing.
pub(super) fn id(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    match present(field).map(RawValue::get) {
        Some(number) if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Ok(Some(Cow::Borrowed(number)))
        }
        _ => filled(field),
    }
}

/// What a JSON string says; `None` where the value is no string.
pub(super) fn unquoted(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { unescaped(raw.get()).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn unescaped(json: &str) -> Option<String> {
    // Asked for bytes, serde_json takes a lone surrogate and writes it as WTF-8; asked for text, it refuses.
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
            // A surrogate is three bytes, of which the first is always 0xED and each is a chunk of its own.
            if chunk.invalid().first() == Some(&0xed) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }
}

fn list(raw: &RawValue) -> Result<Vec<&RawValue>, WrongType> {
    serde_json::from_str(raw.get()).map_err(|_no_array| WrongType)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        unquoted(raw).map(Cow::into_owned)
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
