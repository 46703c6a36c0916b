//! Fields of an object, tolerantly (BIK T4, T5): unknown ones are skipped, of duplicate keys the last counts, a wrong
//! type in an optional field is a warning and no value, half an emoji is U+FFFD.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The values of an object's known fields, in the order of `names`.
///
/// # Errors
/// serde_json's, where `raw` is not an object.
pub fn object<'a, const N: usize>(
    raw: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(raw);
    let fields = json.deserialize_map(Object { names })?;
    json.end()?;
    Ok(fields)
}

struct Object<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = [None; N];
        while let Some(index) = map.next_key_seed(Name { names: self.names })? {
            let value: &'de RawValue = map.next_value()?;
            if let Some(index) = index {
                fields[index] = Some(value);
            }
        }
        Ok(fields)
    }
}

/// A key, as its place among the known names. Read as bytes: a key with half an emoji is a key all the same.
struct Name<'n> {
    names: &'n [&'n str],
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.names.iter().position(|name| name.as_bytes() == key))
    }
}

/// Reads fields, and counts those of a wrong type.
#[derive(Default)]
pub struct Reader {
    /// Optional fields of a wrong type.
    pub warnings: u32,
}

impl Reader {
    /// A string.
    pub fn text(&mut self, field: Option<&RawValue>) -> Option<String> {
        let raw = present(field)?;
        let text = string(raw);
        self.warnings += u32::from(text.is_none());
        text
    }

    /// A string that is not empty (T9).
    pub fn word(&mut self, field: Option<&RawValue>) -> Option<String> {
        self.text(field).filter(|text| !text.is_empty())
    }

    /// An opaque id: a string, or a number with its exact text (T5). Empty counts as absent.
    pub fn id(&mut self, field: Option<&RawValue>) -> Option<String> {
        let raw = present(field)?;
        if raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Some(raw.to_owned());
        }
        self.word(field)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: Option<&RawValue>) -> Option<bool> {
        match present(field)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.warnings += 1;
                None
            }
        }
    }

    /// A list of strings; others in it are left out.
    pub fn texts(&mut self, field: Option<&RawValue>) -> Vec<String> {
        let Some(raw) = present(field) else { return Vec::new() };
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
            self.warnings += 1;
            return Vec::new();
        };
        items.into_iter().filter_map(|item| self.text(Some(item))).collect()
    }

    /// Anything, as it came.
    pub fn raw(&mut self, field: Option<&RawValue>) -> Option<Box<RawValue>> {
        present(field).and(field).map(ToOwned::to_owned)
    }

    /// The known fields of an object; all absent where it is none.
    pub fn object<'a, const N: usize>(
        &mut self,
        field: Option<&'a RawValue>,
        names: &[&str; N],
    ) -> [Option<&'a RawValue>; N] {
        let Some(raw) = present(field) else { return [None; N] };
        object(raw, names).unwrap_or_else(|_not_an_object| {
            self.warnings += 1;
            [None; N]
        })
    }

    /// One object, or a list of them.
    pub fn objects<'a>(&mut self, field: Option<&'a RawValue>) -> Vec<&'a RawValue> {
        let Some(raw) = present(field) else { return Vec::new() };
        let items = match (raw.as_bytes().first(), field) {
            (Some(b'{'), Some(object)) => return vec![object],
            (Some(b'['), _) => serde_json::from_str::<Vec<&RawValue>>(raw).unwrap_or_default(),
            _ => {
                self.warnings += 1;
                return Vec::new();
            }
        };
        let all = items.len();
        let objects: Vec<_> = items.into_iter().filter(|item| item.get().starts_with('{')).collect();
        self.warnings += u32::try_from(all - objects.len()).unwrap_or(u32::MAX);
        objects
    }
}

/// A field that is there and not null.
fn present(field: Option<&RawValue>) -> Option<&str> {
    field.map(RawValue::get).filter(|raw| *raw != "null")
}

/// A string's text; `None` where it is no string.
pub fn string(raw: &str) -> Option<String> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut json = serde_json::Deserializer::from_str(raw);
    json.deserialize_bytes(Text).ok()
}

/// serde_json gives a lone surrogate, which is no character, as its three bytes in the manner of UTF-8.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<String, E> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Ok(text.to_owned());
        }
        let mut mended = bytes.to_vec();
        for at in 0..mended.len().saturating_sub(2) {
            if mended[at] == 0xED && mended[at + 1] >= 0xA0 {
                mended[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
            }
        }
        String::from_utf8(mended).map_err(E::custom)
    }
}
