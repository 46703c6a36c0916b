//! Errors of the JSONL file, and their conversion to [`Failure`].

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    handler::Failure,
    lock::{LockError, lock_of},
};

/// Why the file could not be opened, written or rotated. No error text quotes an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another handler or process writes the file.
    #[error("{path} is in use by another handler or process ({lock}): give each handler its own path")]
    InUse {
        path: PathBuf,
        /// Why the lock could not be taken.
        lock: LockError,
    },
    /// The path leads to a directory, pipe, device or broken link.
    #[error("{0} is not a regular file: a jsonl handler needs one that it can truncate and rotate")]
    NotAFile(PathBuf),
    /// The file name is missing or not UTF-8, so names of rotated files cannot be derived from it.
    #[error("{0} has no file name in UTF-8: choose another path")]
    NoName(PathBuf),
    /// The file was not written by a jsonl handler, so it must not be appended to or truncated.
    #[error("{0} is not a file of a jsonl handler: move it away or choose another path")]
    Foreign(PathBuf),
    /// The first bytes of the file include a zero byte, as after a power cut. The writer repairs the file and opens it
    /// again. The writer returns this error only if the first bytes still include a zero byte.
    #[error("{0} is damaged, it begins with zeros: move it away")]
    Damaged(PathBuf),
    /// An operation of the file system failed.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// The operation that failed, such as `write`.
        doing: &'static str,
        /// The file or directory that it failed on.
        path: PathBuf,
        source: io::Error,
    },
}

impl Error {
    /// Makes [`Error::Io`] for an operation and a file; for `map_err`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// Makes the error for a file whose lock could not be taken; for `map_err`.
    pub fn lock(guarded: &Path) -> impl FnOnce(LockError) -> Self {
        move |error| match error {
            LockError::Io(source) => Self::io("open the lock file", &lock_of(guarded))(source),
            lock @ LockError::Held { .. } => Self::InUse { path: guarded.to_owned(), lock },
        }
    }

    /// Advice to append to the error text; empty if there is none. The advice begins with a colon.
    pub fn advice(&self) -> &'static str {
        let Self::Io { source, .. } = self else { return "" };
        match source.kind() {
            io::ErrorKind::PermissionDenied => ": the user that runs bikhook must be able to write there",
            io::ErrorKind::ReadOnlyFilesystem => ": choose a path on a writable file system",
            _ => "",
        }
    }

    /// Error class that is safe for logs.
    fn class(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in use",
            Self::NotAFile(_) | Self::NoName(_) => "not a file",
            Self::Foreign(_) => "foreign file",
            Self::Damaged(_) => "damaged file",
            Self::Io { doing, source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk full",
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "no permission",
                io::ErrorKind::NotFound => "not found",
                _ => doing,
            },
        }
    }
}

/// Every error becomes [`Failure::Retry`]. A file accepts any event, so the problem is the file or the disk, and the
/// same events succeed after the problem is solved.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::retry(error.class(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_read_only_one_have_different_classes() {
        let error = |kind: io::ErrorKind| Error::io("write", Path::new("/x/events.jsonl"))(kind.into());
        assert_eq!(error(io::ErrorKind::StorageFull).class(), "disk full");
        assert_eq!(error(io::ErrorKind::ReadOnlyFilesystem).class(), "no permission");
        assert_eq!(error(io::ErrorKind::Other).class(), "write");
        assert!(error(io::ErrorKind::ReadOnlyFilesystem).advice().contains("file system"));
        let failure = Failure::from(error(io::ErrorKind::StorageFull)).to_string();
        assert!(failure.starts_with("cannot write /x/events.jsonl: "), "{failure}");
    }
}
