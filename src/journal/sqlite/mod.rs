//! The embedded journal: one SQLite file, written by one thread.
//!
//! New events and keys are always appended at the end, and the oldest are deleted first. The keys of the deduplication
//! window are indexed in memory (`directory`), because a unique index on random ids would dirty one page per event and
//! slow down as it grows. Requests that arrive together share one commit (`writer`, `group`). Checkpoints run in a
//! thread beside the writer (`checkpoint`). After a failed write, sync or checkpoint the data on disk is unknown, so
//! the journal reports the failure and rejects everything. A full disk is not a failure: intake resumes when there is
//! space again.

mod checkpoint;
mod chores;
mod directory;
mod durable;
mod eras;
mod file;
mod group;
mod lanes;
mod offline;
mod op;
mod open;
mod page_reader;
mod pauses;
mod places;
mod presence;
mod reader;
mod recent;
mod replays;
mod restored;
mod retention;
mod room;
mod settings;
mod shared;
mod stall;
mod timekeeping;
mod writer;

pub use offline::Offline;
pub use places::rename_offline;
pub use settings::Settings;
pub(crate) use shared::NOTHING_LOST;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    op::{Append, JournalChange, ReplySender, WriterOp},
    page_reader::PageReader,
    reader::Pages,
    shared::SharedState,
};
use super::{
    AppendBatch, AppendError, AppendReceipt, Claim, DeadLetter, DeadQuery, Ends, Enrolment, Error, EventPage,
    EventQuery, HandlerPlace, HandlerProgress, Journal, JournalFigures, JournalFuture, JournalState, LaneId,
    LaneState, NewReplay, Pause, Pauses, QuarantineEntry, QuarantineQuery, RenameError, RenameRefusal,
    ReplayState, Replays,
};
use crate::{
    clock::{Clock, Timestamp},
    event::{Class, Event},
    folder::with_suffix,
    lock::lock_of,
    panics,
};

/// The embedded journal, in one SQLite file.
pub struct SqliteJournal {
    pages: PageReader,
    shared: Arc<SharedState>,
    clock: Clock,
    ops: mpsc::Sender<WriterOp>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The names of the enrolled handlers.
    enrolled: RwLock<Vec<Arc<str>>>,
}

impl SqliteJournal {
    /// Runs `read` on a blocking thread. `read` gets its rows in pages. Each page is one read transaction, with a
    /// connection of the pool. During this transaction, a lock keeps the writer from resetting the write-ahead log. So
    /// `read` should decode the rows after the transaction, to keep the transaction short.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&PageReader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let pages = self.pages.clone();
        let done = tokio::task::spawn_blocking(move || read(&pages)).await;
        done.unwrap_or_else(|ended| Err(Error::Read(panics::why_ended(&ended).into())))
    }

    /// Reads one page.
    async fn page<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.read(move |pages| pages.page(read)).await
    }

    /// Queues an operation for the writer and waits for the answer.
    async fn ask<T, E: From<AppendError>>(
        &self,
        op: impl FnOnce(ReplySender<T, E>) -> WriterOp,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        self.ops.send(op(reply)).await.map_err(|_closed| self.ended())?;
        answer.await.map_err(|_closed| self.ended())?
    }

    async fn change(&self, change: JournalChange) -> Result<Vec<i64>, Error> {
        self.ask(|reply| WriterOp::Change(change, reply)).await
    }

    fn is_enrolled(&self, handler: &Arc<str>) -> bool {
        self.enrolled.read().unwrap_or_else(PoisonError::into_inner).contains(handler)
    }

    /// The error to return when the writer does not answer.
    fn ended(&self) -> AppendError {
        if self.shared.failed() { AppendError::Failed } else { AppendError::Stopped }
    }
}

impl Journal for SqliteJournal {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn accept_clock(&self) -> JournalFuture<'_, bool> {
        Box::pin(async move { Ok(!self.change(JournalChange::AcceptClock).await?.is_empty()) })
    }

    fn append(&self, batch: AppendBatch) -> JournalFuture<'_, AppendReceipt, AppendError> {
        Box::pin(self.ask(|reply| WriterOp::Append(Append { since: Instant::now(), batch, reply })))
    }

    fn state(&self) -> watch::Receiver<JournalState> {
        self.shared.state.subscribe()
    }

    fn tip(&self) -> watch::Receiver<u64> {
        self.shared.tip.subscribe()
    }

    fn enrol(&self, handlers: Vec<Enrolment>) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            let names = handlers.iter().map(|enrolment| Arc::clone(&enrolment.handler)).collect();
            self.change(JournalChange::Enrol(handlers)).await?;
            *self.enrolled.write().unwrap_or_else(PoisonError::into_inner) = names;
            Ok(())
        })
    }

    fn handlers(&self) -> JournalFuture<'_, Vec<HandlerPlace>> {
        Box::pin(async move {
            self.flush().await?;
            let enrolled = self.enrolled.read().unwrap_or_else(PoisonError::into_inner).clone();
            let tip = *self.shared.tip.borrow();
            let low = self.shared.low.load(Relaxed);
            self.page(move |connection| places::all(connection, tip, low, &enrolled)).await
        })
    }

    fn rename_handler(&self, old: Arc<str>, new: Arc<str>) -> JournalFuture<'_, (), RenameError> {
        Box::pin(async move {
            if self.is_enrolled(&old) {
                return Err(RenameRefusal::Configured.into());
            }
            if self.is_enrolled(&new) {
                return Err(RenameRefusal::AtWork.into());
            }
            let (from, to) = (Arc::clone(&old), Arc::clone(&new));
            let refused = self.page(move |connection| places::refusal(connection, &from, &to)).await?;
            if let Some(refusal) = refused {
                return Err(refusal.into());
            }
            let labels = vec![("handler", Arc::clone(&old))];
            let renamed = self.change(JournalChange::Rename { old, new }).await?;
            if renamed.is_empty() {
                // The check above allowed the rename. If the transaction refused it, the delivery state changed in
                // between.
                return Err(RenameRefusal::Progressed.into());
            }
            // Otherwise the metric would show the last number of dead letters under the old name for ever.
            self.shared.metrics.dead_letters.remove(&labels);
            Ok(())
        })
    }

    fn lane(&self, lane: LaneId) -> JournalFuture<'_, LaneState> {
        Box::pin(async move {
            self.flush().await?;
            let handler = Arc::clone(&lane.handler);
            let state = self.page(move |connection| reader::lane(connection, &lane)).await?;
            state.ok_or(Error::NoLane(handler))
        })
    }

    fn set_aside(&self, lane: LaneId, after: u64, through: u64) -> JournalFuture<'_, Vec<u64>> {
        Box::pin(async move {
            self.flush().await?;
            self.page(move |connection| reader::set_aside(connection, &lane, after, through)).await
        })
    }

    fn claim(&self, class: Class, after: u64, max: usize) -> JournalFuture<'_, Claim> {
        Box::pin(async move {
            if let Some(claim) = self.shared.recent.claim(class, after, max) {
                return Ok(claim);
            }
            self.read(move |pages| pages.claim(class, after, max)).await
        })
    }

    fn settle(&self, lane: LaneId, ends: Ends) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            // The known lanes are those of the handlers enrolled since the start, and those of replays that have not
            // ended.
            let is_known = match lane.replay {
                None => self.is_enrolled(&lane.handler),
                Some(id) => {
                    self.shared.replays.borrow().get(&id).is_some_and(|replay| !replay.state.has_ended())
                }
            };
            if !is_known {
                return Err(Error::NoLane(lane.handler));
            }
            if self.shared.failed() {
                return Err(Error::Failed);
            }
            self.ops.send(WriterOp::Settle(lane, ends)).await.map_err(|_closed| self.ended().into())
        })
    }

    fn flush(&self) -> JournalFuture<'_, ()> {
        Box::pin(async move { self.change(JournalChange::Flush).await.map(drop) })
    }

    fn get(&self, seq: u64) -> JournalFuture<'_, Option<Arc<Event>>> {
        Box::pin(self.read(move |pages| reader::get(pages, seq)))
    }

    fn handler_progress(&self, class: Class, seq: u64) -> JournalFuture<'_, Vec<HandlerProgress>> {
        Box::pin(self.page(move |connection| reader::handler_progress(connection, class, seq)))
    }

    fn received_from(&self, time: Timestamp) -> JournalFuture<'_, Option<u64>> {
        Box::pin(self.page(move |connection| reader::first_at_or_after(connection, time)))
    }

    fn events(&self, query: EventQuery) -> JournalFuture<'_, EventPage> {
        Box::pin(self.read(move |pages| reader::events(pages, &query)))
    }

    fn dead_letters(&self, query: DeadQuery) -> JournalFuture<'_, Vec<DeadLetter>> {
        Box::pin(self.read(move |pages| reader::dead_letters(pages, &query)))
    }

    fn dead_letter(&self, id: i64) -> JournalFuture<'_, Option<DeadLetter>> {
        Box::pin(self.read(move |pages| reader::dead_letter(pages, id)))
    }

    fn retry_dead(&self, ids: Vec<i64>) -> JournalFuture<'_, Vec<i64>> {
        Box::pin(self.change(JournalChange::RetryDead(ids)))
    }

    fn drop_dead(&self, ids: Vec<i64>, by: Arc<str>) -> JournalFuture<'_, Vec<i64>> {
        Box::pin(self.change(JournalChange::DropDead { ids, by }))
    }

    fn retries(&self) -> watch::Receiver<u64> {
        self.shared.retries.subscribe()
    }

    fn retrying(&self, lane: LaneId) -> JournalFuture<'_, Vec<DeadLetter>> {
        Box::pin(self.page(move |connection| reader::retrying(connection, &lane)))
    }

    fn pause(&self, handler: Arc<str>, reason: String) -> JournalFuture<'_, ()> {
        let pause = Pause { at: self.clock.now(), reason };
        Box::pin(async move { self.change(JournalChange::Pause { handler, pause }).await.map(drop) })
    }

    fn resume(&self, handler: Arc<str>) -> JournalFuture<'_, bool> {
        Box::pin(async move { Ok(!self.change(JournalChange::Resume(handler)).await?.is_empty()) })
    }

    fn paused(&self) -> watch::Receiver<Pauses> {
        self.shared.paused.subscribe()
    }

    fn start_replay(&self, replay: NewReplay) -> JournalFuture<'_, i64> {
        Box::pin(async move {
            if !self.is_enrolled(&replay.handler) {
                return Err(Error::NoLane(replay.handler));
            }
            let ids = self.change(JournalChange::StartReplay(replay)).await?;
            ids.first().copied().ok_or_else(|| self.ended().into())
        })
    }

    fn change_replay(&self, id: i64, state: ReplayState) -> JournalFuture<'_, bool> {
        Box::pin(async move { Ok(!self.change(JournalChange::ChangeReplay(id, state)).await?.is_empty()) })
    }

    fn replays(&self) -> watch::Receiver<Replays> {
        self.shared.replays.subscribe()
    }

    fn quarantine(&self, query: QuarantineQuery) -> JournalFuture<'_, Vec<QuarantineEntry>> {
        Box::pin(self.page(move |connection| reader::quarantine(connection, &query)))
    }

    fn quarantined(&self, id: i64) -> JournalFuture<'_, Option<QuarantineEntry>> {
        Box::pin(self.page(move |connection| reader::quarantined(connection, id)))
    }

    fn drop_quarantined(&self, ids: Vec<i64>) -> JournalFuture<'_, Vec<i64>> {
        Box::pin(self.change(JournalChange::DropQuarantined(ids)))
    }

    fn figures(&self) -> JournalFuture<'_, JournalFigures> {
        Box::pin(async move {
            let now = self.clock.now();
            let figures = self.read(move |pages| pages.figures(now)).await?;
            let metrics = &self.shared.metrics;
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            metrics.keys.set(gauge(figures.keys));
            metrics.window_seconds.set(figures.window_ms / 1_000);
            metrics.quarantine.set(gauge(figures.quarantined));
            for (handler, dead) in &figures.dead {
                metrics.dead_letters.get_or_create(&vec![("handler", Arc::clone(handler))]).set(gauge(*dead));
            }
            Ok(figures)
        })
    }

    fn close(&self) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.ops.send(WriterOp::Close(reply)).await.map_err(|_closed| self.ended())?;
            let result = answer.await.map_err(|_closed| self.ended())?;
            let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            let joined =
                tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
            // Release the file only after every connection is closed. The release closes the file, and that drops all
            // POSIX locks of this process on it, including those of SQLite.
            let joined = joined.await.unwrap_or(false);
            if joined && self.pages.file.release().is_ok() { result } else { Err(Error::Failed) }
        })
    }
}

/// All files that belong to a journal at `path`, for code that copies or deletes a journal.
pub fn files(path: &std::path::Path) -> [std::path::PathBuf; 4] {
    [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm"), lock_of(path)]
}
