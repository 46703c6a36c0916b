//! A journal that says, or fails at, what a test wants; else it is the one within.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use bikhook::{
    event::{Class, Event},
    journal::{
        AppendError, Batch, BoxFuture, Claim, DeadLetter, DeadQuery, Ends, Enrolment, Error, EventPage,
        EventQuery, Figures, HandlerPlace, Journal, LaneId, LaneState, NewReplay, Passage, Pauses,
        QuarantineEntry, QuarantineQuery, Receipt, RenameError, ReplayState, Replays, State,
    },
};
use tokio::sync::watch;

/// The journal. Once it failed, it gives no figures.
pub struct Stub {
    /// What it says of itself.
    pub state: watch::Sender<State>,
    /// How many changes of a replay it still cannot store.
    pub unstored: AtomicU32,
    /// How many lanes it still cannot read.
    pub unread: AtomicU32,
    inner: Arc<dyn Journal>,
}

impl Stub {
    /// Well, until a test says otherwise.
    pub fn over(inner: Arc<dyn Journal>) -> Self {
        Self {
            state: watch::Sender::new(State::Ready),
            unstored: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            inner,
        }
    }
}

impl Journal for Stub {
    fn clock(&self) -> &bikhook::clock::Clock {
        self.inner.clock()
    }

    fn accept_clock(&self) -> BoxFuture<'_, Result<bool, Error>> {
        self.inner.accept_clock()
    }

    fn received_from(&self, time: bikhook::clock::Timestamp) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        self.inner.received_from(time)
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn figures(&self) -> BoxFuture<'_, Result<Figures, Error>> {
        match *self.state.borrow() {
            State::Failed(_) => Box::pin(async { Err(Error::Failed) }),
            _ => self.inner.figures(),
        }
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Receipt, AppendError>> {
        self.inner.append(batch)
    }

    fn tip(&self) -> watch::Receiver<u64> {
        self.inner.tip()
    }

    fn enrol(&self, handlers: Vec<Enrolment>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.enrol(handlers)
    }

    fn handlers(&self) -> BoxFuture<'_, Result<Vec<HandlerPlace>, Error>> {
        self.inner.handlers()
    }

    fn rename_handler(&self, old: Arc<str>, new: Arc<str>) -> BoxFuture<'_, Result<(), RenameError>> {
        self.inner.rename_handler(old, new)
    }

    fn lane(&self, lane: LaneId) -> BoxFuture<'_, Result<LaneState, Error>> {
        let fails = self.unread.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Box::pin(async { Err(Error::Full) }) } else { self.inner.lane(lane) }
    }

    fn set_aside(&self, lane: LaneId, after: u64, through: u64) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        self.inner.set_aside(lane, after, through)
    }

    fn claim(&self, class: Class, after: u64, max: usize) -> BoxFuture<'_, Result<Claim, Error>> {
        self.inner.claim(class, after, max)
    }

    fn settle(&self, lane: LaneId, ends: Ends) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.settle(lane, ends)
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.flush()
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<Arc<Event>>, Error>> {
        self.inner.get(seq)
    }

    fn passages(&self, class: Class, seq: u64) -> BoxFuture<'_, Result<Vec<Passage>, Error>> {
        self.inner.passages(class, seq)
    }

    fn events(&self, query: EventQuery) -> BoxFuture<'_, Result<EventPage, Error>> {
        self.inner.events(query)
    }

    fn dead_letters(&self, query: DeadQuery) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        self.inner.dead_letters(query)
    }

    fn dead_letter(&self, id: i64) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>> {
        self.inner.dead_letter(id)
    }

    fn retry_dead(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>> {
        self.inner.retry_dead(ids)
    }

    fn drop_dead(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>> {
        self.inner.drop_dead(ids)
    }

    fn retries(&self) -> watch::Receiver<u64> {
        self.inner.retries()
    }

    fn retrying(&self, lane: LaneId) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        self.inner.retrying(lane)
    }

    fn pause(&self, handler: Arc<str>, reason: String) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.pause(handler, reason)
    }

    fn resume(&self, handler: Arc<str>) -> BoxFuture<'_, Result<bool, Error>> {
        self.inner.resume(handler)
    }

    fn paused(&self) -> watch::Receiver<Pauses> {
        self.inner.paused()
    }

    fn start_replay(&self, replay: NewReplay) -> BoxFuture<'_, Result<i64, Error>> {
        self.inner.start_replay(replay)
    }

    fn change_replay(&self, id: i64, state: ReplayState) -> BoxFuture<'_, Result<bool, Error>> {
        let fails = self.unstored.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Box::pin(async { Err(Error::Full) }) } else { self.inner.change_replay(id, state) }
    }

    fn replays(&self) -> watch::Receiver<Replays> {
        self.inner.replays()
    }

    fn quarantine(&self, query: QuarantineQuery) -> BoxFuture<'_, Result<Vec<QuarantineEntry>, Error>> {
        self.inner.quarantine(query)
    }

    fn quarantined(&self, id: i64) -> BoxFuture<'_, Result<Option<QuarantineEntry>, Error>> {
        self.inner.quarantined(id)
    }

    fn drop_quarantined(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>> {
        self.inner.drop_quarantined(ids)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}
