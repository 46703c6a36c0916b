//! The quarantine, as it is listed.

use crate::{clock::Timestamp, event::Quarantined};

/// Bytes in quarantine; identical ones are kept once.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    /// Its number, for commands.
    pub id: i64,
    /// What was kept.
    pub item: Quarantined,
    /// For a conflict: the stored event whose key it has.
    pub conflicts_with: Option<u64>,
    /// How often these bytes came.
    pub count: u64,
    /// When they came first.
    pub first_at: Timestamp,
    /// When they came last.
    pub last_at: Timestamp,
}

/// Which entries of the quarantine to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct QuarantineQuery {
    /// Only what has a lower id: where the page before ended.
    pub before: Option<i64>,
    /// At most this many; at most 1,000.
    pub limit: usize,
}
