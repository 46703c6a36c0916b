//! The tree of the configuration while it is read: access to its parts by path, and the problems found so far.

use std::{collections::BTreeMap, rc::Rc};

use serde::de::DeserializeOwned;

use crate::settings::{
    Context, Entry, Invalid, Node, Place, Problem, Section, Table, Value, Wrong, closest, meant,
};

/// The whole configuration while it is read into settings.
pub(super) struct Reading {
    pub root: Table,
    pub context: Rc<Context>,
    /// The errors found so far.
    pub problems: Vec<Problem>,
    /// The warnings found so far.
    pub warnings: Vec<Problem>,
}

impl Reading {
    pub(super) const fn new(root: Table, context: Rc<Context>, problems: Vec<Problem>) -> Self {
        Self { root, context, problems, warnings: Vec::new() }
    }

    /// Reports top-level keys that are not a known section.
    pub(super) fn only_sections(&mut self, known: &[&str]) {
        for (name, entry) in self.root.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let problem = Problem::new(entry.key.clone(), format!("unknown section `{name}`"));
            self.problems.push(Problem { help: meant(name, known), ..problem });
        }
    }

    /// The names in a table of tables, in the order of the file.
    pub(super) fn names(&mut self, path: &[&str]) -> Vec<String> {
        let Some(section) = self.section(path) else { return Vec::new() };
        let mut names: Vec<_> =
            section.entries().map(|(name, entry)| (order(&entry.key), name.to_owned())).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// The table at a path, or an empty one if there is none. If the value is not a table, reports that and returns
    /// `None`.
    pub(super) fn section(&mut self, path: &[&str]) -> Option<Section> {
        let (place, table) = match node_at(&self.root, path) {
            None => (Place::BuiltIn, Table::new()),
            Some(node) => match node.as_table() {
                Some(table) => (node.place.clone(), table.clone()),
                None => {
                    self.wrong(Wrong::new(path, "must be a table"));
                    return None;
                }
            },
        };
        Some(Section::new(path.join("."), place, table, Rc::clone(&self.context)))
    }

    /// Reads the table at a path into its settings.
    pub(super) fn read<T: DeserializeOwned>(&mut self, path: &[&str]) -> Option<T> {
        let section = self.section(path)?;
        self.take(section.read())
    }

    /// Returns the value, or reports the problems and returns `None`.
    pub(super) fn take<T>(&mut self, read: Result<T, Invalid>) -> Option<T> {
        read.map_err(|invalid| self.problems.extend(invalid.problems)).ok()
    }

    /// Removes a key from a section, and reads its value. Returns `Some(None)` if there is no value, and `None` after
    /// an error, which is reported.
    pub(super) fn take_key<T: DeserializeOwned>(
        &mut self,
        section: &mut Section,
        key: &str,
    ) -> Option<Option<T>> {
        let mut values = self.take(section.split(&[key]).read::<BTreeMap<String, T>>())?;
        Some(values.remove(key))
    }

    /// Returns whether there is a value at a path.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        node_at(&self.root, path).is_some()
    }

    /// The place of the value at a path. With `item`, the place of that item of the list at the path. If there is no
    /// value, the place of the closest value above it.
    pub(super) fn place(&self, path: &[impl AsRef<str>], item: Option<usize>) -> Place {
        closest(&self.root, path, item).map_or(Place::BuiltIn, |node| node.place.clone())
    }

    /// Reports an error, whose path begins at the top of the configuration.
    pub(super) fn wrong(&mut self, wrong: Wrong) {
        let place = self.place(&wrong.path, wrong.item);
        self.problems.push(wrong.at(place));
    }

    /// Reports errors of a section. The paths of these errors begin at the section.
    pub(super) fn refuse(&mut self, section: &[&str], all: impl IntoIterator<Item = Wrong>) {
        all.into_iter().for_each(|wrong| self.wrong(wrong.under(section)));
    }

    /// Reports a warning, whose path begins at the top of the configuration.
    pub(super) fn warn(&mut self, wrong: Wrong) {
        let place = self.place(&wrong.path, wrong.item);
        self.warnings.push(wrong.at(place));
    }
}

pub(super) fn table_at<'a>(root: &'a Table, path: &[&str]) -> Option<&'a Table> {
    node_at(root, path)?.as_table()
}

pub(super) fn node_at<'a>(root: &'a Table, path: &[&str]) -> Option<&'a Node> {
    let (first, rest) = path.split_first()?;
    let node = &root.get(*first)?.node;
    if rest.is_empty() { Some(node) } else { node_at(node.as_table()?, rest) }
}

/// Sets a text at a path, replacing any other value, and marks it as built in.
pub(super) fn put(root: &mut Table, path: &[&str], text: &str) {
    let value = Value::Text(text.to_owned());
    put_node(root, path, Node { place: Place::BuiltIn, value });
}

/// Sets the value at a path, replacing any other, and creates the tables above it.
pub(super) fn put_node(table: &mut Table, path: &[&str], node: Node) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        let key = node.place.clone();
        table.insert((*first).to_owned(), Entry { key, node });
        return;
    }
    let new_table = || Entry {
        key: node.place.clone(),
        node: Node { place: node.place.clone(), value: Value::Table(Table::new()) },
    };
    let entry = table.entry((*first).to_owned()).or_insert_with(new_table);
    if entry.node.as_table().is_none() {
        *entry = new_table();
    }
    if let Value::Table(inner) = &mut entry.node.value {
        put_node(inner, rest, node);
    }
}

/// The sort key of a place: places in the file by their position, all others after them.
pub(super) const fn order(place: &Place) -> usize {
    match place {
        Place::File(span) => span.start,
        Place::Variable(_) | Place::BuiltIn => usize::MAX,
    }
}
