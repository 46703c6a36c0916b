//! `[insight]`: where message data is kept, and for how long.

use std::path::PathBuf;

use serde::Deserialize;

use super::failures::{Failures, FailuresError};
use crate::settings::Period;

/// The settings of insight.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether insight runs. If false, nothing is learned, and the page shows only events.
    pub enabled: bool,
    /// The file of insight; its directory is created if it is missing. `None`: `insight.db` next to the journal.
    pub path: Option<PathBuf>,
    /// How long messages and customers are kept. Figures without personal data are kept forever.
    pub retention: Period,
    /// A file with classes of failures that replaces the built-in table.
    pub failures: Option<PathBuf>,
}

impl Settings {
    /// Checks that the table of failures can be used, if insight is enabled.
    ///
    /// # Errors
    /// Returns [`FailuresError`] if the table cannot be read or is wrong.
    pub fn check(&self) -> Result<(), FailuresError> {
        if self.enabled { Failures::load(self.failures.as_deref()).map(drop) } else { Ok(()) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, path: None, retention: Period::days(90), failures: None }
    }
}
