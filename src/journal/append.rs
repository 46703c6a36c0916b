//! What a request brings, and what becomes of it.

use crate::event::{Draft, Quarantined};

/// What one request brings.
#[derive(Default)]
pub struct Batch {
    /// The events, in order.
    pub drafts: Vec<Draft>,
    /// What could not be read.
    pub quarantined: Vec<Quarantined>,
    /// Whatever must be held until the append has ended, such as the request's place in the limits.
    pub hold: Option<Box<dyn Send>>,
}

/// What became of a batch, once it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events stored.
    pub accepted: u32,
    /// Events that were stored before, inside the deduplication window, or earlier in the same batch.
    pub duplicates: u32,
    /// What went to quarantine: what could not be read, and the conflicts.
    pub quarantined: u32,
    /// Of these: the key of a stored event with other content.
    pub conflicts: u32,
    /// The last sequence number that this batch made durable.
    pub seq: Option<u64>,
}

/// Why a batch was not stored. Nothing of it was.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// The disk is at its reserve: there will be room again.
    #[error("the journal's disk is full")]
    Full,
    /// The journal is busy with somebody else's lock, and may be free again.
    #[error("the journal is busy")]
    Busy,
    /// A write, sync or checkpoint failed before; nothing can be assumed until a restart.
    #[error("the journal failed and needs a restart")]
    Failed,
    /// The journal is closing or closed.
    #[error("the journal is closed")]
    Stopped,
}
