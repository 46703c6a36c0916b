//! Environment variables such as `BIKHOOK_HTTP_LISTEN=…`, which override the file. Useful in containers.
//!
//! A variable's name is matched against the keys of the configuration. It may also contain the name of a source,
//! credential or handler, which need not be in the file. A variable that matches nothing is ignored, because
//! orchestrators may set variables with the same prefix. If its name is close to a valid one, a warning shows the valid
//! one. If it names a table, a warning says that only the keys of the table can be set.

use std::sync::Arc;

use super::{
    reading::put_node,
    schema::{Target, schema},
};
use crate::settings::{Context, Entry, Node, Place, Problem, Table, Value};

const PREFIX: &str = "BIKHOOK_";

/// Variables of the program that are not keys of its configuration.
const OTHERS: [&str; 2] = ["BIKHOOK_CONFIG", "BIKHOOK_ADMIN"];

/// The result of applying the variables.
pub(super) struct Applied {
    /// The variables that match no key.
    pub unmatched: Vec<String>,
    /// The variables that match a key, but are not valid UTF-8.
    pub problems: Vec<Problem>,
}

/// Applies the variables to the tree.
pub(super) fn apply(root: &mut Table, context: &Context) -> Applied {
    let schema = schema();
    let mut applied = Applied { unmatched: Vec::new(), problems: Vec::new() };
    for name in context.variables().filter(|name| name.starts_with(PREFIX) && !OTHERS.contains(name)) {
        let Some(target) = schema.find(&name[PREFIX.len()..], Some(root)) else {
            applied.unmatched.push(name.to_owned());
            continue;
        };
        let place = Place::Variable(Arc::from(name));
        match context.variable(name) {
            Ok(text) => put(&target, root, place, text),
            Err(_not_unicode) => applied
                .problems
                .push(Problem::new(place, format!("the environment variable {name} is not valid UTF-8"))),
        }
    }
    applied
}

/// Warns about unmatched variables that name a table, or whose names are close to a valid one.
pub(super) fn warnings(root: &Table, context: &Context, unmatched: &[String]) -> Vec<Problem> {
    if unmatched.is_empty() {
        return Vec::new();
    }
    let schema = schema();
    let mut known = Vec::new();
    schema.list("BIKHOOK", Some(root), &mut known);
    unmatched
        .iter()
        .filter(|name| !context.was_requested(name))
        .filter_map(|name| {
            if schema.is_table(&name[PREFIX.len()..], Some(root)) {
                return Some(names_a_table(name, &known));
            }
            let distance = |known: &&String| strsim::damerau_levenshtein(name, known);
            let near = known.iter().min_by_key(distance).filter(|near| distance(near) <= 2)?;
            let problem = Problem::new(
                Place::BuiltIn,
                format!("the environment variable {name} matches no configuration key; ignored"),
            );
            Some(problem.help(format!("did you mean `{near}`?")))
        })
        .collect()
}

/// The warning about a variable that names a table. As an example, it shows a variable that sets one key of the table,
/// if one is known.
fn names_a_table(name: &str, known: &[String]) -> Problem {
    let problem = Problem::new(
        Place::BuiltIn,
        format!("the environment variable {name} names a table, and a variable sets a single key; ignored"),
    );
    let below = format!("{name}_");
    let example = known.iter().find(|known| known.starts_with(&below));
    let example = example.map(|example| format!(", such as `{example}`")).unwrap_or_default();
    problem.help(format!("set each key of the table by a variable of its own{example}"))
}

/// Sets the target key to the text of a variable. With [`Target::secret_file`], sets it to `{ file = TEXT }` instead.
fn put(target: &Target, root: &mut Table, place: Place, text: &str) {
    let mut node = Node { place: place.clone(), value: Value::Variable(text.to_owned()) };
    if target.secret_file {
        let entry = Entry { key: place.clone(), node };
        node = Node { place, value: Value::Table(Table::from([("file".to_owned(), entry)])) };
    }
    let keys: Vec<&str> = target.keys.iter().map(String::as_str).collect();
    put_node(root, &keys, node);
}

#[cfg(test)]
mod tests {
    use crate::{config::Config, handler::KINDS};

    #[test]
    fn a_variable_names_the_file_of_a_url_that_may_hold_a_secret() {
        let home = tempfile::tempdir().unwrap();
        let (config, file) = (home.path().join("bikhook.toml"), home.path().join("url"));
        for (kind, url, more, place) in [
            ("http", "https://hooks.example/sesame", "", "hooks.example"),
            ("postgres", "postgres://bik:sesame@db.example/shop", "", "db.example"),
            ("redis", "redis://bik:sesame@cache.example", "", "cache.example"),
            ("rabbitmq", "amqp://bik:sesame@mq.example", "exchange = 'bik'", "mq.example"),
        ] {
            if !KINDS.iter().any(|row| row.name == kind) {
                continue;
            }
            std::fs::write(&config, format!("[handlers.out]\nkind = '{kind}'\n{more}")).unwrap();
            std::fs::write(&file, format!("{url}\n")).unwrap();
            let variable = ("BIKHOOK_HANDLERS_OUT_URL_FILE".into(), file.clone().into_os_string());
            let loaded = Config::load(Some(&config), [variable]);
            let loaded = loaded.unwrap_or_else(|error| panic!("{kind}: {error}"));
            let destination = &loaded.handlers[0].destination;
            assert!(destination.contains(place) && !destination.contains("sesame"), "{kind}: {destination}");
        }
    }
}
