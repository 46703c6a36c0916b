//! State that the writer shares with the other threads.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use rusqlite::{Connection, config::DbConfig};
use tokio::sync::watch;

use super::{
    presence::{Presence, Tampering},
    recent::Recent,
    restored::RestoredState,
    stall::Waiting,
};
use crate::{
    clock::Timestamp,
    journal::{JournalState, Pauses, Replays},
    metrics::Metrics,
};

/// The part of an error text that says that a failure lost no accepted event.
pub(crate) const NOTHING_LOST: &str = "nothing that got a 200 is lost, and a restart continues from there";

/// State shared by the threads of the journal and its readers.
pub(super) struct SharedState {
    /// The newest events, in memory.
    pub recent: Recent,
    /// The highest durable seq.
    pub tip: watch::Sender<u64>,
    /// Whether the journal can store events.
    pub state: watch::Sender<JournalState>,
    /// Increases whenever dead letters are marked for retry.
    pub retries: watch::Sender<u64>,
    /// The paused handlers, by name.
    pub paused: watch::Sender<Pauses>,
    /// The replays that have not ended, and those that ended most recently.
    pub replays: watch::Sender<Replays>,
    /// Retention has deleted every event below this seq.
    pub low: AtomicU64,
    /// Number of keys in the key directory (module `directory`).
    pub keys: AtomicU64,
    /// When the oldest key in the key directory was received, in ms since the Unix epoch; `i64::MAX` if it has no key.
    pub oldest_key_ms: AtomicI64,
    /// Frames in the write-ahead log since it was last reset.
    pub wal_frames: AtomicU32,
    /// True after the checkpointer has copied nearly all of the log into the database, or as much as it could. Then the
    /// writer copies the rest between two commits, so that the next commit resets the log.
    pub reset_wanted: AtomicBool,
    /// A reader holds this lock shared during one page, which is one read transaction. The writer locks it exclusively
    /// to reset the log.
    pub pages: RwLock<()>,
    /// Idle connections that read pages.
    pub readers: Mutex<Vec<Connection>>,
    /// For each stage of an append: when the oldest append in that stage was queued.
    pub waiting: Waiting,
    /// The identity of the journal's files as they were opened.
    pub presence: Presence,
    /// The first detected change of the files by something other than this process.
    pub tampering: OnceLock<Tampering>,
    pub metrics: Arc<Metrics>,
}

impl SharedState {
    /// The state of a journal that has just been opened.
    pub(super) fn new(presence: Presence, metrics: Arc<Metrics>, restored: &RestoredState) -> Self {
        let shared = Self {
            recent: Recent::default(),
            tip: watch::Sender::new(restored.tip),
            state: watch::Sender::new(JournalState::Ready),
            retries: watch::Sender::new(0),
            paused: watch::Sender::new(Arc::clone(&restored.paused)),
            replays: watch::Sender::new(Arc::clone(&restored.replays)),
            low: AtomicU64::new(restored.low),
            keys: AtomicU64::new(restored.directory.len()),
            oldest_key_ms: AtomicI64::new(i64::MAX),
            wal_frames: AtomicU32::new(0),
            reset_wanted: AtomicBool::new(false),
            pages: RwLock::new(()),
            readers: Mutex::default(),
            waiting: Waiting::new(),
            presence,
            tampering: OnceLock::new(),
            metrics,
        };
        shared.note_oldest_key(restored.oldest_key);
        shared
    }

    /// Notes when the oldest key in the key directory was received; `None` if it has no key.
    pub(super) fn note_oldest_key(&self, at: Option<Timestamp>) {
        self.oldest_key_ms.store(at.map_or(i64::MAX, Timestamp::as_ms), Relaxed);
    }

    /// Fails the journal, for example after a failed write, sync or checkpoint. Only the first failure is reported. If
    /// something other than this process changed the files, the error text names that change as the reason.
    pub(super) fn fail(&self, what: &str) {
        match self.presence.check(self.wal_frames.load(Relaxed)) {
            Ok(()) => self.end(&format!("{what}; {NOTHING_LOST}")),
            Err(tampered) => self.tampered(tampered),
        }
    }

    /// Fails the journal because another program changed its files. The error text says which data may be lost.
    pub(super) fn tampered(&self, what: Tampering) {
        self.end(&what.to_string());
        // Ignore later changes, because the first one is already reported.
        drop(self.tampering.set(what));
    }

    /// Checks the files. If another program changed them, fails the journal and returns false.
    pub(super) fn is_intact(&self) -> bool {
        let checked = self.presence.check(self.wal_frames.load(Relaxed));
        checked.map_err(|what| self.tampered(what)).is_ok()
    }

    /// Bytes written to the write-ahead log since it was last reset; 0 without a frame.
    pub(super) fn wal_bytes(&self) -> u64 {
        match self.wal_frames.load(Relaxed) {
            0 => 0,
            frames => self.presence.end_of(frames),
        }
    }

    fn end(&self, what: &str) {
        let failed = self.change_state(|_| Some(JournalState::Failed(what.into())));
        if failed {
            tracing::error!(error = what, "journal failed; the process ends");
        }
    }

    /// Must be called before a connection is closed. When the last connection closes, SQLite copies the log into the
    /// database, and that must not happen after the log or the database was cut short.
    pub(super) fn before_close(&self, connection: &Connection) {
        if !matches!(self.tampering.get(), Some(Tampering::LogCut(_) | Tampering::DatabaseCut(_))) {
            return;
        }
        if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::warn!(
                %error,
                "damaged write-ahead log may be copied into the database: the copy at close could not be turned off"
            );
        }
    }

    /// Changes the state to the result of `next`, if there is one. Returns whether the state changed. `Failed` and
    /// `Closed` are final.
    pub(super) fn change_state(&self, next: impl FnOnce(&JournalState) -> Option<JournalState>) -> bool {
        self.state.send_if_modified(|state| {
            if matches!(state, JournalState::Failed(_) | JournalState::Closed) {
                return false;
            }
            let Some(next) = next(state).filter(|next| next != state) else { return false };
            self.metrics.journal_ready.set(i64::from(next == JournalState::Ready));
            *state = next;
            true
        })
    }

    /// Changes the state to `Closed`, unless the journal has failed. Then waits until no page is being read, and closes
    /// the connections that read pages. Must be called before the connection of the writer is closed, because SQLite
    /// empties the log only if the connection that is closed last is not read-only.
    pub(super) fn close(&self) {
        self.change_state(|_| Some(JournalState::Closed));
        let _no_page = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// True if the journal has failed or is closed.
    pub(super) fn ended(&self) -> bool {
        matches!(*self.state.borrow(), JournalState::Failed(_) | JournalState::Closed)
    }

    /// True if the journal has failed.
    pub(super) fn failed(&self) -> bool {
        matches!(*self.state.borrow(), JournalState::Failed(_))
    }

    /// Returns a guard that fails the journal if its thread panics. Without the guard, the journal would then appear to
    /// run but answer no request.
    pub(super) const fn watch(&self, thread: &'static str) -> PanicGuard<'_> {
        PanicGuard { shared: self, thread }
    }
}

/// The guard of [`SharedState::watch`].
pub(super) struct PanicGuard<'a> {
    shared: &'a SharedState,
    thread: &'static str,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(&format!("thread {} panicked", self.thread));
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{journal::sqlite::file::DatabaseFile, metrics::Metrics};

    /// The shared state of an empty journal in this folder.
    pub fn fresh(folder: &std::path::Path) -> Arc<SharedState> {
        let file = Arc::new(DatabaseFile::lock(&folder.join("journal.db")).unwrap());
        let writer = file.writer().unwrap();
        let presence = Presence::new(file, 4_096).unwrap();
        Arc::new(SharedState::new(presence, Metrics::new(), &RestoredState::read(&writer).unwrap()))
    }

    #[test]
    fn the_size_of_the_log_counts_its_headers() {
        let folder = tempfile::tempdir().unwrap();
        let shared = fresh(folder.path());
        for (frames, bytes) in [(0, 0), (1, 32 + 24 + 4_096), (10, 32 + 10 * (24 + 4_096))] {
            shared.wal_frames.store(frames, Relaxed);
            assert_eq!(shared.wal_bytes(), bytes);
        }
    }
}
