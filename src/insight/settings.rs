//! `[insight]`: where message data is kept, and for how long.

use std::path::PathBuf;

use serde::Deserialize;

use super::failures::FailureClasses;
use crate::settings::{Period, Wrong};

/// The settings of insight.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether insight runs. Without it the page has no figures, messages, conversations or search.
    pub enabled: bool,
    /// The file of insight; its directory is created if it is missing. `None`: `insight.db` next to the journal.
    pub path: Option<PathBuf>,
    /// How long messages and customers are kept. Figures without personal data are kept forever.
    pub retention: Period,
    /// A file with classes of failures that replaces the built-in table.
    pub failures: Option<PathBuf>,
}

impl Settings {
    /// Checks that the failure classes can be loaded. Returns why not; `None` if they can, or if insight is disabled.
    pub fn check(&self) -> Option<Wrong> {
        let error = FailureClasses::load(self.failures.as_deref().filter(|_| self.enabled)).err()?;
        Some(Wrong::new(&["failures"], error.to_string()))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, path: None, retention: Period::days(90), failures: None }
    }
}
