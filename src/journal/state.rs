//! How the journal is.

use std::sync::Arc;

/// Whether the journal can store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Ready,
    /// A write or a sync takes longer than a request may wait: it can store again once the disk answers.
    Stalled,
    /// The disk is at its reserve, or refuses writes; names the lane that holds retention back, if one does.
    Full {
        /// The handler whose undelivered events keep the oldest rows from being deleted.
        held_by: Option<Arc<str>>,
    },
    /// A write, sync or checkpoint failed, or its files were changed by somebody else: the process must end. The text is for
    /// the log, and says what may be lost.
    Failed(Arc<str>),
    /// Closed in good order.
    Closed,
}

/// Figures of the journal.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Lowest and highest seq that are stored; `None` while it is empty.
    pub span: Option<(u64, u64)>,
    /// Keys in the deduplication window.
    pub keys: u64,
    /// How far back the deduplication window reaches, ms; shorter than configured once the bound of keys was met.
    pub window_ms: i64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Room, the reserve included: free space of the file system, and as much of the file's free pages as intake may use
    /// before the file system alone is at half of the reserve.
    pub room_bytes: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Dead letters, by handler.
    pub dead: Vec<(Arc<str>, u64)>,
}
