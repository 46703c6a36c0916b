//! What was committed becomes durable, and only then it is told: events to the lanes, answers to those who wait.
//!
//! A commit writes to the log and does not sync it. The sync is done here: by the writer itself, so that what arrives
//! meanwhile becomes one group; but where more is queued than one group takes, by a thread beside it: while one group is
//! on its way to the disk the next one is put together. Whatever comes first to the writer is told first.

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
    op::{Append, Change, Reply},
    shared::Shared,
    stall::Stage,
};
use crate::{
    event::Event,
    journal::{AppendError, Error, Receipt, Replays},
};

/// A group that was committed: what is told of it, and to whom.
pub struct Committed {
    /// When the writer began with it.
    pub began: Instant,
    /// The highest seq so far.
    pub tip: u64,
    /// Frames in the log, its own included.
    pub frames: u32,
    /// The new events, in order.
    pub events: Vec<Arc<Event>>,
    /// The replays, where they changed.
    pub replays: Option<Replays>,
    /// What was appended, and what became of it.
    pub appends: Vec<(Append, Receipt)>,
    /// Other changes, and the ids that they concerned.
    pub changes: Vec<(Change, Reply<Vec<i64>>, Vec<i64>)>,
}

/// Makes groups durable, in the order in which they are given to it.
pub struct Durable {
    log: Arc<Log>,
    /// Groups that the thread has not yet told of.
    under_way: Arc<AtomicUsize>,
    queue: Option<SyncSender<Committed>>,
    thread: Option<JoinHandle<()>>,
}

/// The log's file, and whom to tell.
struct Log {
    file: File,
    shared: Arc<Shared>,
}

impl Durable {
    /// Of the log in this file.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn new(file: File, shared: Arc<Shared>) -> std::io::Result<Self> {
        let log = Arc::new(Log { file, shared });
        let under_way = Arc::new(AtomicUsize::new(0));
        // One on its way to the disk, one that waits, one that the writer puts together: more would only wait longer.
        let (queue, groups) = sync_channel(1);
        let thread = {
            let (log, under_way) = (Arc::clone(&log), Arc::clone(&under_way));
            thread::Builder::new().name("journal-sync".to_owned()).spawn(move || {
                let _watched = log.shared.watch("syncs its log");
                work(&log, &under_way, &groups);
            })?
        };
        Ok(Self { log, under_way, queue: Some(queue), thread: Some(thread) })
    }

    /// Makes a group durable and tells of it. With `more`, the writer has a next group to put together: it is done beside.
    pub fn make(&self, group: Committed, more: bool) {
        if !more && self.under_way.load(Acquire) == 0 {
            return self.log.make(vec![group]);
        }
        self.under_way.fetch_add(1, AcqRel);
        // The thread ends only when this value does, or by a panic: then those who wait learn that nobody answers.
        if let Some(queue) = &self.queue {
            drop(queue.send(group));
        }
    }
}

impl Drop for Durable {
    /// Waits until all is told.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            self.log.shared.fail("the thread that syncs its log panicked");
        }
    }
}

fn work(log: &Log, under_way: &AtomicUsize, groups: &Receiver<Committed>) {
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

impl Log {
    fn make(&self, groups: Vec<Committed>) {
        // After a sync that failed the next one may succeed, and means nothing.
        if !self.shared.failed()
            && let Err(error) = self.file.sync_data()
        {
            self.shared.fail(&format!("sync: {error}"));
        }
        // A sync of a file that nobody will find again goes well, too.
        if !self.shared.failed()
            && let Some(last) = groups.last()
            && let Err(tampered) = self.shared.presence.check(last.frames)
        {
            self.shared.tampered(tampered);
        }
        for group in groups {
            if self.shared.failed() { group.refuse() } else { group.tell(&self.shared) }
        }
    }
}

impl Committed {
    /// Since when the oldest of its appends waits.
    fn oldest(&self) -> Instant {
        self.appends.first().map_or(self.began, |(append, _)| append.since)
    }

    fn tell(self, shared: &Shared) {
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
        for (change, reply, ids) in self.changes {
            match change {
                Change::RetryDead(_) if !ids.is_empty() => {
                    shared.retries.send_modify(|version| *version += 1);
                }
                Change::Pause { handler, pause } => shared.paused.send_modify(|paused| {
                    Arc::make_mut(paused).entry(handler).or_insert(pause);
                }),
                Change::Rename { old, new } if !ids.is_empty() => shared.paused.send_modify(|paused| {
                    let paused = Arc::make_mut(paused);
                    if let Some(pause) = paused.remove(&old) {
                        paused.insert(new, pause);
                    }
                }),
                Change::Resume(handler) => shared.paused.send_modify(|paused| {
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
        for (_, reply, _) in self.changes {
            answer(reply, Err(Error::Failed));
        }
    }
}

/// A caller that went away does not want its answer.
pub fn answer<T, E>(reply: Reply<T, E>, result: Result<T, E>) {
    drop(reply.send(result));
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        journal::sqlite::{Settings, Sqlite},
        metrics::Metrics,
    };

    #[test]
    fn however_many_groups_wait_none_is_told_of_without_a_sync() {
        for groups in 1..=3 {
            let folder = tempfile::tempdir().unwrap();
            let settings = Settings { path: folder.path().join("journal.db"), ..Settings::default() };
            let journal = Sqlite::open(settings, Metrics::new()).unwrap();
            // What this file is asked to sync fails.
            let file = File::open("/dev/null").unwrap();
            let log = Log { file, shared: Arc::clone(&journal.shared) };
            let (groups, mut answers): (Vec<_>, Vec<_>) = (0..groups).map(|_| flushed()).unzip();
            log.make(groups);
            for answer in &mut answers {
                assert!(matches!(answer.try_recv(), Ok(Err(Error::Failed))));
            }
        }
    }

    /// A group that somebody waits for.
    fn flushed() -> (Committed, oneshot::Receiver<Result<Vec<i64>, Error>>) {
        let (reply, answer) = oneshot::channel();
        let group = Committed {
            began: Instant::now(),
            tip: 0,
            frames: 0,
            events: Vec::new(),
            replays: None,
            appends: Vec::new(),
            changes: vec![(Change::Flush, reply, Vec::new())],
        };
        (group, answer)
    }
}
