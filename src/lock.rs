//! A file lock. At most one [`Lock`] in all processes holds it at a time. The lock is a separate file beside the
//! guarded file, because the guarded file may change its name and inode, and because SQLite has locks of its own on its
//! files.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{
    file_id::FileId,
    folder::{self, with_suffix},
};

/// Path of the lock file that guards a file.
pub fn lock_of(guarded: &Path) -> PathBuf {
    with_suffix(guarded, ".lock")
}

/// A held lock. It is released when this value is dropped and whenever the process ends. The lock file is never
/// deleted. Otherwise one process could hold the deleted file while another creates and locks a new one.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another [`Lock`] of this one, holds the lock. The text is for operators: it names the lock
    /// file and, if known, the holder.
    #[error("lock file {}{by}", lock.display())]
    Held {
        /// Path of the lock file.
        lock: PathBuf,
        /// The holder according to the lock file, with a leading `, `; empty if unknown.
        by: String,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock of `guarded`, whose folder must exist.
    ///
    /// # Errors
    /// Returns [`LockError::Held`] if another process or another [`Lock`] of this process holds the lock. Returns
    /// [`LockError::Io`] for file system errors, and if the lock file is a symbolic link, because links are not
    /// followed.
    pub fn take(guarded: &Path) -> Result<Self, LockError> {
        let path = lock_of(guarded);
        let mut private = OpenOptions::new();
        private.read(true).write(true).create(true).truncate(false).mode(0o600);
        private.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let mut file = match private.open(&path) {
            Err(_) if path.is_symlink() => {
                let what = format!("{} is a symbolic link: remove it", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what).into());
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { by: holder(&mut file), lock: path });
            }
            Err(TryLockError::Error(source)) => return Err(source.into()),
        }
        // The process id is only a hint. The lock is held even if the id cannot be written because the disk is full.
        let _ = write_holder(&mut file);
        Ok(Self { path, file })
    }

    /// Takes the lock of a database. Creates the database file (0600) and its folder (0700) if they are missing. The
    /// database contains personal data, so only the owner may read it. SQLite gives the -wal and -shm files the same
    /// mode.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn take_database(path: &Path) -> Result<(Self, File), LockError> {
        folder::make(folder::of(path), 0o700)?;
        let lock = Self::take(path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok((lock, file))
    }

    /// True if the lock file is still the one at its path, where other processes look for it. False after the lock file
    /// or its folder was replaced.
    pub fn is_in_place(&self) -> bool {
        match (FileId::at(&self.path), self.file.metadata()) {
            (Ok((there, _)), Ok(ours)) => there == FileId::from(&ours),
            _ => false,
        }
    }

    /// Releases the lock before this value is dropped.
    ///
    /// # Errors
    /// Returns an error if the file cannot be unlocked.
    pub fn release(&self) -> io::Result<()> {
        self.file.unlock()
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// Reads the holder for an error message. Read errors are ignored.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    match file.read_to_string(&mut holder) {
        Ok(_) if !holder.trim().is_empty() => format!(", held by process {}", holder.trim()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_names_it_until_it_is_released() {
        let home = tempfile::tempdir().unwrap();
        let guarded = home.path().join("events.jsonl");
        let lock = Lock::take(&guarded).unwrap();
        let held = Lock::take(&guarded).unwrap_err().to_string();
        assert!(
            held.ends_with(&format!("events.jsonl.lock, held by process {}", std::process::id())),
            "{held}"
        );
        lock.release().unwrap();
        drop(Lock::take(&guarded).unwrap());
        assert!(
            Lock::take(&home.path().join("no/such")).is_err_and(|error| matches!(error, LockError::Io(_)))
        );
    }

    #[test]
    fn a_lock_file_that_is_a_link_is_refused_and_its_target_is_untouched() {
        let home = tempfile::tempdir().unwrap();
        let (victim, missing) = (home.path().join("victim"), home.path().join("missing"));
        fs::write(&victim, "precious").unwrap();
        for target in [&victim, &missing] {
            let guarded = home.path().join("x");
            std::os::unix::fs::symlink(target, lock_of(&guarded)).unwrap();
            let refused = Lock::take(&guarded).unwrap_err().to_string();
            assert!(refused.contains("x.lock is a symbolic link"), "{refused}");
            fs::remove_file(lock_of(&guarded)).unwrap();
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!missing.exists());
    }

    #[test]
    fn a_renamed_lock_file_is_not_in_place() {
        let home = tempfile::tempdir().unwrap();
        let lock = Lock::take(&home.path().join("x")).unwrap();
        assert!(lock.is_in_place());
        fs::rename(home.path().join("x.lock"), home.path().join("y.lock")).unwrap();
        assert!(!lock.is_in_place());
    }
}
