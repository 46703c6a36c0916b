//! Reads one field of an element from raw JSON, as the expected type. A wrong type gives `None` and a warning; the
//! event is never rejected for it (BIK T5).

use std::borrow::Cow;

use super::{
    scan,
    sent::{Raw, Stamp},
    string::unquoted,
};

/// The raw JSON of a field; `None` if the field is missing.
pub(super) type Field<'a> = Option<&'a str>;

/// The field exists and is not `null`, but has a wrong type.
pub(super) struct WrongType;

/// Reads optional fields, and counts those of a wrong type.
#[derive(Default)]
pub(super) struct Reader {
    /// The number of fields with a wrong type.
    pub warnings: u32,
    /// Only count wrong types: return `None` for every text, id, time and value of an open enum.
    pub(super) only_counts: bool,
}

impl Reader {
    /// Creates a reader that only counts wrong types. It is for intake, which does not need the values.
    pub(super) fn counting() -> Self {
        Self { only_counts: true, ..Self::default() }
    }

    /// Reads any text.
    pub(super) fn text<'a>(&mut self, field: Field<'a>) -> Option<Cow<'a, str>> {
        self.read(field, is_text, text)
    }

    /// Reads an id; see [`id`].
    pub(super) fn id<'a>(&mut self, field: Field<'a>) -> Option<Cow<'a, str>> {
        self.read(field, |raw| is_text(raw) || is_number(raw), id)
    }

    /// Reads a value of an open enum; `""` gives `None` (BIK T9).
    pub(super) fn word<W: for<'t> From<&'t str>>(&mut self, field: Field<'_>) -> Option<W> {
        self.read(field, is_text, filled).map(|word| W::from(&word))
    }

    /// Reads a time; `""` gives `None` (BIK T9).
    pub(super) fn time<'a>(&mut self, field: Field<'a>) -> Option<Stamp<'a>> {
        self.read(field, is_text, filled).map(|text| Stamp { text })
    }

    pub(super) fn read<'a, T>(
        &mut self,
        field: Field<'a>,
        is_right: impl FnOnce(&str) -> bool,
        read: impl FnOnce(Field<'a>) -> Result<Option<T>, WrongType>,
    ) -> Option<T> {
        if !self.only_counts {
            return self.checked(read(field));
        }
        self.warn(usize::from(present(field).is_some_and(|raw| !is_right(raw))));
        None
    }

    /// Reads `true` or `false`.
    pub(super) fn flag(&mut self, field: Field<'_>) -> Option<bool> {
        self.checked(present(field).map(|raw| raw.parse().map_err(|_other| WrongType)).transpose())
    }

    /// Returns a field that may have any type, unchanged. It never counts as a warning.
    pub(super) fn raw<'a>(&mut self, field: Field<'a>) -> Option<Raw<'a>> {
        present(field).map(Raw)
    }

    /// Reads a list of texts. Items of another type are left out and counted as warnings.
    pub(super) fn texts<'a>(&mut self, field: Field<'a>) -> Vec<Cow<'a, str>> {
        let items = self.checked(present(field).map(list).transpose()).unwrap_or_default();
        items.into_iter().filter_map(|item| self.text(Some(item))).collect()
    }

    /// Reads the objects of an array. Items of another type are left out and counted as warnings.
    pub(super) fn objects<'a>(&mut self, field: Field<'a>) -> Vec<&'a str> {
        let mut items = self.checked(present(field).map(list).transpose()).unwrap_or_default();
        let all = items.len();
        items.retain(|item| item.starts_with('{'));
        self.warn(all - items.len());
        items
    }

    /// Returns the value. A wrong type gives `None` and counts as a warning.
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

/// Returns the field if it exists and is not `null`.
pub(super) fn present(field: Field<'_>) -> Field<'_> {
    field.filter(|raw| *raw != "null")
}

/// Treats a field of a wrong type as missing.
pub(super) fn known<T>(read: Result<Option<T>, WrongType>) -> Option<T> {
    read.ok().flatten()
}

/// Reads a text. A lone surrogate in it becomes U+FFFD (BIK T4).
pub(super) fn text(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    present(field).map(|raw| unquoted(raw).ok_or(WrongType)).transpose()
}

/// Reads a text that is not empty: `""` counts as absent (BIK T9).
pub(super) fn filled(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    text(field).map(|text| text.filter(|text| !text.is_empty()))
}

/// Reads an id, which is opaque. A number keeps its exact text (BIK T5). `""` counts as absent (BIK T9).
pub(super) fn id(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    match present(field) {
        Some(number) if is_number(number) => Ok(Some(Cow::Borrowed(number))),
        _ => filled(field),
    }
}

fn is_text(raw: &str) -> bool {
    raw.starts_with('"')
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn list(raw: &str) -> Result<Vec<&str>, WrongType> {
    scan::items(raw).ok_or(WrongType)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;

    #[test]
    fn counting_and_reading_give_the_same_warnings() {
        for json in [
            "null",
            "\"\"",
            "\"a\"",
            "\"\\ud83d\"",
            "7",
            "-1.5e3",
            "true",
            "false",
            "[]",
            "[\"a\",1,{}]",
            "{}",
        ] {
            let [counted, read] = [Reader::counting(), Reader::default()].map(|mut reader| {
                let field = Some(json);
                reader.text(field);
                let text = reader.warnings;
                reader.id(field);
                let id = reader.warnings;
                reader.word::<Status>(field);
                let word = reader.warnings;
                reader.time(field);
                let time = reader.warnings;
                reader.reason(field);
                let reason = reader.warnings;
                reader.flag(field);
                reader.texts(field);
                reader.objects(field);
                (text, id, word, time, reason, reader.warnings)
            });
            assert_eq!(counted, read, "{json}");
        }
    }
}
