//! What can go wrong with the file, and how it is told to dispatch.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    handler::Failure,
    lock::{LockError, lock_of},
};

/// Why the file could not be opened, written or rotated. Nothing in it quotes an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another handler or process writes it.
    #[error("{path} is in use by another handler or process ({lock}): give each handler its own path")]
    InUse {
        /// The file.
        path: PathBuf,
        /// Its lock.
        lock: LockError,
    },
    /// A directory, a pipe, a device, a link that leads nowhere.
    #[error("{path} is not a regular file: a jsonl handler needs one that it can cut back and rotate")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The name of the file cannot be taken apart for its rotated files.
    #[error("{path} names no file, or not in UTF-8")]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// Its first line was not written by this handler: not ours to add to, or to cut.
    #[error("{path} does not begin as a file of this handler does: move it away or choose another path")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It begins with zeros.
    #[error("{path} is damaged: it begins with zeros")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done, such as `write`.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Says what was being done, and to which file; for `map_err`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// Of a file whose lock could not be taken; for `map_err`.
    pub fn lock(guarded: &Path) -> impl FnOnce(LockError) -> Self {
        move |error| match error {
            LockError::Io(source) => Self::io("open the lock file", &lock_of(guarded))(source),
            lock @ LockError::Held { .. } => Self::InUse { path: guarded.to_owned(), lock },
        }
    }

    /// What to do about it, where the error itself does not say so; begins with a colon.
    pub fn advice(&self) -> &'static str {
        let Self::Io { source, .. } = self else { return "" };
        match source.kind() {
            io::ErrorKind::PermissionDenied => ": the user that this runs as must be able to write there",
            io::ErrorKind::ReadOnlyFilesystem => ": choose a path on a file system that can be written",
            _ => "",
        }
    }

    /// A class that is safe for logs.
    fn class(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in use",
            Self::NotAFile { .. } | Self::NoName { .. } => "not a file",
            Self::Foreign { .. } => "foreign file",
            Self::Damaged { .. } => "damaged file",
            Self::Io { doing, source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk full",
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "no permission",
                io::ErrorKind::NotFound => "not found",
                _ => doing,
            },
        }
    }
}

/// A file takes any event: whatever is wrong is wrong with the file, and may be put right.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::retry(error.class(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_read_only_one_are_told_apart_and_neither_loses_its_cause() {
        let error = |kind: io::ErrorKind| Error::io("write", Path::new("/x/events.jsonl"))(kind.into());
        assert_eq!(error(io::ErrorKind::StorageFull).class(), "disk full");
        assert_eq!(error(io::ErrorKind::ReadOnlyFilesystem).class(), "no permission");
        assert_eq!(error(io::ErrorKind::Other).class(), "write");
        assert!(error(io::ErrorKind::ReadOnlyFilesystem).advice().contains("file system"));
        let failure = Failure::from(error(io::ErrorKind::StorageFull)).to_string();
        assert!(failure.starts_with("cannot write /x/events.jsonl: "), "{failure}");
    }
}
