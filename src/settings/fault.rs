//! Errors in single values: serde's errors, reworded for a configuration.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::{
    Place,
    problem::{meant, nearest},
};

/// An error in a value, with the place of the value and the path of its key.
#[derive(Debug)]
pub(super) struct Fault {
    kind: FaultKind,
    pub(super) help: Option<String>,
    pub(super) place: Option<Place>,
    pub(super) path: Vec<String>,
}

#[derive(Debug)]
enum FaultKind {
    Unknown,
    Missing(&'static str),
    Wrong(String),
}

impl Fault {
    const fn of(kind: FaultKind) -> Self {
        Self { kind, help: None, place: None, path: Vec::new() }
    }

    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self::of(FaultKind::Wrong(message.into()))
    }

    /// The message, with the full path of the key.
    pub(super) fn message(&self, path: &str) -> String {
        match &self.kind {
            FaultKind::Unknown => format!("unknown key `{path}`"),
            FaultKind::Missing(key) if path.is_empty() => format!("the key `{key}` is missing"),
            FaultKind::Missing(key) => format!("{path}: the key `{key}` is missing"),
            FaultKind::Wrong(what) => format!("{path}: {what}"),
        }
    }

    /// Returns whether a required key is missing. After any other fault, `Section::read` removes the wrong key and
    /// reads again. A missing key cannot be removed, so `Section::read` stops.
    pub(super) const fn is_missing_key(&self) -> bool {
        matches!(self.kind, FaultKind::Missing(_))
    }

    /// Returns whether a key is missing only because `Section::read` removed it, or a probable misspelling of it, after
    /// an earlier fault. `removed` has the paths of all removed keys.
    pub(super) fn follows_from(&self, removed: &[Vec<String>]) -> bool {
        let FaultKind::Missing(key) = self.kind else { return false };
        removed.iter().any(|path| match path.split_last() {
            Some((last, table)) => table == self.path && (last == key || nearest(last, [key]).is_some()),
            None => false,
        })
    }

    pub(super) fn helped(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Sets the place if none is set. A fault passes from inner values to outer ones, so the place that was set first
    /// is the most exact.
    pub(super) fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    /// Turns a fault of an item into a fault of its list. The path within the item becomes part of the message.
    pub(super) fn whole(mut self) -> Self {
        if !self.path.is_empty() || self.is_missing_key() {
            self.kind = FaultKind::Wrong(self.message(&self.path.join(".")));
            self.path.clear();
        }
        self
    }

    /// Prepends a key to the path.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&self.path.join(".")))
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self::wrong(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of(FaultKind::Unknown).helped(meant(field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::wrong(format!("unknown value {variant:?}")).helped(meant(variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(FaultKind::Missing(field))
    }

    // The following two errors quote the value only if it is a number out of range. Any other value could be a
    // secret.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(format!("must be {}, not {}", wanted(expected), kind_of(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let number = match found {
            Unexpected::Signed(number) => i128::from(number),
            Unexpected::Unsigned(number) => i128::from(number),
            other => return Self::invalid_type(other, expected),
        };
        Self::wrong(format!("must be {}, not {number}", wanted(expected)))
    }
}

/// Describes the type that serde expects, in terms of TOML.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "usize" | "u8" | "u16" | "u32" | "u64" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number, 1 or more".to_owned()
        }
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" | "path string" => "a string in quotes".to_owned(),
        "a sequence" => "a list in [brackets]".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        _ => text,
    }
}

const fn kind_of(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "a value of another type",
    }
}
