//! Input and result of an append.

use crate::event::{Draft, Quarantined};

/// The content of one append. It comes from a request, from a quarantine entry that is retried, or from bikhook itself.
#[derive(Default)]
pub struct AppendBatch {
    /// The decoded events, in order.
    pub drafts: Vec<Draft>,
    /// Input that could not be decoded.
    pub quarantined: Vec<Quarantined>,
    /// Set if this batch was decoded from a quarantine entry. Such an append changes nothing if every draft is a
    /// conflict, or if there is no draft. Then the conflicts and `quarantined` do not become further entries.
    pub retried: Option<RetryOf>,
    /// A guard that is dropped when the append has ended. If the batch comes from a request, the request counts towards
    /// the concurrency limits until then.
    pub hold: Option<Box<dyn Send>>,
}

/// Whether a retry was decoded from all bytes of a quarantine entry, or from a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOf {
    /// All bytes of the entry with this id. The transaction of the append also deletes the entry if any draft is stored
    /// or is a duplicate.
    Whole(i64),
    /// A part of an entry. After the last part, the caller deletes the entry if any draft of any part was stored or is
    /// a duplicate.
    Part,
}

/// The result of appending a batch, sent once the batch is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendReceipt {
    /// Number of events stored.
    pub accepted: u32,
    /// Number of events that were already stored within the deduplication window, or earlier in the same batch.
    pub duplicates: u32,
    /// Number of quarantined items: undecodable input plus conflicts.
    pub quarantined: u32,
    /// Number of conflicts: events with the key of a stored event, but other content. They are quarantined, except in
    /// the case that [`AppendBatch::retried`] describes.
    pub conflicts: u32,
    /// The last seq of this batch; `None` if it stored no event.
    pub seq: Option<u64>,
}

/// Why an append failed. Nothing of the batch is stored, except perhaps after `Failed`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// The disk is full, or its free space is down to the reserve (`disk_reserve`), or a quota is exceeded. An append
    /// can succeed again once there is space.
    #[error("the journal's disk is full")]
    Full,
    /// Another process holds a lock on the database. A retry may succeed.
    #[error("the journal is busy")]
    Busy,
    /// The journal has failed: see [`super::JournalState::Failed`]. What is on disk is unknown until a restart.
    #[error("the journal failed and needs a restart")]
    Failed,
    /// The journal is closing or closed.
    #[error("the journal is closed")]
    Stopped,
}
