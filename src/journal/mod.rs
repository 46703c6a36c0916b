//! What is durable: the [`Journal`] and its promises. One contract suite in `tests/it` holds every engine to them.
//!
//! An append is answered after its events are on disk, never before; within the deduplication window an event is stored
//! once; `seq` never repeats and never falls. Delivery state is one cursor a lane, and rows for the exceptions: events
//! that were set aside, and dead letters.

mod history;
mod notice;
mod replay;
pub mod sqlite;

pub use history::{History, Try};
pub use replay::{NewReplay, Replay, ReplayState, Replays};

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use tokio::sync::watch;

use crate::{
    clock::Timestamp,
    event::{Class, Draft, Event, OrderKey, Quarantined},
};

/// A boxed future: the trait is used as `Arc<dyn Journal>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A durable, ordered, deduplicating store of events, with the delivery state of every lane.
pub trait Journal: Send + Sync + 'static {
    /// Makes a batch durable and says what became of it. Runs on the journal's own thread: a caller that goes away
    /// after the batch was queued does not cancel it, and `batch.hold` is dropped when it has ended.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Receipt, AppendError>>;

    /// Whether it can store, now and as it changes.
    fn state(&self) -> watch::Receiver<State>;

    /// The highest sequence number that is durable (0 while there is none), now and as it grows.
    fn tip(&self) -> watch::Receiver<u64>;

    /// Stores a cursor for both lanes of each handler that has none yet, durably. Cursors of handlers that are not
    /// named here stay, but no longer hold retention back.
    fn enrol(&self, handlers: Vec<Enrolment>) -> BoxFuture<'_, Result<(), Error>>;

    /// The delivery state of an enrolled lane, as it was last settled.
    fn lane(&self, lane: LaneId) -> BoxFuture<'_, Result<LaneState, Error>>;

    /// The next events of a class after `after`, at most `max`, with how far was looked.
    fn claim(&self, class: Class, after: u64, max: usize) -> BoxFuture<'_, Result<Claim, Error>>;

    /// Records how deliveries ended. The cursor and the rows change in one transaction, which rides on the next commit,
    /// after a second at the latest. Resolves when the journal has taken it; [`Journal::flush`] waits until it is durable.
    fn settle(&self, lane: LaneId, ends: Ends) -> BoxFuture<'_, Result<(), Error>>;

    /// Resolves when everything appended or settled before this call is durable.
    fn flush(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// One event; `None` where retention took it or it never was.
    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<Arc<Event>>, Error>>;

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

    /// The dead letters of a lane that are marked to be retried.
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

/// What one request brings.
#[derive(Default)]
pub struct Batch {
    /// The events, in order.
    pub drafts: Vec<Draft>,
    /// What could not be read.
    pub quarantined: Vec<Quarantined>,
    /// Whatever must be held until the append has ended, such as the request's place in the limits.
    pub hold: Option<Box<dyn Send>>,
}

/// What became of a batch, once it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events stored.
    pub accepted: u32,
    /// Events that were stored before, inside the deduplication window, or earlier in the same batch.
    pub duplicates: u32,
    /// What went to quarantine: what could not be read, and the conflicts.
    pub quarantined: u32,
    /// Of these: the key of a stored event with other content.
    pub conflicts: u32,
    /// The last sequence number that this batch made durable.
    pub seq: Option<u64>,
}

/// Why a batch was not stored. Nothing of it was.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// The disk is at its reserve: there will be room again.
    #[error("the journal's disk is full")]
    Full,
    /// The journal is busy with somebody else's lock, and may be free again.
    #[error("the journal is busy")]
    Busy,
    /// A write, sync or checkpoint failed before; nothing can be assumed until a restart.
    #[error("the journal failed and needs a restart")]
    Failed,
    /// The journal is closing or closed.
    #[error("the journal is closed")]
    Stopped,
}

/// Whether the journal can store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Ready,
    /// The disk is at its reserve; names the lane that holds retention back, if one does.
    Full {
        /// The handler whose undelivered events keep the oldest rows from being deleted.
        held_by: Option<Arc<str>>,
    },
    /// A write, sync or checkpoint failed: the process must end. The text is for the log.
    Failed(Arc<str>),
    /// Closed in good order.
    Closed,
}

/// A handler's lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// The handler's name in the configuration.
    pub handler: Arc<str>,
    /// Which of its two lanes.
    pub class: Class,
    /// The replay that it belongs to; `None` for the handler's own.
    pub replay: Option<i64>,
}

impl LaneId {
    /// One of a handler's own lanes.
    pub const fn live(handler: Arc<str>, class: Class) -> Self {
        Self { handler, class, replay: None }
    }
}

/// The handlers that are paused, by name.
pub type Pauses = Arc<BTreeMap<Arc<str>, Pause>>;

/// Since when, and why, a handler delivers nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// Who or what paused it; safe for logs.
    pub reason: String,
}

/// A handler that is configured, and where it starts if the journal does not know it yet.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The handler's name in the configuration.
    pub handler: Arc<str>,
    /// `None`: from the beginning while the journal has never held an event, else from now.
    pub start: Option<Start>,
    /// It is to be told of dead letters: then each new one of another handler is an event, too, of the source `bikhook`.
    pub dead_letters: bool,
}

/// Where a handler that the journal does not know yet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After what is stored.
    Now,
    /// With the oldest event that is stored.
    Beginning,
    /// With the first event received at or after this time.
    At(Timestamp),
}

/// The delivery state of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// Everything up to here is delivered, not wanted, set aside or dead.
    pub cursor: u64,
    /// The events set aside, by seq.
    pub aside: Vec<Aside>,
    /// How many dead letters it has.
    pub dead: u64,
    /// The events past the cursor that are dead letters, by seq.
    pub dead_past_cursor: Vec<u64>,
}

/// An event that was set aside: delivered later than its place in the lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Which event.
    pub seq: u64,
    /// What it is ordered by: later events of its message queue behind it.
    pub order_key: Option<OrderKey>,
    /// It waits behind an earlier event of its message, and has not been tried on its own.
    pub behind: bool,
    /// Deliveries tried so far.
    pub attempts: u32,
    /// When it was set aside.
    pub since: Timestamp,
    /// When it is tried next.
    pub next_try: Timestamp,
    /// The last error; may quote the payload.
    pub error: String,
    /// The tries that failed.
    pub history: History,
}

/// Events of a class, in order.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// Every event of this class up to here is among `events`, or was before `after`.
    pub through: u64,
}

/// How deliveries ended: one change of a lane's state.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The new cursor, where it moved; never falls.
    pub cursor: Option<u64>,
    /// Rows to insert, or to replace by their seq.
    pub set_aside: Vec<Aside>,
    /// Set-aside events that are done with (delivered, or dead by `dead`).
    pub resolved: Vec<u64>,
    /// New dead letters.
    pub dead: Vec<NewDead>,
    /// Dead letters that were retried and delivered.
    pub revived: Vec<i64>,
    /// Dead letters that were retried and not delivered.
    pub dead_again: Vec<DeadAgain>,
}

impl Ends {
    /// Whether it changes nothing.
    pub const fn is_empty(&self) -> bool {
        self.cursor.is_none() && self.has_no_rows()
    }

    /// Whether it changes nothing but the cursor.
    pub const fn has_no_rows(&self) -> bool {
        self.set_aside.is_empty()
            && self.resolved.is_empty()
            && self.dead.is_empty()
            && self.revived.is_empty()
            && self.dead_again.is_empty()
    }
}

/// A new dead letter.
#[derive(Clone, Debug)]
pub struct NewDead {
    /// The event; the dead letter keeps its own copy of the bytes.
    pub event: Arc<Event>,
    /// Why.
    pub cause: Cause,
    /// Deliveries tried.
    pub attempts: u32,
    /// The last error; may quote the payload.
    pub error: String,
    /// When it died.
    pub at: Timestamp,
    /// The tries that failed.
    pub history: History,
}

/// A dead letter that was retried and not delivered.
#[derive(Clone, Debug)]
pub struct DeadAgain {
    /// Which.
    pub id: i64,
    /// Deliveries tried so far.
    pub attempts: u32,
    /// The last error; may quote the payload.
    pub error: String,
    /// The tries that failed, this one among them.
    pub history: History,
    /// It is still to be retried (the destination was unwell); else it rests until asked for.
    pub still_retrying: bool,
}

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The destination will never take it.
    Refused,
    /// It was set aside and not delivered in time.
    Expired,
}

impl Cause {
    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    /// The cause of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Refused, Self::Expired].into_iter().find(|cause| cause.as_str() == name)
    }
}

/// An event that a handler will not get unless somebody retries it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number, for commands.
    pub id: i64,
    /// The lane that it died in.
    pub lane: LaneId,
    /// The event, from the dead letter's own copy.
    pub event: Arc<Event>,
    /// Why.
    pub cause: Cause,
    /// Deliveries tried so far.
    pub attempts: u32,
    /// The last error; may quote the payload.
    pub error: String,
    /// When it died.
    pub died_at: Timestamp,
    /// It is marked to be delivered again.
    pub retrying: bool,
    /// The tries that failed.
    pub history: History,
}

/// Bytes in quarantine; identical ones are kept once.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    /// Its number, for commands.
    pub id: i64,
    /// What was kept.
    pub item: Quarantined,
    /// For a conflict: the stored event whose key it has.
    pub conflicts_with: Option<u64>,
    /// How often these bytes came.
    pub count: u64,
    /// When they came first.
    pub first_at: Timestamp,
    /// When they came last.
    pub last_at: Timestamp,
}

/// Which events to list. A page looks at a bounded number of rows: it may hold fewer than `limit` and still have a
/// next one.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only this event name.
    pub name: Option<String>,
    /// Only this source.
    pub source: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// Only what has a lower seq: where the page before ended.
    pub before: Option<u64>,
    /// At most this many; at most 1,000.
    pub limit: usize,
}

/// A page of events, newest first.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// `before` of the next page; `None` after the last.
    pub next: Option<u64>,
}

/// Which dead letters to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeadQuery {
    /// Only of this handler.
    pub handler: Option<String>,
    /// Only what has a lower id: where the page before ended.
    pub before: Option<i64>,
    /// At most this many; at most 1,000.
    pub limit: usize,
}

/// Which entries of the quarantine to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct QuarantineQuery {
    /// Only what has a lower id: where the page before ended.
    pub before: Option<i64>,
    /// At most this many; at most 1,000.
    pub limit: usize,
}

/// Figures of the journal.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Lowest and highest seq that are stored; `None` while it is empty.
    pub span: Option<(u64, u64)>,
    /// Keys in the deduplication window.
    pub keys: u64,
    /// How far back the deduplication window reaches, ms; shorter than configured once the bound of keys was met.
    pub window_ms: i64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Room: free space of the file system plus free pages of the file.
    pub room_bytes: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Dead letters, by handler.
    pub dead: Vec<(Arc<str>, u64)>,
}

/// Why the journal could not do what it was asked, appends aside.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A read failed; intake goes on.
    #[error("the journal could not be read: {0}")]
    Read(Arc<str>),
    /// A stored row does not make sense.
    #[error("row {seq} of the journal cannot be read: {what}")]
    Row {
        /// Which event.
        seq: u64,
        /// What is wrong with it.
        what: Arc<str>,
    },
    /// A lane that was never enrolled.
    #[error("the journal knows no handler {0:?}")]
    NoLane(Arc<str>),
    /// A write, sync or checkpoint failed; nothing can be assumed until a restart.
    #[error("the journal failed and needs a restart")]
    Failed,
    /// The disk is at its reserve.
    #[error("the journal's disk is full")]
    Full,
    /// The journal is closing or closed.
    #[error("the journal is closed")]
    Stopped,
}

impl Error {
    /// Its class: safe for logs, unlike the text, which may quote a row.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Read(_) => "the journal could not be read",
            Self::Row { .. } => "a row of the journal cannot be read",
            Self::NoLane(_) => "the journal does not know the handler",
            Self::Failed => "the journal failed",
            Self::Full => "the journal's disk is full",
            Self::Stopped => "the journal is closed",
        }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal {path} is in use by another process (lock file {lock}{by})")]
    Locked {
        /// The journal.
        path: String,
        /// The lock file.
        lock: String,
        /// What the lock file says of its holder, with a leading `, `.
        by: String,
    },
    /// It was written by a newer version.
    #[error(
        "the journal {path} was written by a newer bikhook (format {found}, this one knows {known}); nothing was touched"
    )]
    Newer {
        /// The journal.
        path: String,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// Written by an older version of this program, and opened by who does not write.
    #[error(
        "the journal {path} was written by an older bikhook (format {found}, this one has {known}): the receiver brings it up to date at its next start"
    )]
    Older {
        /// The journal.
        path: String,
        /// Its format.
        found: i64,
        /// The format of this version.
        known: i64,
    },
    /// The file is no journal of ours.
    #[error("{path} is not a bikhook journal: {what}")]
    Foreign {
        /// The file.
        path: String,
        /// What was found.
        what: String,
    },
    /// The file system said no.
    #[error("cannot open the journal {path}: {source}")]
    Io {
        /// The journal.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite said no.
    #[error("cannot open the journal {path}: {what}")]
    Engine {
        /// The journal.
        path: String,
        /// Why.
        what: String,
    },
}
