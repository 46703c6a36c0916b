//! `[insight]`: where message data is kept, and for how long.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{answers::AnswerSettings, failures::FailureClasses};
use crate::settings::{Period, Wrong};

/// The settings of insight.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether insight runs. Without it the page has no figures, messages, conversations or search.
    pub enabled: bool,
    /// The file of insight; its directory is created if it is missing. `None`: `insight.db` next to the journal.
    pub path: Option<PathBuf>,
    /// How long messages and customers are kept. Figures contain no personal data and are kept forever.
    pub retention: Period,
    /// A file with classes of failures that replaces the built-in table.
    pub failures: Option<PathBuf>,
    /// Which messages to a customer are answers.
    pub answers: AnswerSettings,
    /// The `tenant` of each source that has one. Not part of `[insight]`.
    #[serde(skip)]
    pub tenants: BTreeMap<String, String>,
}

impl Settings {
    /// Checks that the failure classes can be loaded, and that the rules for answers are valid. Returns what is wrong;
    /// empty if both are in order. The file of the failure classes is not read if insight is disabled.
    pub fn check(&self) -> Vec<Wrong> {
        let failures = FailureClasses::load(self.failures.as_deref().filter(|_| self.enabled));
        let mut all = self.answers.check();
        all.iter_mut().for_each(|wrong| wrong.path.insert(0, "answers".to_owned()));
        all.extend(failures.err().map(|error| Wrong::new(&["failures"], error.to_string())));
        all
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            path: None,
            retention: Period::days(90),
            failures: None,
            answers: AnswerSettings::default(),
            tenants: BTreeMap::new(),
        }
    }
}
