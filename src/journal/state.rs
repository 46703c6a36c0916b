//! State and figures of the journal.

use std::sync::Arc;

/// Whether the journal can store events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// The journal accepts appends.
    Ready,
    /// A write or sync takes longer than the deadline of a request. The journal can store again once the disk
    /// answers.
    Stalled,
    /// The disk is full or down to its reserve, or a quota is exceeded.
    Full {
        /// The handler whose undelivered events keep expired events from being deleted, if there is one.
        held_by: Option<Arc<str>>,
    },
    /// The journal failed, for example because a write, sync or checkpoint failed, or because another program changed
    /// the journal's files. The process must end. The text is for the log and says which data, if any, may be lost.
    Failed(Arc<str>),
    /// The journal was closed without a failure.
    Closed,
}

/// Figures of the journal.
#[derive(Clone, Debug, Default)]
pub struct JournalFigures {
    /// Lowest and highest stored seq; `None` if no event is stored.
    pub span: Option<(u64, u64)>,
    /// Number of keys in the deduplication window.
    pub keys: u64,
    /// How far back the deduplication window reaches, in ms: the age of its oldest key; 0 without a key. It is shorter
    /// than configured while the journal is young, and after the limit of keys was reached.
    pub window_ms: i64,
    /// Bytes written to the write-ahead log since it was last reset. The file may be larger.
    pub wal_bytes: u64,
    /// Size of the database file in bytes.
    pub file_bytes: u64,
    /// Available space in bytes, including the reserve: the lower of two sums. One is the free space of the file system
    /// plus the free pages of the database file. The other is the free space of the file system plus half of the
    /// reserve.
    pub room_bytes: u64,
    pub quarantined: u64,
    /// Number of dead letters per handler.
    pub dead: Vec<(Arc<str>, u64)>,
}
