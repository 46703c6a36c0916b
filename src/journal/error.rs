//! Errors of the journal, except those of appends.

use std::{io, path::Path, sync::Arc};

use super::AppendError;
use crate::{folder, lock::LockError};

/// Why a journal operation other than an append failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A read failed, or the database was busy. Intake continues.
    #[error("the journal could not be read: {0}")]
    Read(Arc<str>),
    /// A stored row cannot be decoded.
    #[error("row {seq} of the journal cannot be read: {what}")]
    Row {
        seq: u64,
        /// The reason, which may quote the row.
        what: Arc<str>,
    },
    /// The journal has no such lane: the handler is not enrolled, or the replay has ended.
    #[error("the journal has no handler {0:?}, or its replay has ended")]
    NoLane(Arc<str>),
    /// The journal has failed: see [`super::JournalState::Failed`]. What is on disk is unknown until a restart.
    #[error("the journal failed and needs a restart")]
    Failed,
    /// The disk is full, or its free space is down to the reserve (`disk_reserve`), or a quota is exceeded.
    #[error("the journal's disk is full")]
    Full,
    /// The journal is closing or closed.
    #[error("the journal is closed")]
    Stopped,
}

impl Error {
    /// A fixed text per variant, safe for logs. The full error text may quote a row.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Read(_) => "the journal could not be read",
            Self::Row { .. } => "a row of the journal cannot be read",
            Self::NoLane(_) => "the journal does not have the handler",
            Self::Failed => "the journal failed",
            Self::Full => "the journal's disk is full",
            Self::Stopped => "the journal is closed",
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Self::Full,
            AppendError::Busy => Self::Read("busy".into()),
            AppendError::Failed => Self::Failed,
            AppendError::Stopped => Self::Stopped,
        }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalOpenError {
    /// Another process holds the lock.
    #[error("the journal {path} is in use by another process ({lock})")]
    Locked {
        path: String,
        /// The lock file and its holder.
        lock: LockError,
    },
    /// A newer version of bikhook wrote the file.
    #[error(
        "the journal {path} was written by a newer bikhook (format {found}, this version reads up to {known}): use that version or a newer one; nothing was changed"
    )]
    Newer {
        path: String,
        /// The format number of the file.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// An older version of bikhook wrote the file, and a command that does not migrate journals tried to open it.
    #[error(
        "the journal {path} was written by an older bikhook (format {found}, this version uses {known}): the receiver migrates it at its next start"
    )]
    Older {
        path: String,
        /// The format number of the file.
        found: i64,
        /// The format that this version writes.
        known: i64,
    },
    /// The file is not a bikhook journal.
    #[error("{path} is not a bikhook journal: {what}")]
    Foreign { path: String, what: String },
    #[error("cannot open the journal {path}: {source}")]
    Io { path: String, source: io::Error },
    /// The write-ahead log could not be synced. If the previous bikhook process was killed, its last writes to the log
    /// may not be on disk.
    #[error("cannot sync the journal's log {path}: {source}; check the disk, then start again")]
    Unsynced {
        /// Path of the log.
        path: String,
        source: io::Error,
    },
    #[error("cannot open the journal {path}: {what}")]
    Engine {
        path: String,
        /// The error text of SQLite.
        what: String,
        /// True if a restart cannot help.
        lasting: bool,
    },
}

impl JournalOpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }

    /// True if a restart does not help until the path, a permission, the file or the version of bikhook is changed.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Locked { .. } => false,
            Self::Newer { .. } | Self::Older { .. } | Self::Foreign { .. } => true,
            Self::Io { source, .. } | Self::Unsynced { source, .. } => folder::is_lasting(source),
            Self::Engine { lasting, .. } => *lasting,
        }
    }
}
