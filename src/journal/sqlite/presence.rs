//! Checks that the files at the journal's path are still the open ones and contain all that was written to them.
//!
//! Writes and syncs succeed even on a file that another program deleted, replaced or cut short. Therefore the paths are
//! checked before each answer with status 200 (three calls of `statx`), and the write-ahead log is checked after each
//! commit. If the log was cut short, SQLite does not notice: it writes the next frames where the log ended before, and
//! the gap is filled with zeros. Each frame repeats the salts of the log's header; zeros do not. So the salts of two
//! frames are compared with the header: the last frame before the commit, and the last frame of the commit.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{file::DatabaseFile, shared::NOTHING_LOST};
use crate::{file_id::FileId, folder::with_suffix};

/// Sizes of the header of the log, and of each frame's header (<https://sqlite.org/walformat.html>).
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The identity of the files as they were opened.
pub(super) struct Presence {
    file: Arc<DatabaseFile>,
    /// For reading frames. When a process closes a file, it loses its POSIX locks on that file. But SQLite has no locks
    /// on the log, so none is lost when this is closed.
    log: File,
    page_bytes: u64,
    database: OpenedFile,
    wal: OpenedFile,
    index: OpenedFile,
    /// The largest size seen so far. The database never shrinks.
    database_bytes: AtomicU64,
}

/// A path, and the identity of the file opened there.
struct OpenedFile {
    path: PathBuf,
    id: FileId,
}

/// A change of the files by something other than this process. The error text says which data may be lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum Tampering {
    /// The database was deleted, moved or replaced.
    #[error(
        "{} was deleted, moved or replaced while it was open; its events are lost unless you put that file back or \
         restore a backup: a start without it creates an empty journal", _0.display()
    )]
    DatabaseGone(PathBuf),
    /// The database was cut short.
    #[error(
        "{} was truncated or overwritten while it was open; events that got a 200 may be lost: check it with \
         `PRAGMA integrity_check`, or restore a backup", _0.display()
    )]
    DatabaseCut(PathBuf),
    /// The log was deleted, moved or replaced.
    #[error(
        "{} was deleted, moved or replaced while it was open; events that got a 200 since the last checkpoint may be lost",
        _0.display()
    )]
    LogGone(PathBuf),
    /// The log was cut short or overwritten.
    #[error(
        "{} was truncated or overwritten while it was open; events that got a 200 since the last checkpoint may be lost: \
         check the database with `PRAGMA integrity_check`, or restore a backup", _0.display()
    )]
    LogCut(PathBuf),
    /// The `-shm` index of the log was deleted, moved or replaced.
    #[error("{} was deleted, moved or replaced while it was open; {}", _0.display(), NOTHING_LOST)]
    IndexGone(PathBuf),
    /// The lock file was deleted, moved or replaced.
    #[error(
        "the journal's lock file was deleted, moved or replaced, so another process may have opened the journal too; {}",
        NOTHING_LOST
    )]
    LockGone,
}

impl Presence {
    /// Records the files of a journal whose writing connection is open. `page_bytes` is the size of a database page.
    ///
    /// # Errors
    /// Returns an error if one of the files cannot be opened or examined.
    pub(super) fn new(file: Arc<DatabaseFile>, page_bytes: u64) -> io::Result<Self> {
        let path = file.path();
        let [database, wal, index] = [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")]
            .map(|path| FileId::at(&path).map(|(id, _bytes)| OpenedFile { path, id }));
        Ok(Self {
            log: file.log()?,
            page_bytes,
            database: database?,
            wal: wal?,
            index: index?,
            database_bytes: AtomicU64::new(0),
            file,
        })
    }

    /// Checks the files at their paths. `frames` is the number of frames in the log.
    ///
    /// # Errors
    /// Returns [`Tampering`] if another program changed them.
    pub(super) fn check(&self, frames: u32) -> Result<(), Tampering> {
        let missing = |kind: fn(PathBuf) -> Tampering, opened: &OpenedFile| kind(opened.path.clone());
        let bytes = self.database.bytes().ok_or_else(|| missing(Tampering::DatabaseGone, &self.database))?;
        if self.database_bytes.fetch_max(bytes, Relaxed) > bytes {
            return Err(Tampering::DatabaseCut(self.database.path.clone()));
        }
        let bytes = self.wal.bytes().ok_or_else(|| missing(Tampering::LogGone, &self.wal))?;
        if frames > 0 && bytes < self.end_of(frames) && !self.was_started_over(frames) {
            return Err(Tampering::LogCut(self.wal.path.clone()));
        }
        self.index.bytes().ok_or_else(|| missing(Tampering::IndexGone, &self.index))?;
        Ok(())
    }

    /// Checks the log after a commit: it had `before` frames and now has `after`.
    ///
    /// # Errors
    /// Returns [`Tampering::LogCut`] if a frame is missing.
    pub(super) fn check_log(&self, before: u32, after: u32) -> Result<(), Tampering> {
        // After a reset, the log has new frames at its start, up to `after`. They are followed by old frames with other
        // salts. So frame `before` is checked only if it is below `after`.
        let last_before = Some(before).filter(|before| (1..after).contains(before));
        if after == 0
            || self.has_frames(last_before.into_iter().chain([after]))
            || self.was_started_over(after)
        {
            return Ok(());
        }
        Err(Tampering::LogCut(self.wal.path.clone()))
    }

    /// Checks that no other process could take the lock.
    ///
    /// # Errors
    /// Returns [`Tampering::LockGone`] if the lock file is no longer in place.
    pub(super) fn check_lock(&self) -> Result<(), Tampering> {
        if self.file.is_lock_in_place() { Ok(()) } else { Err(Tampering::LockGone) }
    }

    fn has_frames(&self, mut frames: impl Iterator<Item = u32>) -> bool {
        let mut header = [0; HEADER_BYTES];
        let read = self.log.read_exact_at(&mut header, 0);
        let (_, salts) = header.split_at(16);
        let is_frame = |frame: u32| {
            let mut head = [0; FRAME_HEADER_BYTES];
            let read = self.log.read_exact_at(&mut head, self.end_of(frame - 1));
            let (page, rest) = head.split_at(4);
            read.is_ok() && page != [0; 4] && rest[4..12] == salts[..8]
        };
        read.is_ok() && frames.all(is_frame)
    }

    /// True if SQLite counts fewer than `frames` frames. Then a checkpoint of another process has emptied the log.
    fn was_started_over(&self, frames: u32) -> bool {
        let known = self.file.checkpointer().ok().and_then(|connection| {
            let noop =
                connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>("log"));
            noop.ok()
        });
        known.is_some_and(|known| (0..i64::from(frames)).contains(&known))
    }

    /// The size in bytes of a log with this many frames: the log's header, and each frame with its header.
    pub(super) const fn end_of(&self, frames: u32) -> u64 {
        HEADER_BYTES as u64 + frames as u64 * (FRAME_HEADER_BYTES as u64 + self.page_bytes)
    }
}

impl OpenedFile {
    /// The size in bytes; `None` if the path no longer leads to the opened file.
    fn bytes(&self) -> Option<u64> {
        FileId::at(&self.path).ok().filter(|(id, _)| *id == self.id).map(|(_, bytes)| bytes)
    }
}
