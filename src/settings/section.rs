//! A part of the configuration on its way into a module's settings.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env::VarError,
    ffi::OsString,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde::de::DeserializeOwned;

use super::{Entry, Invalid, Node, Place, Problem, Table, Value, fault::Fault, read::Reader, tree};
use crate::secret::{self, Secret};

/// A section of the configuration that knows its place in the file.
pub struct Section {
    name: String,
    node: Node,
    context: Rc<Context>,
}

impl Section {
    /// A section of this name (`handlers.audit`; empty for the whole file).
    pub fn new(name: impl Into<String>, place: Place, table: Table, context: Rc<Context>) -> Self {
        Self { name: name.into(), node: Node { place, value: Value::Table(table) }, context }
    }

    /// A whole text of TOML as one section.
    ///
    /// # Errors
    /// [`Invalid`] with everything that is wrong with its syntax.
    pub fn parse(text: &str, context: Rc<Context>) -> Result<Self, Invalid> {
        let (table, problems) = tree::parse(text);
        if problems.is_empty() {
            Ok(Self::new("", Place::File(0..0), table, context))
        } else {
            Err(Invalid { problems })
        }
    }

    /// Moves those keys into a section of their own, with the same name and place.
    #[must_use]
    pub fn split(&mut self, keys: &[&str]) -> Self {
        let mut taken = Table::new();
        if let Value::Table(table) = &mut self.node.value {
            for key in keys {
                taken.extend(table.remove_entry(*key));
            }
        }
        Self::new(self.name.clone(), self.node.place.clone(), taken, Rc::clone(&self.context))
    }

    /// The keys that are in it.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.node.as_table().into_iter().flatten().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Reads the section into its settings.
    ///
    /// # Errors
    /// [`Invalid`], with every fault that can be told from the others: after one is found, the value at fault is taken
    /// out and the rest is read again.
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

    fn problem(&self, fault: &Fault) -> Problem {
        let place = fault.place.clone().unwrap_or_else(|| self.node.place.clone());
        let mut path = fault.path.clone();
        if !self.name.is_empty() {
            path.insert(0, self.name.clone());
        }
        Problem { place, message: fault.message(&path.join(".")), help: fault.help.clone() }
    }
}

/// What the reading of a configuration may look at besides the file: the environment, and files with secrets.
#[derive(Default)]
pub struct Context {
    variables: BTreeMap<String, OsString>,
    asked: RefCell<BTreeSet<String>>,
    generated: RefCell<BTreeMap<PathBuf, Secret>>,
}

impl Context {
    /// With these environment variables.
    pub fn new(variables: BTreeMap<String, OsString>) -> Rc<Self> {
        Rc::new(Self { variables, ..Self::default() })
    }

    /// The variable of this name; that it was asked for is remembered.
    ///
    /// # Errors
    /// As [`std::env::var`].
    pub fn variable(&self, name: &str) -> Result<&str, VarError> {
        self.asked.borrow_mut().insert(name.to_owned());
        let value = self.variables.get(name).ok_or(VarError::NotPresent)?;
        value.to_str().ok_or_else(|| VarError::NotUnicode(value.clone()))
    }

    /// The names of all variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Whether this variable was asked for.
    pub fn was_asked_for(&self, name: &str) -> bool {
        self.asked.borrow().contains(name)
    }

    /// The secret kept in this file; where there is no file yet, a fresh one, the same for every key that names the
    /// file, to be stored when the program starts for good.
    pub(super) fn generated(&self, path: &Path) -> Result<Secret, secret::FileError> {
        if let Some(stored) = secret::load(path)? {
            return Ok(stored);
        }
        let mut generated = self.generated.borrow_mut();
        if let Some(secret) = generated.get(path) {
            return Ok(secret.clone());
        }
        let secret = Secret::random(path)?;
        generated.insert(path.to_owned(), secret.clone());
        Ok(secret)
    }

    /// The secrets that are not in their files yet.
    pub fn not_stored(&self) -> BTreeMap<PathBuf, Secret> {
        self.generated.borrow().clone()
    }
}
