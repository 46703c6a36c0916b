//! Detects a full disk and unreadable files from errors, and probes whether writes succeed again.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rusqlite::{ErrorCode, ffi};

use crate::folder;

/// Bytes that a probe writes: more than the commit of a large request needs.
const PROBE_BYTES: usize = 8 << 20;

/// True if a write failed because the file system is full or a quota is exceeded.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// [`is_full`] for a statement on an SQLite file. SQLite reports "full" only for ENOSPC. For EDQUOT, and if the WAL
/// index (the -shm file) cannot grow, SQLite reports an I/O error. Such an error may have other causes, so a probe
/// beside the file decides.
pub fn is_full_sqlite(error: &rusqlite::Error, file: &Path) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        _ => may_be_full_sqlite(error) && probe(file).is_err_and(|error| is_full(&error)),
    }
}

/// True for SQLite errors that can mean lack of space. Some of them also have other causes.
pub fn may_be_full_sqlite(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(error, _) = error else { return false };
    error.code == ErrorCode::DiskFull
        || matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_WRITE
                | ffi::SQLITE_IOERR_SHMOPEN
                | ffi::SQLITE_IOERR_SHMSIZE
                | ffi::SQLITE_IOERR_SHMMAP
        )
}

/// True if a statement could not read a page of an SQLite file, or the page has invalid content. SQLite reports a read
/// that failed with EIO as `SQLITE_IOERR_CORRUPTFS`.
pub fn is_unreadable_sqlite(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(error, _) = error else { return false };
    error.code == ErrorCode::DatabaseCorrupt
        || matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS
        )
}

/// Writes 8 MiB to a temporary file beside `file`, and syncs it. The temporary file is deleted while it is open, before
/// the first write.
///
/// # Errors
/// Returns file system errors; [`is_full`] is true for them if there is no space.
pub fn probe(file: &Path) -> io::Result<()> {
    let path = folder::with_suffix(file, "-probe");
    folder::if_exists(fs::remove_file(&path))?;
    let mut probe = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    // After this, no other process can open the temporary file. Its space is freed even if this process dies.
    fs::remove_file(&path)?;
    let zeros = vec![0; 64 << 10];
    for _ in 0..PROBE_BYTES / zeros.len() {
        probe.write_all(&zeros)?;
    }
    probe.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_quota_are_full_and_other_errors_are_not() {
        assert!(is_full(&io::ErrorKind::StorageFull.into()) && is_full(&io::ErrorKind::QuotaExceeded.into()));
        assert!(!is_full(&io::ErrorKind::PermissionDenied.into()));
        let home = tempfile::tempdir().unwrap();
        let sqlite = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let full = |code| is_full_sqlite(&sqlite(code), &home.path().join("a.db"));
        assert!(full(ffi::SQLITE_FULL));
        // There is space beside the file.
        assert!(!full(ffi::SQLITE_IOERR_WRITE) && !full(ffi::SQLITE_IOERR_FSYNC));
    }

    #[test]
    fn failed_reads_and_corruption_are_unreadable_and_failed_writes_are_not() {
        let unreadable =
            |code| is_unreadable_sqlite(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ] {
            assert!(unreadable(code), "{code}");
        }
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
        ] {
            assert!(!unreadable(code), "{code}");
        }
    }

    #[test]
    fn a_probe_leaves_no_file() {
        let home = tempfile::tempdir().unwrap();
        probe(&home.path().join("a.db")).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
