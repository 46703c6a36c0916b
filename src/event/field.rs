//! One field of an element: raw JSON, read as the type that it should have. A wrong type is `None` and a warning, never
//! a rejected event (T5).

use std::borrow::Cow;

use super::{
    scan,
    string::unquoted,
    view::{Raw, Stamp},
};

/// A field as it stands in its object; `None` where it is missing.
pub(super) type Field<'a> = Option<&'a str>;

/// A field that is there, and is not `null`, and has another type than it should.
pub(super) struct WrongType;

/// Reads optional fields, and counts those of a wrong type.
#[derive(Default)]
pub(super) struct Reader {
    /// How many fields had a wrong type.
    pub warnings: u32,
    /// Only counts: every text, id, word and time is `None`.
    only_counts: bool,
}

impl Reader {
    /// One that only counts: intake wants no more of most fields.
    pub(super) fn counting() -> Self {
        Self { only_counts: true, ..Self::default() }
    }

    /// Any text.
    pub(super) fn text<'a>(&mut self, field: Field<'a>) -> Option<Cow<'a, str>> {
        self.read(field, is_text, text)
    }

    /// An id: see [`id`].
    pub(super) fn id<'a>(&mut self, field: Field<'a>) -> Option<Cow<'a, str>> {
        self.read(field, |raw| is_text(raw) || is_number(raw), id)
    }

    /// A word of an open enum; `""` is none (T9).
    pub(super) fn word<W: for<'t> From<&'t str>>(&mut self, field: Field<'_>) -> Option<W> {
        self.read(field, is_text, filled).map(|word| W::from(&word))
    }

    /// A time; `""` is none.
    pub(super) fn time<'a>(&mut self, field: Field<'a>) -> Option<Stamp<'a>> {
        self.read(field, is_text, filled).map(|text| Stamp { text })
    }

    fn read<'a, T>(
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

    /// `true` or `false`.
    pub(super) fn flag(&mut self, field: Field<'_>) -> Option<bool> {
        self.checked(present(field).map(|raw| raw.parse().map_err(|_other| WrongType)).transpose())
    }

    /// A list of texts; those of another type are left out.
    pub(super) fn texts<'a>(&mut self, field: Field<'a>) -> Vec<Cow<'a, str>> {
        let items = self.checked(present(field).map(list).transpose()).unwrap_or_default();
        items.into_iter().filter_map(|item| self.text(Some(item))).collect()
    }

    /// The objects of an array; items of another type are left out.
    pub(super) fn objects<'a>(&mut self, field: Field<'a>) -> Vec<&'a str> {
        let mut items = self.checked(present(field).map(list).transpose()).unwrap_or_default();
        let all = items.len();
        items.retain(|item| item.starts_with('{'));
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
    field.filter(|raw| *raw != "null")
}

/// A field of a shape that nobody has promised: kept as it is.
pub(super) fn raw(field: Field<'_>) -> Option<Raw<'_>> {
    present(field).map(Raw)
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
    fn counting_finds_what_reading_finds() {
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
                reader.flag(field);
                reader.texts(field);
                reader.objects(field);
                (text, id, word, time, reader.warnings)
            });
            assert_eq!(counted, read, "{json}");
        }
    }
}
