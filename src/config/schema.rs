//! The keys of the configuration as a tree. It defines which environment variable sets which key, and which values and
//! keys a message may show.
//!
//! A value is shown only if this tree marks its key as harmless, or if the value looks like the name of the variable or
//! file that contains a secret. Every other value is hidden, also that of an unknown key.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use super::{LogSettings, handlers, reading::table_at};
use crate::{
    admin, dispatch,
    handler::{ConditionSettings, KINDS, KindRow, MaskSettings},
    http::{self, CredentialSettings, SourceSettings},
    insight, journal,
    settings::{SECRET_FORMS, Table, keys_of, nearest},
};

/// Keys that every handler has, and whose values are harmless. The harmless keys of a kind are in its `KindRow`.
const HARMLESS_HANDLER_KEYS: [&str; 8] =
    ["kind", "start", "dead_letters", "events", "owners", "statuses", "channels", "sources"];

/// The shape of a part of the configuration: a value of some kind, a table or a list.
pub(super) enum Shape {
    /// A value that may contain a secret or personal data.
    Value,
    Harmless,
    /// A secret: a text, or a table such as `{ env = … }` or `{ file = … }`.
    Secret,
    /// A table with these keys.
    Keys(BTreeMap<&'static str, Shape>),
    /// A table of tables, with names that the operator chooses.
    Named(Box<Shape>),
    /// A list whose items have this shape. No variable sets a part of a list.
    List(Box<Shape>),
}

/// The shape of the whole configuration.
pub(super) fn schema() -> Shape {
    let credential = Shape::values(keys_of::<CredentialSettings>())
        .harmless(&["form", "not_after"])
        .with("password", Shape::Secret)
        .with("key", Shape::Secret);
    let source = Shape::all_harmless(keys_of::<SourceSettings>())
        .with("credentials", Shape::Named(Box::new(credential)));
    let operator = Shape::values(keys_of::<admin::Credentials>()).with("password", Shape::Secret);
    Shape::Keys(BTreeMap::from([
        ("http", Shape::all_harmless(keys_of::<http::Settings>())),
        ("admin", Shape::all_harmless(keys_of::<admin::Settings>()).with("credentials", operator)),
        ("sources", Shape::Named(Box::new(source))),
        (
            "insight",
            Shape::all_harmless(keys_of::<insight::Settings>())
                .with("answers", Shape::all_harmless(keys_of::<insight::AnswerSettings>())),
        ),
        (
            "journal",
            Shape::all_harmless(keys_of::<journal::sqlite::Settings>()).with("kind", Shape::Harmless),
        ),
        ("handlers", Shape::Named(Box::new(handler()))),
        ("log", Shape::values(keys_of::<LogSettings>()).harmless(&["level", "format"])),
    ]))
}

fn handler() -> Shape {
    let of_kinds = |keys: fn(&KindRow) -> &'static [&'static str]| -> Vec<&'static str> {
        KINDS.iter().flat_map(keys).copied().collect()
    };
    let mut shape = Shape::values(&[handlers::common_keys(), of_kinds(|row| (row.keys)())].concat())
        .harmless(&HARMLESS_HANDLER_KEYS)
        .harmless(&of_kinds(|row| row.harmless))
        .harmless(keys_of::<dispatch::Settings>())
        .with(
            "where",
            Shape::List(Box::new(Shape::values(keys_of::<ConditionSettings>()).harmless(&["pointer"]))),
        )
        .with("mask", Shape::all_harmless(keys_of::<MaskSettings>()).with("key", Shape::Secret));
    for key in of_kinds(|row| row.secret) {
        shape = shape.with(key, Shape::Secret);
    }
    shape
}

impl Shape {
    fn values(keys: &[&'static str]) -> Self {
        Self::Keys(keys.iter().map(|key| (*key, Self::Value)).collect())
    }

    fn all_harmless(keys: &[&'static str]) -> Self {
        Self::values(keys).harmless(keys)
    }

    /// Marks these keys as harmless. Ignores keys that the table does not have.
    fn harmless(mut self, harmless: &[&str]) -> Self {
        if let Self::Keys(keys) = &mut self {
            keys.iter_mut()
                .filter(|(key, _)| harmless.contains(key))
                .for_each(|(_, shape)| *shape = Self::Harmless);
        }
        self
    }

    fn with(mut self, key: &'static str, shape: Self) -> Self {
        if let Self::Keys(keys) = &mut self {
            keys.insert(key, shape);
        }
        self
    }

    /// The shape at a path; `None` if the path is unknown. A list has the same path as its items.
    fn at(&self, path: &[String]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match self {
            Self::Keys(keys) => keys.get(first.as_str())?.at(rest),
            Self::Named(shape) => shape.at(rest),
            Self::List(shape) => shape.at(path),
            Self::Value | Self::Harmless | Self::Secret => None,
        }
    }

    /// Returns whether a message may show this value at a path.
    pub(super) fn shows_value(&self, path: &[String], text: &str) -> bool {
        // A text that looks like a URL may contain a user name or a password.
        if text.contains('@') || text.contains("://") {
            return false;
        }
        if matches!(self.at(path), Some(Self::Harmless)) {
            return true;
        }
        let Some((form, secret)) = path.split_last() else { return false };
        let is_secret = matches!(self.at(secret), Some(Self::Secret | Self::Value) | None);
        // A common mistake is to write the secret itself instead of the name of its variable or file. So the value is
        // shown only if it looks like such a name.
        is_secret
            && match form.as_str() {
                "env" => is_variable_name(text),
                "file" | "generate" => is_path(text),
                _ => false,
            }
    }

    /// Returns whether a message may show this key of a table.
    pub(super) fn shows_key(&self, table: &[String], key: &str) -> bool {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !key.chars().all(bare) {
            return false;
        }
        let has_upper = key.contains(|c: char| c.is_ascii_uppercase());
        let has_digit = key.contains(|c: char| c.is_ascii_digit());
        match self.at(table) {
            // The key may be a name that the operator chose. A mix of upper case and digits is more likely a secret
            // than a name.
            Some(Self::Named(_) | Self::List(_) | Self::Value | Self::Harmless) => !has_upper || !has_digit,
            Some(Self::Keys(keys)) => {
                let is_guarded =
                    keys.values().any(|shape| matches!(shape, Self::Secret)) && !is_handler(table);
                nearest(key, keys.keys().copied()).is_some() || !is_guarded && !has_upper && !has_digit
            }
            Some(Self::Secret) | None => nearest(key, SECRET_FORMS.into_iter().chain(self.words())).is_some(),
        }
    }

    /// Every key of the configuration.
    pub(super) fn words(&self) -> BTreeSet<&'static str> {
        match self {
            Self::Keys(keys) => {
                let inner = keys.values().flat_map(Self::words);
                keys.keys().copied().chain(inner).collect()
            }
            Self::Named(shape) | Self::List(shape) => shape.words(),
            Self::Value | Self::Harmless | Self::Secret => BTreeSet::new(),
        }
    }

    /// Finds the key that a variable sets. `rest` is the part of the variable's name that is not matched yet. The
    /// sources, credentials and handlers in the configuration are tried first, then the shortest new name that fits.
    /// For example, `AUDIT_PROBE_MAX` sets `probe_max` of a new handler `audit`.
    pub(super) fn find(&self, rest: &str, there: Option<&Table>) -> Option<Target> {
        match self {
            Self::Value | Self::Harmless | Self::List(_) => rest.is_empty().then(Target::default),
            Self::Secret if rest == "FILE" => Some(Target { secret_file: true, ..Target::default() }),
            Self::Secret => rest.is_empty().then(Target::default),
            Self::Keys(keys) => keys.iter().find_map(|(key, shape)| {
                let inner = there.and_then(|table| table_at(table, &[key]));
                Some(shape.find(strip(rest, key)?, inner)?.under(key))
            }),
            Self::Named(shape) => {
                let known = there.into_iter().flatten().find_map(|(name, entry)| {
                    Some(shape.find(strip(rest, name)?, entry.node.as_table())?.under(name))
                });
                known.or_else(|| {
                    rest.match_indices('_').find_map(|(end, _)| {
                        let name = rest[..end].to_lowercase();
                        Some(shape.find(&rest[end + 1..], None)?.under(&name))
                    })
                })
            }
        }
    }

    /// Returns whether `rest`, the remaining part of a variable's name, names a table, such as a section, a source, a
    /// credential or a handler. A source, credential or handler that is not in the configuration counts only if its
    /// name is a single word.
    pub(super) fn is_table(&self, rest: &str, there: Option<&Table>) -> bool {
        match self {
            Self::Keys(_) | Self::Named(_) if rest.is_empty() => true,
            Self::Keys(keys) => keys.iter().any(|(key, shape)| {
                let inner = there.and_then(|table| table_at(table, &[key]));
                strip(rest, key).is_some_and(|rest| shape.is_table(rest, inner))
            }),
            Self::Named(shape) => {
                let mut known = there.into_iter().flatten();
                !rest.contains('_')
                    || known.any(|(name, entry)| {
                        strip(rest, name).is_some_and(|rest| shape.is_table(rest, entry.node.as_table()))
                    })
            }
            Self::Value | Self::Harmless | Self::Secret | Self::List(_) => false,
        }
    }

    /// Lists the names of all variables that set keys. Variables that would add a source, credential or handler are
    /// left out.
    pub(super) fn list(&self, prefix: &str, there: Option<&Table>, names: &mut Vec<String>) {
        match self {
            Self::Value | Self::Harmless | Self::List(_) => names.push(prefix.to_owned()),
            Self::Secret => names.extend([prefix.to_owned(), format!("{prefix}_FILE")]),
            Self::Keys(keys) => {
                for (key, shape) in keys {
                    let inner = there.and_then(|table| table_at(table, &[key]));
                    shape.list(&format!("{prefix}_{}", upper(key)), inner, names);
                }
            }
            Self::Named(shape) => {
                for (name, entry) in there.into_iter().flatten() {
                    shape.list(&format!("{prefix}_{}", upper(name)), entry.node.as_table(), names);
                }
            }
        }
    }
}

/// Returns whether the table is `handlers.NAME`. The name of an unknown key may be shown there, because it is more
/// likely a key of another kind of handler than a secret.
fn is_handler(table: &[String]) -> bool {
    matches!(table, [section, _] if section == "handlers")
}

/// Returns whether the text looks like the name of a variable. A mix of letters and digits without a `_` is more likely
/// a secret.
fn is_variable_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.chars().all(plain) && (text.contains('_') || !text.contains(|c: char| c.is_ascii_digit()))
}

/// Returns whether the text is a path whose first folder exists. A random text with a `/` hardly ever is one.
fn is_path(text: &str) -> bool {
    let mut folder = PathBuf::new();
    for part in Path::new(text).components() {
        folder.push(part);
        if matches!(part, Component::Normal(_)) {
            return text.contains('/') && folder.is_dir();
        }
    }
    !text.is_empty()
}

/// The key that a variable sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) keys: Vec<String>,
    /// The variable's value is the path of a file with a secret, as is usual in containers: `…_PASSWORD_FILE`.
    pub(super) secret_file: bool,
}

impl Target {
    fn under(mut self, key: &str) -> Self {
        self.keys.insert(0, key.to_owned());
        self
    }
}

fn upper(key: &str) -> String {
    key.to_uppercase().replace('-', "_")
}

/// Returns the rest of a variable's name after a key. `None` if the name does not begin with that key.
fn strip<'a>(rest: &'a str, key: &str) -> Option<&'a str> {
    let rest = rest.strip_prefix(upper(key).as_str())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('_') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_value_is_shown_only_where_its_key_is_harmless() {
        let schema = schema();
        for shown in
            ["http.listen", "sources.x.path", "handlers.x.kind", "handlers.x.where.pointer", "log.level"]
        {
            assert!(schema.shows_value(&path(shown), "text"), "{shown}");
        }
        for hidden in [
            "http.lisen",
            "admin.credentials.username",
            "admin.credentials.password",
            "sources.x.credentials.y.key",
            "sources.x.credentials.y.pasword",
            "handlers.x.url",
            "handlers.x.headers.X-Token",
            "handlers.x.signing_keys",
            "handlers.x.mask.key",
            "handlers.x.phones",
            "handlers.x.where.equals",
            "log.otlp",
            "elsewhere",
        ] {
            assert!(!schema.shows_value(&path(hidden), "text"), "{hidden}");
        }
        assert!(!schema.shows_value(&path("sources.x.path"), "http://u:p@h/"));
    }

    #[test]
    fn a_secret_in_place_of_the_name_of_its_variable_or_file_is_hidden() {
        let schema = schema();
        let env = path("admin.credentials.password.env");
        for (text, shown) in
            [("BIK_KEY_2", true), ("PASSWORD", true), ("correct-horse", false), ("AKIA7EXAMPLE", false)]
        {
            assert_eq!(schema.shows_value(&env, text), shown, "{text}");
        }
        let file = path("handlers.x.headers.X-Token.file");
        for (text, shown) in
            [("/etc/nowhere", true), ("src/nowhere", true), ("hunter2", false), ("q7/Ab+c=", false)]
        {
            assert_eq!(schema.shows_value(&file, text), shown, "{text}");
        }
    }

    #[test]
    fn a_key_that_may_be_a_secret_is_hidden() {
        let schema = schema();
        for (table, key, shown) in [
            ("http", "lisen", true),
            ("handlers.x", "anything", true),
            ("handlers.x", "hunter2", false),
            ("handlers.x.headers", "X-Token", true),
            ("sources.x.credentials", "portal", true),
            ("sources.x.credentials", "hunter2:", false),
            ("sources.x.credentials.portal", "passwrd", true),
            ("sources.x.credentials.portal", "hunter2", false),
            ("sources.x.credentials.portal.key", "evn", true),
            ("sources.x.credentials.portal.key", "hunter2", false),
        ] {
            assert_eq!(schema.shows_key(&path(table), key), shown, "{table}.{key}");
        }
    }

    #[test]
    fn every_key_that_is_classified_exists() {
        for key in HARMLESS_HANDLER_KEYS {
            assert!(handlers::common_keys().contains(&key), "no handler has `{key}`");
        }
        for row in KINDS {
            for key in row.harmless.iter().chain(row.secret) {
                assert!((row.keys)().contains(key), "{} has no `{key}`", row.name);
            }
        }
    }
}
