//! The lock of a file, for one process and one place in it: a file beside it, since what it guards may change its name and
//! its inode, and SQLite has locks of its own on what is SQLite's.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{file_id::FileId, folder::with_suffix};

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

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another has it; the text is for people, and begins with what they look for: the lock file, then who holds it.
    #[error("lock file {}{by}", lock.display())]
    Held {
        /// The lock file.
        lock: PathBuf,
        /// What the lock file says of its holder, with a leading `, `.
        by: String,
    },
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock of `guarded`, whose folder must be there.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it, or another place of this one; [`LockError::Io`] also where the
    /// lock file is a symbolic link, which is not followed.
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
        // Who cannot say so, as on a full disk, has the lock all the same.
        let _ = say_who(&mut file);
        Ok(Self { path, file })
    }

    /// Whether the lock file is still the one that others would find: it is not after its folder was replaced.
    pub fn is_in_place(&self) -> bool {
        match (FileId::at(&self.path), self.file.metadata()) {
            (Ok((there, _)), Ok(ours)) => there == FileId::from(&ours),
            _ => false,
        }
    }

    /// Lets another have it, before this value is dropped.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn release(&self) -> io::Result<()> {
        self.file.unlock()
    }
}

fn say_who(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// What the lock file says, which only improves a message.
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
    fn a_lock_is_held_by_one_and_says_by_whom_until_it_is_let_go() {
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
    fn a_lock_file_that_is_a_link_is_refused_and_what_it_names_is_untouched() {
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
    fn a_lock_file_that_others_would_not_find_is_not_in_place() {
        let home = tempfile::tempdir().unwrap();
        let lock = Lock::take(&home.path().join("x")).unwrap();
        assert!(lock.is_in_place());
        fs::rename(home.path().join("x.lock"), home.path().join("y.lock")).unwrap();
        assert!(!lock.is_in_place());
    }
}
