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
    time::Duration,
};

use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, wal::CheckpointMode};
use tokio::sync::mpsc;

use super::{file::DatabaseFile, op::Op, shared::Shared};

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

/// The thread that copies the log into the file, and tells the writer the time. Ends when the writer has ended.
pub fn spawn(
    connection: Connection,
    shared: Arc<Shared>,
    ops: mpsc::WeakSender<Op>,
    file: Arc<DatabaseFile>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("journal-checkpoint".to_owned()).spawn(move || {
        let mut round = 0_u32;
        // The lock outlives the connection.
        let file = file;
        let connection = connection;
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
            if shared.wal_frames.load(Relaxed) >= START_FRAMES && !shared.reset_wanted.load(Acquire) {
                copy(&connection, &shared, &file);
            }
        }
    })
}

/// Copies what is in the log, and again what came meanwhile, until little is left for the writer.
fn copy(connection: &Connection, shared: &Shared, file: &DatabaseFile) {
    for _ in 0..PASSES {
        let copied = match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
            Ok((_, copied)) => copied,
            Err(error) => match error.sqlite_error_code() {
                // Tried again soon.
                Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull) => return,
                _ => return shared.fail(&format!("checkpoint: {error}")),
            },
        };
        if let Err(error) = file.sync() {
            return shared.fail(&format!("checkpoint: {error}"));
        }
        let left = i64::from(shared.wal_frames.load(Relaxed)) - i64::from(copied);
        if left <= LITTLE_FRAMES {
            break;
        }
    }
    shared.reset_wanted.store(true, Release);
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
