//! What can go wrong with it, appends aside.

use std::sync::Arc;

use crate::{folder, lock::LockError};

/// Why the journal could not do what it was asked, appends aside.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A read failed; intake goes on.
    #[error("the journal could not be read: {0}")]
    Read(Arc<str>),
    /// A stored row does not make sense.
    #[error("row {seq} of the journal cannot be read: {what}")]
    Row {
        /// Which event.
        seq: u64,
        /// What is wrong with it.
        what: Arc<str>,
    },
    /// A lane that was never enrolled.
    #[error("the journal knows no handler {0:?}")]
    NoLane(Arc<str>),
    /// A write, sync or checkpoint failed; nothing can be assumed until a restart.
    #[error("the journal failed and needs a restart")]
    Failed,
    /// The disk is at its reserve.
    #[error("the journal's disk is full")]
    Full,
    /// The journal is closing or closed.
    #[error("the journal is closed")]
    Stopped,
}

impl Error {
    /// Its class: safe for logs, unlike the text, which may quote a row.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Read(_) => "the journal could not be read",
            Self::Row { .. } => "a row of the journal cannot be read",
            Self::NoLane(_) => "the journal does not know the handler",
            Self::Failed => "the journal failed",
            Self::Full => "the journal's disk is full",
            Self::Stopped => "the journal is closed",
        }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal {path} is in use by another process ({lock})")]
    Locked {
        /// The journal.
        path: String,
        /// Its lock.
        lock: LockError,
    },
    /// It was written by a newer version.
    #[error(
        "the journal {path} was written by a newer bikhook (format {found}, this one knows {known}); nothing was touched"
    )]
    Newer {
        /// The journal.
        path: String,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// Written by an older version of this program, and opened by who does not write.
    #[error(
        "the journal {path} was written by an older bikhook (format {found}, this one has {known}): the receiver brings it up to date at its next start"
    )]
    Older {
        /// The journal.
        path: String,
        /// Its format.
        found: i64,
        /// The format of this version.
        known: i64,
    },
    /// The file is no journal of ours.
    #[error("{path} is not a bikhook journal: {what}")]
    Foreign {
        /// The file.
        path: String,
        /// What was found.
        what: String,
    },
    /// The file system said no.
    #[error("cannot open the journal {path}: {source}")]
    Io {
        /// The journal.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite said no.
    #[error("cannot open the journal {path}: {what}")]
    Engine {
        /// The journal.
        path: String,
        /// Why.
        what: String,
        /// A restart does not help.
        lasting: bool,
    },
}

impl OpenError {
    /// Whether a person has to change something: a restart does not help.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Locked { .. } => false,
            Self::Newer { .. } | Self::Older { .. } | Self::Foreign { .. } => true,
            Self::Io { source, .. } => folder::is_lasting(source),
            Self::Engine { lasting, .. } => *lasting,
        }
    }
}
