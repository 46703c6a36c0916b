//! What the writer tells everybody else.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64},
};

use tokio::sync::watch;

use super::recent::Recent;
use crate::{
    journal::{Pauses, Replays, State},
    metrics::Metrics,
};

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
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

impl Shared {
    /// A write, sync or checkpoint failed: nothing can be assumed any more. The first failure is the one to tell.
    pub fn fail(&self, what: &str) {
        self.metrics.journal_ready.set(0);
        self.state.send_if_modified(|state| {
            let first = !matches!(state, State::Failed(_));
            if first {
                tracing::error!(error = what, "the journal failed; the process must end");
                *state = State::Failed(what.into());
            }
            first
        });
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
    pub const fn watch(&self) -> Watched<'_> {
        Watched(self)
    }
}

/// See [`Shared::watch`].
pub struct Watched<'a>(&'a Shared);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("its thread panicked");
        }
    }
}
