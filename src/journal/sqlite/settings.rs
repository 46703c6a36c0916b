//! The `[journal]` section with `kind = "sqlite"`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::settings::{Period, Size, Wrong};

/// The keys of `[journal]`, without `kind`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Path of the database file.
    pub path: PathBuf,
    /// How long events are kept after their receipt. An event that a configured handler still needs is kept longer.
    pub retention: Period,
    /// How long dead letters are kept. Those marked for retry are kept longer.
    pub dead_letter_retention: Period,
    /// How long quarantine entries are kept after their bytes were last received.
    pub quarantine_retention: Period,
    /// How far back duplicates are recognised.
    pub dedup_window: Period,
    /// Maximum number of keys in the deduplication window. Beyond it the oldest are evicted early.
    pub dedup_keys: u64,
    /// Free space at which intake stops, including the free pages of the database file: see the module `room`. Default:
    /// 1 GiB or 5 % of the file system, whichever is smaller.
    pub disk_reserve: Option<Size>,
    /// How long an append may wait before the disk counts as stalled. It is `deadline` of `[http]`, not a key of
    /// `[journal]`.
    #[serde(skip)]
    pub deadline: Period,
}

impl Settings {
    /// Returns the violations in `[journal]`.
    pub fn check(&self) -> Vec<Wrong> {
        let path = self.path.as_os_str().is_empty().then(|| Wrong::new(&["path"], "must not be empty"));
        let zeros = Wrong::zeros(&[
            ("retention", self.retention.as_ms() == 0),
            ("dead_letter_retention", self.dead_letter_retention.as_ms() == 0),
            ("quarantine_retention", self.quarantine_retention.as_ms() == 0),
            ("dedup_window", self.dedup_window.as_ms() == 0),
            ("dedup_keys", self.dedup_keys == 0),
        ]);
        path.into_iter().chain(zeros).collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data/journal.db"),
            retention: Period::days(30),
            dead_letter_retention: Period::days(90),
            quarantine_retention: Period::days(90),
            dedup_window: Period::days(8),
            dedup_keys: 20_000_000,
            disk_reserve: None,
            deadline: Period::secs(2),
        }
    }
}
