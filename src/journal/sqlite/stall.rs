//! Detects a disk that does not answer. A write or sync that hangs returns no error, so nothing else would report it.
//!
//! The writer and the sync thread note when the oldest append in their stage was queued. A separate thread, which
//! touches no file, compares the wait of that append with the deadline of a request. Past the deadline the journal is
//! not ready, and one log line says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::shared::SharedState;
use crate::journal::JournalState;

const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// When the oldest append of each stage was queued.
pub(super) struct Waiting {
    begun: Instant,
    /// For each stage, that time in milliseconds since `begun`, plus one; 0 if nothing waits.
    stages: [AtomicU64; 2],
}

/// A stage that an append passes through.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// The work of the writer thread: the transaction, the sync if this thread does it, and chores such as the deletion
    /// of old events.
    Write,
    /// The work of the sync thread.
    Sync,
}

impl Waiting {
    /// A value for an idle journal.
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), stages: [const { AtomicU64::new(0) }; 2] }
    }

    /// Records that a thread starts work whose oldest append was queued at `since`.
    pub(super) fn enter(&self, stage: Stage, since: Instant) {
        let ms = since.saturating_duration_since(self.begun).as_millis();
        self.stages[stage as usize].store(u64::try_from(ms).unwrap_or(u64::MAX - 1) + 1, Relaxed);
    }

    /// Records that the thread of this stage has finished its work.
    pub(super) fn leave(&self, stage: Stage) {
        self.stages[stage as usize].store(0, Relaxed);
    }

    /// How long the oldest append has waited; `None` if none waits.
    fn oldest(&self) -> Option<Duration> {
        let since = self.stages.iter().filter_map(|stage| stage.load(Relaxed).checked_sub(1)).min()?;
        Some(self.begun.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}

/// Starts the thread that watches for a stall. The thread ends when the returned sender is dropped.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub(super) fn spawn(
    shared: Arc<SharedState>,
    deadline: Duration,
) -> std::io::Result<(JoinHandle<()>, SyncSender<()>)> {
    let (running, ended) = sync_channel(0);
    let thread = thread::Builder::new().name("journal-stall".to_owned()).spawn(move || {
        let _watched = shared.watch("journal-stall");
        watch(&shared, deadline, &ended);
    })?;
    Ok((thread, running))
}

fn watch(shared: &SharedState, deadline: Duration, ended: &Receiver<()>) {
    // The start of the stall, and the earliest time at which it can end. Each check that finds a wait longer than
    // `deadline` sets the earliest end to the time of the check plus `deadline`.
    let mut stalled: Option<(Instant, Instant)> = None;
    while ended.recv_timeout(CHECK_INTERVAL) == Err(RecvTimeoutError::Timeout) && !shared.ended() {
        let now = Instant::now();
        let waited = shared.waiting.oldest().filter(|waited| *waited > deadline);
        match (waited, stalled) {
            (Some(waited), None) => {
                stalled = Some((now.checked_sub(waited).unwrap_or(now), now + deadline));
                tracing::error!(
                    waited_ms = ms(waited),
                    "journal's disk does not answer; a write or sync takes longer than a request may wait"
                );
            }
            (Some(_), Some((since, _))) => stalled = Some((since, now + deadline)),
            (None, Some((since, until))) if now >= until => {
                stalled = None;
                let after_ms = ms(now.saturating_duration_since(since));
                tracing::info!(after_ms, "journal's disk answers again");
            }
            (None, _) => {}
        }
        // `Full` has precedence over `Ready` and `Stalled`, until the disk has space again.
        shared.change_state(|state| match (state, stalled.is_some()) {
            (JournalState::Ready, true) => Some(JournalState::Stalled),
            (JournalState::Stalled, false) => Some(JournalState::Ready),
            _ => None,
        });
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::sqlite::shared::tests::fresh;

    #[test]
    fn the_oldest_wait_is_the_oldest_of_both_stages() {
        let waiting = Waiting::new();
        assert_eq!(waiting.oldest(), None);
        let now = Instant::now();
        waiting.enter(Stage::Sync, now);
        waiting.enter(Stage::Write, now + Duration::from_secs(100));
        assert!(waiting.oldest().is_some_and(|waited| waited < Duration::from_secs(90)));
        waiting.leave(Stage::Sync);
        assert_eq!(waiting.oldest(), Some(Duration::ZERO));
        waiting.leave(Stage::Write);
        assert_eq!(waiting.oldest(), None);
    }

    #[test]
    fn a_full_journal_that_stalls_is_full_and_then_stalled() {
        let folder = tempfile::tempdir().unwrap();
        let shared = fresh(folder.path());
        shared.change_state(|_| Some(JournalState::Full { held_by: None }));
        shared.waiting.enter(Stage::Write, Instant::now());
        let (thread, running) = spawn(Arc::clone(&shared), Duration::from_millis(1)).unwrap();
        let mut state = shared.state.subscribe();
        let until = |state: &mut tokio::sync::watch::Receiver<JournalState>, wanted: &JournalState| {
            let begun = Instant::now();
            while *state.borrow_and_update() != *wanted {
                assert!(begun.elapsed() < Duration::from_secs(60), "the state is not {wanted:?}");
                thread::sleep(Duration::from_millis(1));
            }
        };
        until(&mut state, &JournalState::Full { held_by: None });
        // There is space again, but the write still hangs.
        shared.change_state(|_| Some(JournalState::Ready));
        until(&mut state, &JournalState::Stalled);
        assert_eq!(shared.metrics.journal_ready.get(), 0);
        shared.waiting.leave(Stage::Write);
        until(&mut state, &JournalState::Ready);
        assert_eq!(shared.metrics.journal_ready.get(), 1);
        drop(running);
        thread.join().unwrap();
    }
}
