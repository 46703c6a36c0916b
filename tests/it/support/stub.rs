//! A journal whose state and failures a test sets. Everything else is forwarded to the inner journal.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
};

use bikhook::{
    event::{Class, Event},
    journal::{
        AppendBatch, AppendError, AppendReceipt, Claim, DeadLetter, DeadQuery, Ends, Enrolment, Error,
        EventPage, EventQuery, HandlerPlace, HandlerProgress, Journal, JournalFigures, JournalFuture,
        JournalState, LaneId, LaneState, NewReplay, Pauses, QuarantineEntry, QuarantineQuery, RenameError,
        ReplayState, Replays,
    },
};
use tokio::sync::watch;

/// The journal. After a failure, it returns no figures.
pub struct Stub {
    /// Its reported state.
    pub state: watch::Sender<JournalState>,
    /// The number of further replay changes that fail.
    pub unstored: AtomicU32,
    /// The number of further reads of lanes that fail.
    pub unread: AtomicU32,
    /// Events up to this seq cannot be claimed.
    pub unreadable_to: AtomicU64,
    inner: Arc<dyn Journal>,
}

impl Stub {
    /// Works until a test changes it.
    pub fn over(inner: Arc<dyn Journal>) -> Self {
        Self {
            state: watch::Sender::new(JournalState::Ready),
            unstored: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            unreadable_to: AtomicU64::new(0),
            inner,
        }
    }
}

impl Journal for Stub {
    fn clock(&self) -> &bikhook::clock::Clock {
        self.inner.clock()
    }

    fn accept_clock(&self) -> JournalFuture<'_, bool> {
        self.inner.accept_clock()
    }

    fn received_from(&self, time: bikhook::clock::Timestamp) -> JournalFuture<'_, Option<u64>> {
        self.inner.received_from(time)
    }

    fn state(&self) -> watch::Receiver<JournalState> {
        self.state.subscribe()
    }

    fn figures(&self) -> JournalFuture<'_, JournalFigures> {
        match *self.state.borrow() {
            JournalState::Failed(_) => Box::pin(async { Err(Error::Failed) }),
            _ => self.inner.figures(),
        }
    }

    fn append(&self, batch: AppendBatch) -> JournalFuture<'_, AppendReceipt, AppendError> {
        self.inner.append(batch)
    }

    fn tip(&self) -> watch::Receiver<u64> {
        self.inner.tip()
    }

    fn enrol(&self, handlers: Vec<Enrolment>) -> JournalFuture<'_, ()> {
        self.inner.enrol(handlers)
    }

    fn handlers(&self) -> JournalFuture<'_, Vec<HandlerPlace>> {
        self.inner.handlers()
    }

    fn rename_handler(&self, old: Arc<str>, new: Arc<str>) -> JournalFuture<'_, (), RenameError> {
        self.inner.rename_handler(old, new)
    }

    fn lane(&self, lane: LaneId) -> JournalFuture<'_, LaneState> {
        let fails = self.unread.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Box::pin(async { Err(Error::Full) }) } else { self.inner.lane(lane) }
    }

    fn set_aside(&self, lane: LaneId, after: u64, through: u64) -> JournalFuture<'_, Vec<u64>> {
        self.inner.set_aside(lane, after, through)
    }

    fn claim(&self, class: Class, after: u64, max: usize) -> JournalFuture<'_, Claim> {
        let fails = after < self.unreadable_to.load(SeqCst);
        if fails { Box::pin(async { Err(Error::Full) }) } else { self.inner.claim(class, after, max) }
    }

    fn settle(&self, lane: LaneId, ends: Ends) -> JournalFuture<'_, ()> {
        self.inner.settle(lane, ends)
    }

    fn flush(&self) -> JournalFuture<'_, ()> {
        self.inner.flush()
    }

    fn get(&self, seq: u64) -> JournalFuture<'_, Option<Arc<Event>>> {
        self.inner.get(seq)
    }

    fn handler_progress(&self, class: Class, seq: u64) -> JournalFuture<'_, Vec<HandlerProgress>> {
        self.inner.handler_progress(class, seq)
    }

    fn events(&self, query: EventQuery) -> JournalFuture<'_, EventPage> {
        self.inner.events(query)
    }

    fn dead_letters(&self, query: DeadQuery) -> JournalFuture<'_, Vec<DeadLetter>> {
        self.inner.dead_letters(query)
    }

    fn dead_letter(&self, id: i64) -> JournalFuture<'_, Option<DeadLetter>> {
        self.inner.dead_letter(id)
    }

    fn retry_dead(&self, ids: Vec<i64>) -> JournalFuture<'_, Vec<i64>> {
        self.inner.retry_dead(ids)
    }

    fn drop_dead(&self, ids: Vec<i64>, by: Arc<str>) -> JournalFuture<'_, Vec<i64>> {
        self.inner.drop_dead(ids, by)
    }

    fn retries(&self) -> watch::Receiver<u64> {
        self.inner.retries()
    }

    fn retrying(&self, lane: LaneId) -> JournalFuture<'_, Vec<DeadLetter>> {
        self.inner.retrying(lane)
    }

    fn pause(&self, handler: Arc<str>, reason: String) -> JournalFuture<'_, ()> {
        self.inner.pause(handler, reason)
    }

    fn resume(&self, handler: Arc<str>) -> JournalFuture<'_, bool> {
        self.inner.resume(handler)
    }

    fn paused(&self) -> watch::Receiver<Pauses> {
        self.inner.paused()
    }

    fn start_replay(&self, replay: NewReplay) -> JournalFuture<'_, i64> {
        self.inner.start_replay(replay)
    }

    fn change_replay(&self, id: i64, state: ReplayState) -> JournalFuture<'_, bool> {
        let fails = self.unstored.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Box::pin(async { Err(Error::Full) }) } else { self.inner.change_replay(id, state) }
    }

    fn replays(&self) -> watch::Receiver<Replays> {
        self.inner.replays()
    }

    fn quarantine(&self, query: QuarantineQuery) -> JournalFuture<'_, Vec<QuarantineEntry>> {
        self.inner.quarantine(query)
    }

    fn quarantined(&self, id: i64) -> JournalFuture<'_, Option<QuarantineEntry>> {
        self.inner.quarantined(id)
    }

    fn drop_quarantined(&self, ids: Vec<i64>) -> JournalFuture<'_, Vec<i64>> {
        self.inner.drop_quarantined(ids)
    }

    fn close(&self) -> JournalFuture<'_, ()> {
        self.inner.close()
    }
}
