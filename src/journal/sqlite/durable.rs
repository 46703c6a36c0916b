//! Makes commits durable. After that, the lanes see the events, and the callers get their answers.
//!
//! A commit writes a group of operations to the log but does not sync the log. The sync happens here. Normally the
//! writer thread itself syncs. It accepts nothing during the sync, so operations that arrive meanwhile form its next
//! group. A new group goes to the sync thread instead if that thread is still busy with an earlier group, or if more
//! operations are queued than one group takes. While the sync thread syncs, the writer builds the next group. Groups
//! are answered in the order of their commits.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    op::{Append, JournalChange, ReplySender},
    shared::SharedState,
    stall::Stage,
};
use crate::{
    event::Event,
    journal::{AppendError, AppendReceipt, Error, Replays},
};

/// A committed group: its events and the callers that wait for it.
pub(super) struct CommittedGroup {
    /// When the writer started the group.
    pub began: Instant,
    /// The highest seq so far.
    pub tip: u64,
    /// Number of frames in the log, including those of this group.
    pub frames: u32,
    /// The new events, in order of seq.
    pub events: Vec<Arc<Event>>,
    /// All replays; `None` if they did not change.
    pub replays: Option<Replays>,
    pub appends: Vec<(Append, AppendReceipt)>,
    /// The other changes, each with its reply channel and the ids of the rows that it changed.
    pub changes: Vec<(QueuedChange, Vec<i64>)>,
}

/// A change, with the channel that returns the ids of the rows that it changed.
pub(super) type QueuedChange = (JournalChange, ReplySender<Vec<i64>>);

/// Makes groups durable, in the order in which they are passed in.
pub(super) struct Durable {
    log: Arc<LogFile>,
    /// Number of groups passed to the thread and not yet answered.
    under_way: Arc<AtomicUsize>,
    queue: Option<SyncSender<CommittedGroup>>,
    thread: Option<JoinHandle<()>>,
}

/// The file of the write-ahead log, with the shared state.
struct LogFile {
    file: File,
    shared: Arc<SharedState>,
}

impl Durable {
    /// Starts the sync thread for the log in `file`.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub(super) fn new(file: File, shared: Arc<SharedState>) -> std::io::Result<Self> {
        let log = Arc::new(LogFile { file, shared });
        let under_way = Arc::new(AtomicUsize::new(0));
        // Capacity 1: while the thread syncs, one group waits in the queue and the writer builds the next one. The
        // thread's next sync covers every group that it can receive without waiting.
        let (queue, groups) = sync_channel(1);
        let thread = {
            let (log, under_way) = (Arc::clone(&log), Arc::clone(&under_way));
            thread::Builder::new().name("journal-sync".to_owned()).spawn(move || {
                let _watched = log.shared.watch("journal-sync");
                work(&log, &under_way, &groups);
            })?
        };
        Ok(Self { log, under_way, queue: Some(queue), thread: Some(thread) })
    }

    /// Makes a group durable and answers its callers. The sync thread does the work if it still has other groups, or if
    /// `more` says that more operations are queued. Otherwise this call does the work.
    pub(super) fn make(&self, group: CommittedGroup, more: bool) {
        if !more && self.under_way.load(Acquire) == 0 {
            return self.log.make(vec![group]);
        }
        self.under_way.fetch_add(1, AcqRel);
        // Sending fails only after the thread panicked. Then the group is dropped, and its callers notice that no
        // answer comes.
        if let Some(queue) = &self.queue {
            drop(queue.send(group));
        }
    }
}

impl Drop for Durable {
    /// Waits until every group is answered.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            self.log.shared.fail("thread journal-sync panicked");
        }
    }
}

fn work(log: &LogFile, under_way: &AtomicUsize, groups: &Receiver<CommittedGroup>) {
    while let Ok(first) = groups.recv() {
        log.shared.waiting.enter(Stage::Sync, first.oldest());
        let mut ready = vec![first];
        ready.extend(groups.try_iter());
        let count = ready.len();
        log.make(ready);
        log.shared.waiting.leave(Stage::Sync);
        under_way.fetch_sub(count, AcqRel);
    }
}

impl LogFile {
    fn make(&self, groups: Vec<CommittedGroup>) {
        // After a failed sync, a later sync may succeed although data was lost. So do not sync again.
        if !self.shared.failed()
            && let Err(error) = self.file.sync_data()
        {
            self.shared.fail(&format!("sync: {error}"));
        }
        // A sync also succeeds on a deleted file, so check that the files are still in place.
        if !self.shared.failed()
            && let Some(last) = groups.last()
            && let Err(tampered) = self.shared.presence.check(last.frames)
        {
            self.shared.tampered(tampered);
        }
        for group in groups {
            if self.shared.failed() { group.refuse() } else { group.complete(&self.shared) }
        }
    }
}

impl CommittedGroup {
    /// When the oldest append of the group was queued. Without appends: when the writer started the group.
    fn oldest(&self) -> Instant {
        self.appends.first().map_or(self.began, |(append, _)| append.since)
    }

    fn complete(self, shared: &SharedState) {
        shared.metrics.commits.inc();
        shared.metrics.commit_seconds.observe(self.began.elapsed().as_secs_f64());
        if !self.events.is_empty() {
            shared.metrics.group_events.observe(self.events.len() as f64);
            shared.recent.extend(self.events);
            shared.metrics.tip.set(i64::try_from(self.tip).unwrap_or(i64::MAX));
            shared.tip.send_replace(self.tip);
        }
        if let Some(replays) = self.replays {
            shared.replays.send_replace(replays);
        }
        for (Append { batch, reply, .. }, receipt) in self.appends {
            answer(reply, Ok(receipt));
            drop(batch);
        }
        for ((change, reply), ids) in self.changes {
            match change {
                JournalChange::RetryDead(_) if !ids.is_empty() => {
                    shared.retries.send_modify(|version| *version += 1);
                }
                JournalChange::Pause { handler, pause } => shared.paused.send_modify(|paused| {
                    Arc::make_mut(paused).entry(handler).or_insert(pause);
                }),
                JournalChange::Rename { old, new } if !ids.is_empty() => {
                    shared.paused.send_modify(|paused| {
                        let paused = Arc::make_mut(paused);
                        if let Some(pause) = paused.remove(&old) {
                            paused.insert(new, pause);
                        }
                    })
                }
                JournalChange::Resume(handler) => shared.paused.send_modify(|paused| {
                    Arc::make_mut(paused).remove(&handler);
                }),
                _ => {}
            }
            answer(reply, Ok(ids));
        }
    }

    fn refuse(self) {
        for (append, _) in self.appends {
            answer(append.reply, Err(AppendError::Failed));
        }
        for ((_, reply), _) in self.changes {
            answer(reply, Err(Error::Failed));
        }
    }
}

/// Sends an answer. It is lost if the caller has dropped the receiver.
pub(super) fn answer<T, E>(reply: ReplySender<T, E>, result: Result<T, E>) {
    drop(reply.send(result));
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        journal::sqlite::{Settings, SqliteJournal},
        metrics::Metrics,
    };

    #[test]
    fn no_group_is_answered_without_a_sync_however_many_wait() {
        for groups in 1..=3 {
            let folder = tempfile::tempdir().unwrap();
            let settings = Settings { path: folder.path().join("journal.db"), ..Settings::default() };
            let journal = SqliteJournal::open(settings, Metrics::new()).unwrap();
            // A sync of this file fails.
            let file = File::open("/dev/null").unwrap();
            let log = LogFile { file, shared: Arc::clone(&journal.shared) };
            let (groups, mut answers): (Vec<_>, Vec<_>) = (0..groups).map(|_| flushed()).unzip();
            log.make(groups);
            for answer in &mut answers {
                assert!(matches!(answer.try_recv(), Ok(Err(Error::Failed))));
            }
        }
    }

    /// A group with one caller that waits for a flush.
    fn flushed() -> (CommittedGroup, oneshot::Receiver<Result<Vec<i64>, Error>>) {
        let (reply, answer) = oneshot::channel();
        let group = CommittedGroup {
            began: Instant::now(),
            tip: 0,
            frames: 0,
            events: Vec::new(),
            replays: None,
            appends: Vec::new(),
            changes: vec![((JournalChange::Flush, reply), Vec::new())],
        };
        (group, answer)
    }
}
