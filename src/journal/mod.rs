//! The [`Journal`] trait: durable storage of events, and its guarantees. One contract suite in `tests/it` tests every
//! engine against them.
//!
//! An append is answered only after its events are on disk. Within the deduplication window an event is stored once.
//! `seq` never repeats and never falls, unless a backup is restored. The delivery state of a lane is its cursor, plus
//! rows for the exceptions: events that were set aside, and dead letters.

mod append;
mod dead;
mod ends;
mod error;
mod events;
mod history;
mod lane;
mod notice;
mod omission;
mod place;
mod quarantine;
mod replay;
pub mod sqlite;
mod state;

pub use append::{AppendBatch, AppendError, AppendReceipt, RetryOf};
pub use dead::{Cause, DeadAgain, DeadLetter, DeadQuery, NewDead};
pub use ends::Ends;
pub use error::{Error, JournalOpenError};
pub use events::{EventPage, EventQuery};
pub use history::{History, Try};
pub use lane::{
    ASIDE_ERROR_CHARS, Aside, Claim, DeliveryState, Enrolment, HandlerProgress, LaneId, LaneStart, LaneState,
    Pause, Pauses,
};
pub use omission::{Omission, OmissionCause};
pub use place::{HandlerPlace, LanePlace, RenameError, RenameRefusal};
pub use quarantine::{QuarantineEntry, QuarantineQuery};
pub use replay::{NewReplay, Replay, ReplayState, Replays};
pub use state::{JournalFigures, JournalState};

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::sync::watch;

use crate::{
    clock::{Clock, Timestamp},
    event::{Class, Event},
};

/// A boxed future, which keeps the trait usable as `Arc<dyn Journal>`.
pub type JournalFuture<'a, T, E = Error> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// A durable, ordered, deduplicating store of events, with the delivery state of every lane.
pub trait Journal: Send + Sync + 'static {
    /// Makes a batch durable and returns the counts of stored, duplicate and quarantined items. The append runs on the
    /// journal's own thread. So once the batch is queued, dropping this future does not cancel the append. `batch.hold`
    /// is dropped when the append has ended.
    fn append(&self, batch: AppendBatch) -> JournalFuture<'_, AppendReceipt, AppendError>;

    /// The trusted clock, which stamps stored rows. Code that compares times with stored times must read this clock.
    fn clock(&self) -> &Clock;

    /// If the wall clock is in doubt, trusts it again: durably corrects the trusted clock to the wall clock. In any
    /// case, confirms the wall clock. After the confirmation, deletion by age may catch up if it was behind when the
    /// process started. Resolves to `true` if the wall clock was in doubt, or if deletion waited for the confirmation.
    fn accept_clock(&self) -> JournalFuture<'_, bool>;

    /// The state of the journal: the current value and every later change.
    fn state(&self) -> watch::Receiver<JournalState>;

    /// The highest durable seq (0 while no event was ever stored): the current value and every later change.
    fn tip(&self) -> watch::Receiver<u64>;

    /// Durably stores a cursor for both lanes of each handler that has none yet. Cursors of handlers that are not in
    /// `handlers` stay, but no longer protect events from retention.
    fn enrol(&self, handlers: Vec<Enrolment>) -> JournalFuture<'_, ()>;

    /// Every handler that the journal knows, even if it is not configured. Sorted by name.
    fn handlers(&self) -> JournalFuture<'_, Vec<HandlerPlace>>;

    /// Durably renames a handler that is not configured: its cursors, events set aside, dead letters, replays and
    /// pause move to the new name.
    fn rename_handler(&self, old: Arc<str>, new: Arc<str>) -> JournalFuture<'_, (), RenameError>;

    /// The delivery state of an enrolled lane, including all that was settled before this call.
    fn lane(&self, lane: LaneId) -> JournalFuture<'_, LaneState>;

    /// The seqs in `after+1 ..= through` that a lane has set aside, including all that was settled before this call.
    fn set_aside(&self, lane: LaneId, after: u64, through: u64) -> JournalFuture<'_, Vec<u64>>;

    /// The next events of a class after the seq `after`, at most `max`. [`Claim::through`] is the seq up to which the
    /// journal was read for them.
    fn claim(&self, class: Class, after: u64, max: usize) -> JournalFuture<'_, Claim>;

    /// Records how deliveries ended. All changes of one call are committed in one transaction, usually within about a
    /// second. Resolves when the journal has queued the changes; [`Journal::flush`] waits until they are durable.
    fn settle(&self, lane: LaneId, ends: Ends) -> JournalFuture<'_, ()>;

    /// Resolves when everything that was appended or settled before this call is durable.
    fn flush(&self) -> JournalFuture<'_, ()>;

    /// One event; `None` if retention has deleted it or it never existed.
    fn get(&self, seq: u64) -> JournalFuture<'_, Option<Arc<Event>>>;

    /// The progress of the event `seq` of class `class` in each known handler, even if the handler is no longer
    /// configured. Sorted by name. Settles that are not committed yet are missing: see [`Journal::settle`].
    fn handler_progress(&self, class: Class, seq: u64) -> JournalFuture<'_, Vec<HandlerProgress>>;

    /// The lowest seq of the events received at this time or later; `None` if all stored events are older.
    fn received_from(&self, time: Timestamp) -> JournalFuture<'_, Option<u64>>;

    /// A page of events, newest first.
    fn events(&self, query: EventQuery) -> JournalFuture<'_, EventPage>;

    /// A page of dead letters, newest first.
    fn dead_letters(&self, query: DeadQuery) -> JournalFuture<'_, Vec<DeadLetter>>;

    /// One dead letter; `None` if the id is unknown.
    fn dead_letter(&self, id: i64) -> JournalFuture<'_, Option<DeadLetter>>;

    /// Marks dead letters for retry by their handler's own lanes. Resolves, once durable, to the ids that exist.
    fn retry_dead(&self, ids: Vec<i64>) -> JournalFuture<'_, Vec<i64>>;

    /// Deletes dead letters permanently, and records the user who decided it. Resolves, once durable, to the ids that
    /// existed.
    fn drop_dead(&self, ids: Vec<i64>, by: Arc<str>) -> JournalFuture<'_, Vec<i64>>;

    /// A version number that increases whenever dead letters are marked for retry.
    fn retries(&self) -> watch::Receiver<u64>;

    /// The oldest dead letters of a lane that are marked for retry, a bounded number of them. Those that cannot be read
    /// are logged and left out.
    fn retrying(&self, lane: LaneId) -> JournalFuture<'_, Vec<DeadLetter>>;

    /// Durably pauses a handler until [`Journal::resume`]: its lanes and its replays start no delivery. A handler that
    /// is already paused keeps its first reason. `reason` must be safe for logs.
    fn pause(&self, handler: Arc<str>, reason: String) -> JournalFuture<'_, ()>;

    /// Durably resumes a handler. Resolves to `false` if it was not paused.
    fn resume(&self, handler: Arc<str>) -> JournalFuture<'_, bool>;

    /// The paused handlers: the current set and every later change.
    fn paused(&self) -> watch::Receiver<Pauses>;

    /// Durably stores a replay with its two lanes and resolves to the id of the replay. If the handler is configured,
    /// the undelivered events of the replay are protected from retention until the replay ends.
    fn start_replay(&self, replay: NewReplay) -> JournalFuture<'_, i64>;

    /// Durably pauses, resumes or ends a replay. Resolves to `false` if the replay is unknown, has ended, or already
    /// has this state. Ending a replay deletes its cursors and its list of set-aside events. Its dead letters stay,
    /// because they belong to the handler's own lanes.
    fn change_replay(&self, id: i64, state: ReplayState) -> JournalFuture<'_, bool>;

    /// The replays that have not ended, and those that ended most recently: the current set and every later change.
    fn replays(&self) -> watch::Receiver<Replays>;

    /// A page of the quarantine, newest first.
    fn quarantine(&self, query: QuarantineQuery) -> JournalFuture<'_, Vec<QuarantineEntry>>;

    /// One quarantine entry; `None` if the id is unknown.
    fn quarantined(&self, id: i64) -> JournalFuture<'_, Option<QuarantineEntry>>;

    /// Deletes quarantine entries permanently. Resolves, once durable, to the ids that existed.
    fn drop_quarantined(&self, ids: Vec<i64>) -> JournalFuture<'_, Vec<i64>>;

    /// Current figures for metrics and the command line.
    fn figures(&self) -> JournalFuture<'_, JournalFigures>;

    /// Rejects new work, makes durable all that was queued before this call, and closes. Later appends fail with
    /// [`AppendError::Stopped`].
    fn close(&self) -> JournalFuture<'_, ()>;
}

impl dyn Journal {
    /// The next events of both classes after `after`, in order of seq, at most `max` of each class.
    ///
    /// # Errors
    /// Returns the errors of [`Journal::claim`].
    pub async fn claim_all(&self, after: u64, max: usize) -> Result<Claim, Error> {
        let [incoming, other] = Class::ALL.map(|class| self.claim(class, after, max));
        Ok(Claim::of_all([incoming.await?, other.await?]))
    }
}
