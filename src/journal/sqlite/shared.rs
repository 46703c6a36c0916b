//! What the writer tells everybody else.

use std::sync::{
    Arc, OnceLock, RwLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use rusqlite::{Connection, config::DbConfig};
use tokio::sync::watch;

use super::{
    presence::{Presence, Tampered},
    recent::Recent,
    stall::Waiting,
};
use crate::{
    journal::{Pauses, Replays, State},
    metrics::Metrics,
};

/// What is true of a failure that takes nothing away.
pub const NOTHING_LOST: &str = "nothing that got a 200 is lost, and a restart goes on from there";

/// Shared by the writer, the checkpointer and the readers.
pub struct Shared {
    /// The newest events.
    pub recent: Recent,
    /// The highest durable seq.
    pub tip: watch::Sender<u64>,
    /// Whether it can store.
    pub state: watch::Sender<State>,
    /// Bumped whenever dead letters are to be delivered again.
    pub retries: watch::Sender<u64>,
    /// The handlers that are paused.
    pub paused: watch::Sender<Pauses>,
    /// The replays at work, and the last that ended.
    pub replays: watch::Sender<Replays>,
    /// Everything below this seq was taken by retention.
    pub low: AtomicU64,
    /// Keys in the directory.
    pub keys: AtomicU64,
    /// When the oldest key in the directory was received, ms; `i64::MAX` without one.
    pub oldest_key_ms: AtomicI64,
    /// Frames in the write-ahead log since it was last reset.
    pub wal_frames: AtomicU32,
    /// The checkpointer has copied nearly all: the writer may finish between two groups.
    pub reset_wanted: AtomicBool,
    /// Held by a reader for one page; the writer takes it alone to reset the log.
    pub pages: RwLock<()>,
    /// Since when the oldest append waits.
    pub waiting: Waiting,
    /// The files as they were opened.
    pub presence: Presence,
    /// What somebody did to them.
    pub tampering: OnceLock<Tampered>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

impl Shared {
    /// A write, sync or checkpoint failed: nothing can be assumed any more. The first failure is the one to tell.
    /// Where somebody changed the files, that is why.
    pub fn fail(&self, what: &str) {
        match self.presence.check(self.wal_frames.load(Relaxed)) {
            Ok(()) => self.end(&format!("{what}; {NOTHING_LOST}")),
            Err(tampered) => self.tampered(tampered),
        }
    }

    /// Somebody else changed the files under it: what may be lost, the error says.
    pub fn tampered(&self, what: Tampered) {
        self.end(&what.to_string());
        // The first is the one that was told.
        drop(self.tampering.set(what));
    }

    /// Whether the files are as they were left; else it has failed.
    pub fn is_intact(&self) -> bool {
        let checked = self.presence.check(self.wal_frames.load(Relaxed));
        checked.map_err(|what| self.tampered(what)).is_ok()
    }

    fn end(&self, what: &str) {
        let failed = self.turn(|_| Some(State::Failed(what.into())));
        if failed {
            tracing::error!(error = what, "the journal failed; the process must end");
        }
    }

    /// Before a connection is closed: SQLite copies the log into the database when the last one is, and what is left of a log
    /// that was cut must not be.
    pub fn before_close(&self, connection: &Connection) {
        if !matches!(self.tampering.get(), Some(Tampered::LogCut(_) | Tampered::DatabaseCut(_))) {
            return;
        }
        if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::warn!(%error, "what is left of the log may be copied into the database");
        }
    }

    /// Goes over to what `next` makes of the state, if anything; whether it did. A failure and an end are final.
    pub fn turn(&self, next: impl FnOnce(&State) -> Option<State>) -> bool {
        self.state.send_if_modified(|state| {
            let next = match state {
                State::Failed(_) | State::Closed => None,
                State::Ready | State::Stalled | State::Full { .. } => {
                    next(state).filter(|next| next != state)
                }
            };
            let turned = next.is_some();
            if let Some(next) = next {
                self.metrics.journal_ready.set(i64::from(next == State::Ready));
                *state = next;
            }
            turned
        })
    }

    /// Closed in good order, unless it has failed.
    pub fn close(&self) {
        self.turn(|_| Some(State::Closed));
    }

    /// Whether it will store nothing more.
    pub fn ended(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_) | State::Closed)
    }

    /// Whether it failed.
    pub fn failed(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_))
    }

    /// A thread that panics while it holds this leaves a failed journal, not one that seems to run and answers nobody.
    pub const fn watch(&self, thread: &'static str) -> Watched<'_> {
        Watched { shared: self, thread }
    }
}

/// See [`Shared::watch`].
pub struct Watched<'a> {
    shared: &'a Shared,
    thread: &'static str,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(&format!("the thread that {} panicked", self.thread));
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{journal::sqlite::file::DatabaseFile, metrics::Metrics};

    /// Of an empty journal in this folder.
    pub fn fresh(folder: &std::path::Path) -> Arc<Shared> {
        let file = Arc::new(DatabaseFile::lock(&folder.join("journal.db")).unwrap());
        let writer = file.writer().unwrap();
        let presence = Presence::new(file, 4_096).unwrap();
        drop(writer);
        Arc::new(Shared {
            recent: Recent::default(),
            tip: watch::Sender::new(0),
            state: watch::Sender::new(State::Ready),
            retries: watch::Sender::new(0),
            paused: watch::Sender::default(),
            replays: watch::Sender::default(),
            low: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            oldest_key_ms: AtomicI64::new(0),
            wal_frames: AtomicU32::new(0),
            reset_wanted: AtomicBool::new(false),
            pages: RwLock::new(()),
            waiting: Waiting::new(),
            presence,
            tampering: OnceLock::new(),
            metrics: Metrics::new(),
        })
    }
}
