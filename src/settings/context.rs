//! The environment of a configuration: variables and files with secrets.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env::VarError,
    ffi::OsString,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::Place;
use crate::secret::{self, Secret};

/// The environment variables and the secret files that are used to read a configuration.
#[derive(Default)]
pub struct Context {
    variables: BTreeMap<String, OsString>,
    requested: RefCell<BTreeSet<String>>,
    generated: RefCell<BTreeMap<PathBuf, Secret>>,
    secret_files: RefCell<BTreeSet<PathBuf>>,
    secrets: RefCell<Vec<(String, Place)>>,
}

impl Context {
    /// Creates a context with these environment variables.
    pub fn new(variables: BTreeMap<String, OsString>) -> Rc<Self> {
        Rc::new(Self { variables, ..Self::default() })
    }

    /// Returns the value of this variable, and records that it was requested.
    ///
    /// # Errors
    /// The same as for [`std::env::var`].
    pub fn variable(&self, name: &str) -> Result<&str, VarError> {
        self.requested.borrow_mut().insert(name.to_owned());
        let value = self.variables.get(name).ok_or(VarError::NotPresent)?;
        value.to_str().ok_or_else(|| VarError::NotUnicode(value.clone()))
    }

    /// The names of all variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Returns whether this variable was requested before.
    pub fn was_requested(&self, name: &str) -> bool {
        self.requested.borrow().contains(name)
    }

    /// The secret in this file; `None` if the file does not exist.
    pub(super) fn kept(&self, path: &Path) -> Result<Option<Secret>, secret::FileError> {
        self.secret_files.borrow_mut().insert(path.to_owned());
        secret::load(path)
    }

    /// Returns the secret in this file. If the file does not exist, generates a secret. All configuration keys that
    /// name this file get the same secret. It is written to the file when bikhook starts to receive.
    pub(super) fn generated(&self, path: &Path) -> Result<Secret, secret::FileError> {
        if let Some(stored) = self.kept(path)? {
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

    /// Records the text of a secret, so that no message quotes it.
    pub(super) fn resolved(&self, secret: &str, place: &Place) {
        let secret = (secret.to_owned(), place.clone());
        let mut secrets = self.secrets.borrow_mut();
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }

    /// Every secret that was read, with the [`Place`] of its value.
    pub(crate) fn secrets(&self) -> Vec<(String, Place)> {
        self.secrets.borrow().clone()
    }

    /// The files in which secrets are stored, or will be.
    pub fn secret_files(&self) -> BTreeSet<PathBuf> {
        self.secret_files.borrow().clone()
    }

    /// The new secrets that are not stored yet, by their files.
    pub fn not_stored(&self) -> BTreeMap<PathBuf, Secret> {
        self.generated.borrow().clone()
    }
}
