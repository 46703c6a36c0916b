//! One writer per file: a lock file beside it, because the file itself changes its name and its inode.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::error::Error;
use crate::folder::with_suffix;

/// The lock file of a file.
pub fn lock_of(guarded: &Path) -> PathBuf {
    with_suffix(guarded, ".lock")
}

/// The lock of a file. Released when dropped, or when the process ends in whatever way; the lock file stays, since
/// deleting it would let two processes lock two of them.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock of `guarded`.
    ///
    /// # Errors
    /// [`Error::InUse`] where another handler or process has it.
    pub fn take(guarded: &Path) -> Result<Self, Error> {
        let path = lock_of(guarded);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, file }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: guarded.to_owned(), lock: path }),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }

    /// Whether the lock file is still the one that others would find: it is not after its directory was replaced.
    pub fn is_in_place(&self) -> bool {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        }
    }
}
