//! `[journal]` with `kind = "sqlite"`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::settings::{Period, Size};

/// `[journal]`, less `kind`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The database file.
    pub path: PathBuf,
    /// How long events are kept, once every handler has them.
    pub retention: Period,
    /// How long dead letters are kept.
    pub dead_letter_retention: Period,
    /// How long quarantine is kept.
    pub quarantine_retention: Period,
    /// How far back duplicates are recognised.
    pub dedup_window: Period,
    /// The bound of keys in the deduplication window; at the bound the oldest leave.
    pub dedup_keys: u64,
    /// Free room below which intake stops; by default the smaller of 1 GiB and 5 % of the file system.
    pub disk_reserve: Option<Size>,
    /// How long an append may wait before the disk counts as not answering: the deadline of a request, not a key of its own.
    #[serde(skip)]
    pub deadline: Period,
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
