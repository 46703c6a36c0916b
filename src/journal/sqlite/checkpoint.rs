//! Checkpoints, in a thread beside the writer: the checkpointer.
//!
//! When a checkpoint has copied the whole write-ahead log, the next commit writes from the start of the log again and
//! reuses its blocks. That matters because writing new blocks makes a sync slow. Under load, the writer adds frames
//! faster than a simultaneous checkpoint can copy them. So the checkpointer alone could not copy the whole log. It
//! copies most frames. The writer copies the few remaining frames between two groups (a group is the batches of one
//! commit), while no reader of this process reads.
//!
//! SQLite syncs the database file only when a checkpoint copies the last frame of the log. The writer copies that
//! frame and waits for the sync. To keep this wait short, the checkpointer syncs the file after each of its own copies.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, wal::CheckpointMode};
use tokio::sync::mpsc;

use super::{file::DatabaseFile, op::WriterOp, shared::SharedState};
use crate::disk;

/// A checkpoint starts when the log has this many frames of 4 KiB.
const START_FRAMES: u32 = 2_000;
/// [`Copier::copy`] makes another pass over the log if more frames than this are left for the writer to copy.
const LITTLE_FRAMES: i64 = 100;
/// Maximum number of passes of one [`Copier::copy`].
const PASSES: u32 = 3;
/// Limit of the log: 256 MiB of pages. If the log has more frames than this, intake waits until all are copied.
pub(super) const MAX_FRAMES: u32 = 65_536;
const PACE: Duration = Duration::from_millis(10);
/// The thread sends a [`WriterOp::Tick`] every 25 rounds of its loop, which is every 250 ms.
const ROUNDS_PER_TICK: u32 = 25;

/// Delay after a copy that failed for lack of space.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Copies the log into the database file.
pub(super) struct Copier {
    /// A connection for checkpoints only.
    pub connection: Connection,
    pub shared: Arc<SharedState>,
    /// Holds the file lock. Fields are dropped in order, so the lock outlives the connection.
    pub file: Arc<DatabaseFile>,
}

/// Starts the thread of the checkpointer. The thread runs `copy` when the log is long enough, and regularly sends
/// [`WriterOp::Tick`] to the writer. It ends when the journal has failed or the writer has ended.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub(super) fn spawn(
    shared: Arc<SharedState>,
    ops: mpsc::WeakSender<WriterOp>,
    mut copy: impl FnMut() -> CopyOutcome + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("journal-checkpoint".to_owned()).spawn(move || {
        // If this thread panics, the journal must fail, because without checkpoints the log would grow to its limit and
        // stop intake.
        let _watched = shared.watch("journal-checkpoint");
        let mut round = 0_u32;
        let mut not_before = None;
        loop {
            thread::sleep(PACE);
            if shared.ended() {
                return;
            }
            round = round.wrapping_add(1);
            if round.is_multiple_of(ROUNDS_PER_TICK) {
                let Some(ops) = ops.upgrade() else { return };
                // A tick only wakes the writer. If the queue is full, the writer is awake anyway.
                drop(ops.try_send(WriterOp::Tick));
            }
            let due = not_before.is_none_or(|time| time <= Instant::now());
            if due && shared.wal_frames.load(Relaxed) >= START_FRAMES && !shared.reset_wanted.load(Acquire) {
                not_before = match copy() {
                    CopyOutcome::Nearly => None,
                    CopyOutcome::NoRoom => Some(Instant::now() + FULL_PAUSE),
                };
            }
        }
    })
}

/// The result of a copy.
pub(super) enum CopyOutcome {
    /// The copy ended, but not for lack of space. In nearly all cases, few frames are left.
    Nearly,
    /// The database file cannot grow for lack of space.
    NoRoom,
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.shared.before_close(&self.connection);
    }
}

impl Copier {
    /// Copies the log in at most [`PASSES`] passes. Each further pass copies the frames that came meanwhile. The copy
    /// ends earlier if only a few frames are left to the writer.
    pub(super) fn copy(&self) -> CopyOutcome {
        let shared = &self.shared;
        for _ in 0..PASSES {
            // A truncated log must not be copied. The next commit is written after the missing part, which then reads
            // as zeros, and SQLite would copy these zeros into the database.
            if !shared.is_intact() {
                return CopyOutcome::Nearly;
            }
            let copied = match self.connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
                Ok((_, copied)) => copied,
                // The thread calls `copy` again in its next round.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    return CopyOutcome::Nearly;
                }
                Err(error) if disk::is_full_sqlite(&error, self.file.path()) => return CopyOutcome::NoRoom,
                Err(error) => {
                    shared.fail(&format!("checkpoint: {error}"));
                    return CopyOutcome::Nearly;
                }
            };
            if let Err(error) = self.file.sync() {
                shared.fail(&format!("checkpoint: {error}"));
                return CopyOutcome::Nearly;
            }
            let left = i64::from(shared.wal_frames.load(Relaxed)) - i64::from(copied);
            if left <= LITTLE_FRAMES {
                break;
            }
        }
        shared.reset_wanted.store(true, Release);
        CopyOutcome::Nearly
    }
}

/// Copies the last frames, so that the next commit resets the log. The writer calls this between two groups. Returns
/// `false` if the database is busy, or if another connection is in the way: a reader outside this process, or the
/// checkpointer while it copies.
///
/// # Errors
/// Returns every SQLite error except [`ErrorCode::DatabaseBusy`]. Each returned error fails the journal, unless the
/// disk is full.
pub(super) fn finish(connection: &Connection, shared: &SharedState) -> rusqlite::Result<bool> {
    let _alone = shared.pages.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
        Ok((frames, copied)) => {
            let done = frames == copied;
            if done {
                shared.wal_frames.store(0, Relaxed);
            }
            shared.reset_wanted.store(false, Release);
            Ok(done)
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{JournalState, sqlite::shared::tests::fresh};

    #[test]
    fn a_panic_of_the_checkpoint_thread_fails_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let shared = fresh(folder.path());
        shared.wal_frames.store(START_FRAMES, Relaxed);
        let (ops, _queue) = mpsc::channel(1);
        let thread = spawn(Arc::clone(&shared), ops.downgrade(), || panic!("test panic")).unwrap();
        assert!(thread.join().is_err());
        assert!(matches!(&*shared.state.borrow(), JournalState::Failed(_)));
    }

    #[test]
    fn a_copy_without_room_is_retried_after_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let shared = fresh(folder.path());
        shared.wal_frames.store(START_FRAMES, Relaxed);
        let (ops, _queue) = mpsc::channel(1);
        let mut tries = Vec::new();
        let closing = Arc::clone(&shared);
        let thread = spawn(shared, ops.downgrade(), move || {
            tries.push(Instant::now());
            if let [first, second] = tries[..] {
                closing.close();
                assert!(second - first >= FULL_PAUSE);
            }
            CopyOutcome::NoRoom
        });
        thread.unwrap().join().unwrap();
    }
}
