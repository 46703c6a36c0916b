//! A part of the configuration that is read into the settings of a module.

use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::{
    Context, Entry, Invalid, Node, Place, Problem, Table, Value, Wrong, fault::Fault, read::Reader, tree,
};

/// A section of the configuration, with its place.
pub struct Section {
    name: String,
    node: Node,
    context: Rc<Context>,
}

impl Section {
    /// Creates a section with this name (`handlers.audit`; empty for the whole file).
    pub(crate) fn new(name: impl Into<String>, place: Place, table: Table, context: Rc<Context>) -> Self {
        Self { name: name.into(), node: Node { place, value: Value::Table(table) }, context }
    }

    /// Parses a TOML text into one section.
    ///
    /// # Errors
    /// Returns [`Invalid`] with every syntax error and every integer that is too large.
    pub fn parse(text: &str, context: Rc<Context>) -> Result<Self, Invalid> {
        let (table, problems) = tree::parse(text);
        if problems.is_empty() {
            Ok(Self::new("", Place::File(0..0), table, context))
        } else {
            Err(Invalid { problems })
        }
    }

    /// Moves these keys into a new section with the same name and place.
    #[must_use]
    pub(crate) fn split(&mut self, keys: &[&str]) -> Self {
        let mut taken = Table::new();
        if let Value::Table(table) = &mut self.node.value {
            for key in keys {
                taken.extend(table.remove_entry(*key));
            }
        }
        Self::new(self.name.clone(), self.node.place.clone(), taken, Rc::clone(&self.context))
    }

    /// The entries of the section, by key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.node.as_table().into_iter().flatten().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Reads the section into its settings. After an error, removes the wrong value and reads the rest again. Stops at
    /// the first missing key.
    ///
    /// # Errors
    /// Returns [`Invalid`] with every independent error up to the first missing key.
    pub fn read<T: DeserializeOwned>(mut self) -> Result<T, Invalid> {
        let mut problems = Vec::new();
        let mut removed = Vec::new();
        loop {
            let fault = match T::deserialize(Reader::new(&self.node, &self.context)) {
                Ok(settings) if problems.is_empty() => return Ok(settings),
                Ok(_) => return Err(Invalid { problems }),
                Err(fault) => fault,
            };
            if !fault.follows_from(&removed) {
                problems.push(self.problem(&fault));
            }
            let Value::Table(table) = &mut self.node.value else {
                return Err(Invalid { problems });
            };
            if fault.is_missing_key() || tree::remove(table, &fault.path).is_none() {
                return Err(Invalid { problems });
            }
            removed.push(fault.path);
        }
    }

    /// Reads the section like [`Section::read`], then passes the settings to `check`. The path in the error of `check`
    /// is relative to the section.
    ///
    /// # Errors
    /// Returns the errors of [`Section::read`], or the error of `check`.
    pub fn read_checked<K: DeserializeOwned, T>(
        self,
        check: impl FnOnce(K) -> Result<T, Wrong>,
    ) -> Result<T, Invalid> {
        let (name, node) = (self.name.clone(), self.node.clone());
        check(self.read()?).map_err(|wrong| {
            let table = node.as_table();
            let place =
                table.and_then(|table| tree::closest(table, &wrong.path, wrong.item)).unwrap_or(&node);
            let section = Some(name.as_str()).filter(|name| !name.is_empty());
            Invalid { problems: vec![wrong.under(section.as_slice()).at(place.place.clone())] }
        })
    }

    fn problem(&self, fault: &Fault) -> Problem {
        let place = fault.place.clone().unwrap_or_else(|| self.node.place.clone());
        let mut path = fault.path.clone();
        if !self.name.is_empty() {
            path.insert(0, self.name.clone());
        }
        Problem { place, message: fault.message(&path.join(".")), help: fault.help.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        count: u32,
        ratio: f64,
        on: bool,
        names: Vec<String>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        needed: String,
        extra: Option<u8>,
    }

    fn read(text: &str) -> Result<Sample, Vec<String>> {
        let section = Section::parse(text, Context::new(BTreeMap::new())).unwrap();
        section
            .read()
            .map_err(|invalid| invalid.problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn every_fault_of_a_section_is_reported_with_the_path_of_its_key() {
        let faults = read(
            "count = 'x'\nratio = true\non = 1\nnames = ['a', 2]\ninner = { needed = 'n', extra = 300 }\nzzz = 1",
        );
        let faults = faults.unwrap_err();
        for key in ["count:", "ratio:", "on:", "names:", "inner.extra:", "unknown key `zzz`"] {
            assert_eq!(faults.iter().filter(|fault| fault.contains(key)).count(), 1, "{key} in {faults:?}");
        }
        assert_eq!(faults.len(), 6, "{faults:?}");
    }

    #[test]
    fn a_key_with_a_wrong_value_is_not_also_reported_as_missing() {
        assert_eq!(
            read("inner.needed = 1").unwrap_err(),
            ["inner.needed: must be a string in quotes, not a whole number"]
        );
        assert_eq!(read("inner.neded = 'n'").unwrap_err(), ["unknown key `inner.neded`"]);
        assert_eq!(read("[inner]").unwrap_err(), ["inner: the key `needed` is missing"]);
    }

    #[test]
    fn a_whole_number_is_a_number_too() {
        assert_eq!(read("ratio = 2").unwrap().ratio, 2.0);
    }

    #[test]
    fn the_text_of_a_variable_is_converted_to_the_type_of_its_key() {
        let texts = [("count", " 7"), ("ratio", "0.5"), ("on", "true"), ("names", "[a]*")];
        let entry = |text: &str| {
            let place = Place::Variable("X".into());
            Entry { key: place.clone(), node: Node { place, value: Value::Variable(text.to_owned()) } }
        };
        let table = texts.map(|(key, text)| (key.to_owned(), entry(text))).into();
        let section = Section::new("", Place::BuiltIn, table, Context::new(BTreeMap::new()));
        let expected = Sample { count: 7, ratio: 0.5, on: true, names: vec!["[a]*".to_owned()], inner: None };
        assert_eq!(section.read::<Sample>().unwrap(), expected);
    }

    #[test]
    fn a_number_out_of_range_is_reported_whatever_its_size() {
        assert_eq!(
            read("count = 4294967296").unwrap_err(),
            ["count: must be a whole number, 0 or more, not 4294967296"]
        );
        let huge = "9".repeat(60);
        let invalid =
            Section::parse(&format!("count = {huge}"), Context::new(BTreeMap::new())).err().unwrap();
        assert!(invalid.to_string().contains("too large"), "{invalid}");
    }
}
