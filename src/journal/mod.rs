//! What is durable: the [`Journal`] and its promises. One contract suite in `tests/it` holds every engine to them.
//!
//! An append is answered after its events are on disk, never before; within the deduplication window an event is stored
//! once; `seq` never repeats and never falls. Delivery state is one cursor a lane, and rows for the exceptions: events
//! that were set aside, and dead letters.

mod append;
mod dead;
mod error;
mod events;
mod history;
mod lane;
mod notice;
mod place;
mod quarantine;
mod replay;
pub mod sqlite;
mod state;

pub use append::{AppendError, Batch, Receipt};
pub use dead::{Cause, DeadAgain, DeadLetter, DeadQuery, NewDead};
pub use error::{Error, OpenError};
pub use events::{EventPage, EventQuery};
pub use history::{History, Try};
pub use lane::{Aside, Claim, Ends, Enrolment, LaneId, LaneState, Passage, Pause, Pauses, Start};
pub use place::{HandlerPlace, LanePlace, RenameError, RenameRefusal};
pub use quarantine::{QuarantineEntry, QuarantineQuery};
pub use replay::{NewReplay, Replay, ReplayState, Replays};
pub use state::{Figures, State};

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::sync::watch;

use crate::{
    clock::{Clock, Timestamp},
    event::{Class, Event},
};

/// A boxed future: the trait is used as `Arc<dyn Journal>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A durable, ordered, deduplicating store of events, with the delivery state of every lane.
pub trait Journal: Send + Sync + 'static {
    /// Makes a batch durable and says what became of it. Runs on the journal's own thread: a caller that goes away
    /// after the batch was queued does not cancel it, and `batch.hold` is dropped when it has ended.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Receipt, AppendError>>;

    /// The trusted clock: it stamps what is stored, and whoever compares with that reads it.
    fn clock(&self) -> &Clock;

    /// Believes the wall clock where it is in doubt, and begins a clock era; confirms a gap at the start. Durable; `false`
    /// where nothing was in doubt.
    fn accept_clock(&self) -> BoxFuture<'_, Result<bool, Error>>;

    /// Whether it can store, now and as it changes.
    fn state(&self) -> watch::Receiver<State>;

    /// The highest sequence number that is durable (0 while there is none), now and as it grows.
    fn tip(&self) -> watch::Receiver<u64>;

    /// Stores a cursor for both lanes of each handler that has none yet, durably. Cursors of handlers that are not
    /// named here stay, but no longer hold retention back.
    fn enrol(&self, handlers: Vec<Enrolment>) -> BoxFuture<'_, Result<(), Error>>;

    /// Every handler that the journal knows, by name, whether or not it is configured in this run.
    fn handlers(&self) -> BoxFuture<'_, Result<Vec<HandlerPlace>, Error>>;

    /// Gives the place of a handler that is not configured to another name, durably: its cursors, what it has set aside, its
    /// dead letters, its replays and its pause.
    fn rename_handler(&self, old: Arc<str>, new: Arc<str>) -> BoxFuture<'_, Result<(), RenameError>>;

    /// The delivery state of an enrolled lane, as it was last settled.
    fn lane(&self, lane: LaneId) -> BoxFuture<'_, Result<LaneState, Error>>;

    /// What a lane has set aside in `after+1 ..= through`, by all that was settled before this call.
    fn set_aside(&self, lane: LaneId, after: u64, through: u64) -> BoxFuture<'_, Result<Vec<u64>, Error>>;

    /// The next events of a class after `after`, at most `max`, with how far was looked.
    fn claim(&self, class: Class, after: u64, max: usize) -> BoxFuture<'_, Result<Claim, Error>>;

    /// Records how deliveries ended. The cursor and the rows change in one transaction, which rides on the next commit,
    /// after a second at the latest. Resolves when the journal has taken it; [`Journal::flush`] waits until it is durable.
    fn settle(&self, lane: LaneId, ends: Ends) -> BoxFuture<'_, Result<(), Error>>;

    /// Resolves when everything appended or settled before this call is durable.
    fn flush(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// One event; `None` where retention took it or it never was.
    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<Arc<Event>>, Error>>;

    /// How an event of a class stands with every handler that is known, by name; of those that no longer are configured,
    /// too. What was settled within the last second may be missing.
    fn passages(&self, class: Class, seq: u64) -> BoxFuture<'_, Result<Vec<Passage>, Error>>;

    /// The lowest seq that was received at this time or later; `None` where all that is stored came before.
    fn received_from(&self, time: Timestamp) -> BoxFuture<'_, Result<Option<u64>, Error>>;

    /// A page of events, newest first.
    fn events(&self, query: EventQuery) -> BoxFuture<'_, Result<EventPage, Error>>;

    /// A page of dead letters, newest first.
    fn dead_letters(&self, query: DeadQuery) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>>;

    /// One dead letter.
    fn dead_letter(&self, id: i64) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>>;

    /// Marks dead letters to be delivered again through their lane; resolves, durable, to those that exist.
    fn retry_dead(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>>;

    /// Deletes dead letters for good; resolves, durable, to those that existed.
    fn drop_dead(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>>;

    /// Bumped whenever dead letters were marked to be retried.
    fn retries(&self) -> watch::Receiver<u64>;

    /// The dead letters of a lane that are marked to be retried; without those that cannot be read, of which the log tells.
    fn retrying(&self, lane: LaneId) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>>;

    /// Holds a handler back, durably, until [`Journal::resume`]: both its lanes start no delivery. One that is paused
    /// keeps its first reason. `reason` is safe for logs.
    fn pause(&self, handler: Arc<str>, reason: String) -> BoxFuture<'_, Result<(), Error>>;

    /// Lets a handler go on, durably; whether it was paused.
    fn resume(&self, handler: Arc<str>) -> BoxFuture<'_, Result<bool, Error>>;

    /// The handlers that are paused, now and as it changes.
    fn paused(&self) -> watch::Receiver<Pauses>;

    /// Stores a replay and its two lanes, durably: its id. It holds retention back until it has ended.
    fn start_replay(&self, replay: NewReplay) -> BoxFuture<'_, Result<i64, Error>>;

    /// Pauses, resumes or ends a replay, durably; `false` where it is unknown, has ended, or is so already. One that ends
    /// takes its cursors and the events that it set aside with it; its dead letters stay, in the handler's own lanes.
    fn change_replay(&self, id: i64, state: ReplayState) -> BoxFuture<'_, Result<bool, Error>>;

    /// The replays at work and the last that ended, now and as they change.
    fn replays(&self) -> watch::Receiver<Replays>;

    /// A page of the quarantine, newest first.
    fn quarantine(&self, query: QuarantineQuery) -> BoxFuture<'_, Result<Vec<QuarantineEntry>, Error>>;

    /// One entry of the quarantine.
    fn quarantined(&self, id: i64) -> BoxFuture<'_, Result<Option<QuarantineEntry>, Error>>;

    /// Deletes entries for good; resolves, durable, to those that existed.
    fn drop_quarantined(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>>;

    /// Figures for metrics and the command line.
    fn figures(&self) -> BoxFuture<'_, Result<Figures, Error>>;

    /// Takes nothing more, makes durable what was taken, closes. Appends after this fail with [`AppendError::Stopped`].
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;
}

impl dyn Journal {
    /// The next events of both classes after `after`, in order of seq; at most `max` of each.
    ///
    /// # Errors
    /// Those of [`Journal::claim`].
    pub async fn claim_all(&self, after: u64, max: usize) -> Result<Claim, Error> {
        let [incoming, other] = Class::ALL.map(|class| self.claim(class, after, max));
        Ok(Claim::of_all([incoming.await?, other.await?]))
    }
}
