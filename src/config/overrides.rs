//! `BIKHOOK_HTTP_LISTEN=…`: environment variables over the file, for containers.
//!
//! A name is matched against the keys that the settings have and the names that the file has. One that matches none is
//! left alone, since orchestrators inject names of their own; where a known one is near, that is told.

use std::{collections::BTreeMap, sync::Arc};

use super::{LogSettings, handlers, reading::put_node};
use crate::{
    admin,
    handler::KINDS,
    http::{self, CredentialSettings, SourceSettings},
    insight, journal,
    settings::{Context, Entry, Node, Place, Problem, Table, Value, keys_of},
};

const PREFIX: &str = "BIKHOOK_";

/// Variables of the program that are no keys of its configuration.
const OTHERS: [&str; 3] = ["BIKHOOK_CONFIG", "BIKHOOK_ADMIN", "BIKHOOK_LOG"];

/// What became of the variables.
pub(super) struct Applied {
    /// Those that match no key.
    pub unmatched: Vec<String>,
    /// Those that match a key, and cannot be read.
    pub problems: Vec<Problem>,
}

/// Lays the variables over the tree.
pub(super) fn apply(root: &mut Table, context: &Context) -> Applied {
    let shape = shape();
    let mut applied = Applied { unmatched: Vec::new(), problems: Vec::new() };
    for name in context.variables().filter(|name| name.starts_with(PREFIX) && !OTHERS.contains(name)) {
        let Some(target) = shape.find(&name[PREFIX.len()..], Some(root)) else {
            applied.unmatched.push(name.to_owned());
            continue;
        };
        let place = Place::Variable(Arc::from(name));
        match context.variable(name) {
            Ok(text) => target.put(root, place, text),
            Err(_not_unicode) => applied.problems.push(Problem::new(place, format!("{name} is not UTF-8"))),
        }
    }
    applied
}

/// The variables that were probably meant to be a key.
pub(super) fn warnings(root: &Table, context: &Context, unmatched: &[String]) -> Vec<Problem> {
    if unmatched.is_empty() {
        return Vec::new();
    }
    let mut known = Vec::new();
    shape().list("BIKHOOK", Some(root), &mut known);
    unmatched
        .iter()
        .filter(|name| !context.was_asked_for(name))
        .filter_map(|name| {
            let distance = |known: &&String| strsim::damerau_levenshtein(name, known);
            let near = known.iter().min_by_key(distance).filter(|near| distance(near) <= 2)?;
            let problem =
                Problem::new(Place::BuiltIn, format!("the environment variable {name} is no key: ignored"));
            Some(problem.help(format!("did you mean `{near}`?")))
        })
        .collect()
}

/// What may stand at a place of the configuration.
enum Shape {
    Value,
    Secret,
    Keys(BTreeMap<&'static str, Shape>),
    Named(Box<Shape>),
}

fn shape() -> Shape {
    let credential =
        Shape::keys(keys_of::<CredentialSettings>(), [("password", Shape::Secret), ("key", Shape::Secret)]);
    let source =
        Shape::keys(keys_of::<SourceSettings>(), [("credentials", Shape::Named(Box::new(credential)))]);
    let operator = Shape::keys(keys_of::<admin::Credentials>(), [("password", Shape::Secret)]);
    let kinds: Vec<_> = KINDS.iter().flat_map(|row| (row.keys)()).copied().collect();
    let handler = Shape::keys(&[handlers::common_keys(), kinds].concat(), []);
    Shape::Keys(BTreeMap::from([
        ("http", Shape::keys(keys_of::<http::Settings>(), [])),
        ("admin", Shape::keys(keys_of::<admin::Settings>(), [("credentials", operator)])),
        ("sources", Shape::Named(Box::new(source))),
        ("insight", Shape::keys(keys_of::<insight::Settings>(), [])),
        ("journal", Shape::keys(keys_of::<journal::sqlite::Settings>(), [("kind", Shape::Value)])),
        ("handlers", Shape::Named(Box::new(handler))),
        ("log", Shape::keys(keys_of::<LogSettings>(), [])),
    ]))
}

impl Shape {
    fn keys<const N: usize>(values: &[&'static str], others: [(&'static str, Self); N]) -> Self {
        let mut keys: BTreeMap<_, _> = values.iter().map(|key| (*key, Self::Value)).collect();
        keys.extend(others);
        Self::Keys(keys)
    }

    /// Where the rest of a variable's name points to. Names that are there come before names that would be new, and of
    /// those the shortest is taken: `AUDIT_PROBE_MAX` is `probe_max` of `audit`.
    fn find(&self, rest: &str, there: Option<&Table>) -> Option<Target> {
        match self {
            Self::Value => rest.is_empty().then(Target::default),
            Self::Secret if rest == "FILE" => Some(Target { secret_file: true, ..Target::default() }),
            Self::Secret => rest.is_empty().then(Target::default),
            Self::Keys(keys) => keys.iter().find_map(|(key, shape)| {
                let inner = there.and_then(|table| table_at(table, key));
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

    /// Every name that a variable can have, for the names that are there.
    fn list(&self, prefix: &str, there: Option<&Table>, names: &mut Vec<String>) {
        match self {
            Self::Value => names.push(prefix.to_owned()),
            Self::Secret => names.extend([prefix.to_owned(), format!("{prefix}_FILE")]),
            Self::Keys(keys) => {
                for (key, shape) in keys {
                    let inner = there.and_then(|table| table_at(table, key));
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

/// Where a variable points to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Target {
    keys: Vec<String>,
    /// It names the file of a secret, in the way of containers: `…_PASSWORD_FILE`.
    secret_file: bool,
}

impl Target {
    fn under(mut self, key: &str) -> Self {
        self.keys.insert(0, key.to_owned());
        self
    }

    fn put(&self, root: &mut Table, place: Place, text: &str) {
        let mut node = Node { place: place.clone(), value: Value::Variable(text.to_owned()) };
        if self.secret_file {
            let entry = Entry { key: place.clone(), node };
            node = Node { place, value: Value::Table(Table::from([("file".to_owned(), entry)])) };
        }
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        put_node(root, &keys, node);
    }
}

fn upper(key: &str) -> String {
    key.to_uppercase().replace('-', "_")
}

/// What follows a key in the name of a variable.
fn strip<'a>(rest: &'a str, key: &str) -> Option<&'a str> {
    let rest = rest.strip_prefix(upper(key).as_str())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('_') }
}

fn table_at<'a>(table: &'a Table, key: &str) -> Option<&'a Table> {
    table.get(key)?.node.as_table()
}
