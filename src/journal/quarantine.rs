//! Listing of the quarantine.

use crate::{
    clock::Timestamp,
    event::{Position, Quarantined},
};

/// One quarantined item. Identical bytes from the same source with the same reason are stored once and counted.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    /// The id that commands use.
    pub id: i64,
    /// The stored bytes with source and reason.
    pub item: Quarantined,
    /// Where in the bytes the error is, if `item.detail` names a position.
    pub at: Option<Position>,
    /// For a conflict, the seq of the stored event with the same key.
    pub conflicts_with: Option<u64>,
    /// Number of times these bytes were received.
    pub count: u64,
    /// When these bytes were first received.
    pub first_at: Timestamp,
    /// When these bytes were last received.
    pub last_at: Timestamp,
}

/// Position of a page of quarantine entries, newest first.
#[derive(Clone, Debug, Default)]
pub struct QuarantineQuery {
    /// Only entries with an id below this one. For a next page, this is the last id of the previous page.
    pub before: Option<i64>,
    /// Maximum number of entries, clamped to 1..=1,000.
    pub limit: usize,
}
