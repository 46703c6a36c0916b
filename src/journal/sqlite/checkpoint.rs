//! Checkpoints beside the writer.
//!
//! A log that is fully copied is started over by the next commit, so its blocks are reused: writing new blocks is what
//! makes a sync slow. A writer under load is always ahead of a checkpoint beside it. So the checkpointer copies what is
//! there, and the writer finishes the few frames that came since between two of its groups, while no reader holds a page.
//!
//! SQLite syncs the file only with the last frame, so the writer would wait for all that the checkpointer has written.
//! The checkpointer syncs it beside, too.

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

use super::{file::DatabaseFile, op::Op, shared::Shared};
use crate::disk;

/// A checkpoint starts when the log has as many frames (of 4 KiB).
const START_FRAMES: u32 = 2_000;
/// What the writer may be left with, and how often it is tried to leave it as little.
const LITTLE_FRAMES: i64 = 100;
const PASSES: u32 = 3;
/// The log is never longer than this: 256 MiB.
pub const MAX_FRAMES: u32 = 65_536;
const PACE: Duration = Duration::from_millis(10);
/// A tick every 25 rounds: a quarter of a second.
const ROUNDS_PER_TICK: u32 = 25;

/// After a copy that the disk had no room for.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Copies the log into the file.
pub struct Copier {
    /// A connection of its own.
    pub connection: Connection,
    /// Whom to tell.
    pub shared: Arc<Shared>,
    /// Its lock outlives the connection: fields are dropped in order.
    pub file: Arc<DatabaseFile>,
}

/// The thread that has the log copied into the file, and tells the writer the time. Ends when the writer has ended.
///
/// # Errors
/// Those of starting a thread.
pub fn spawn(
    shared: Arc<Shared>,
    ops: mpsc::WeakSender<Op>,
    mut copy: impl FnMut() -> Copied + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("journal-checkpoint".to_owned()).spawn(move || {
        // Without it the log would grow to its bound, and intake stop there.
        let _watched = shared.watch("copies its log");
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
                // A queue that is full wakes the writer all the same.
                drop(ops.try_send(Op::Tick));
            }
            let due = not_before.is_none_or(|time| time <= Instant::now());
            if due && shared.wal_frames.load(Relaxed) >= START_FRAMES && !shared.reset_wanted.load(Acquire) {
                not_before = match copy() {
                    Copied::Nearly => None,
                    Copied::NoRoom => Some(Instant::now() + FULL_PAUSE),
                };
            }
        }
    })
}

/// How far a copy got.
pub enum Copied {
    /// Little is left, or somebody is in the way, or the journal has failed.
    Nearly,
    /// The disk has no room for more of the file.
    NoRoom,
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.shared.before_close(&self.connection);
    }
}

impl Copier {
    /// Copies what is in the log, and again what came meanwhile, until little is left for the writer.
    pub fn copy(&self) -> Copied {
        let shared = &self.shared;
        for _ in 0..PASSES {
            // A log that was cut has zeros where pages were, and SQLite would copy them.
            if !shared.is_intact() {
                return Copied::Nearly;
            }
            let copied = match self.connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
                Ok((_, copied)) => copied,
                // Tried again soon.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    return Copied::Nearly;
                }
                Err(error) if disk::is_full_sqlite(&error, self.file.path()) => return Copied::NoRoom,
                Err(error) => {
                    shared.fail(&format!("checkpoint: {error}"));
                    return Copied::Nearly;
                }
            };
            if let Err(error) = self.file.sync() {
                shared.fail(&format!("checkpoint: {error}"));
                return Copied::Nearly;
            }
            let left = i64::from(shared.wal_frames.load(Relaxed)) - i64::from(copied);
            if left <= LITTLE_FRAMES {
                break;
            }
        }
        shared.reset_wanted.store(true, Release);
        Copied::Nearly
    }
}

/// Copies the last frames; the next commit starts the log over. Called by the writer, between two groups. `false` where
/// somebody else's reader is in the way.
///
/// # Errors
/// Whatever SQLite says; sticky, unless busy or full.
pub fn finish(connection: &Connection, shared: &Shared) -> rusqlite::Result<bool> {
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
    use crate::journal::{State, sqlite::shared::tests::fresh};

    #[test]
    fn a_panic_in_the_thread_of_checkpoints_is_a_failed_journal() {
        let folder = tempfile::tempdir().unwrap();
        let shared = fresh(folder.path());
        shared.wal_frames.store(START_FRAMES, Relaxed);
        let (ops, _queue) = mpsc::channel(1);
        let thread = spawn(Arc::clone(&shared), ops.downgrade(), || panic!("a fault of ours")).unwrap();
        assert!(thread.join().is_err());
        assert!(matches!(&*shared.state.borrow(), State::Failed(_)));
    }

    #[test]
    fn a_copy_without_room_is_tried_again_and_not_at_once() {
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
            Copied::NoRoom
        });
        thread.unwrap().join().unwrap();
    }
}
