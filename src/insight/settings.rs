//! `[insight]`: what is kept of messages, and for how long.

use std::path::PathBuf;

use serde::Deserialize;

use super::failures::{Failures, FailuresError};
use crate::settings::Period;

/// What insight keeps, and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Off: nothing is learnt, and the page shows events alone.
    pub enabled: bool,
    /// Its own file; its directory is made if it is missing. By default `insight.db` beside the journal.
    pub path: Option<PathBuf>,
    /// How long messages and customers are kept; figures without personal data stay for ever.
    pub retention: Period,
    /// A table of classes of failures in place of the binary's own.
    pub failures: Option<PathBuf>,
}

impl Settings {
    /// Whether the table of failures can be used.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), FailuresError> {
        if self.enabled { Failures::load(self.failures.as_deref()).map(drop) } else { Ok(()) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, path: None, retention: Period::days(90), failures: None }
    }
}
