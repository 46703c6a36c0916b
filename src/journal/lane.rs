//! A handler's lanes: where they start, how far they have come, and how deliveries end.

use std::{collections::BTreeMap, sync::Arc};

use super::{DeadAgain, History, NewDead};
use crate::{
    clock::Timestamp,
    event::{Class, Event, OrderKey},
};

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

/// How an event stands with a handler: with that of its own lanes which the event goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The handler.
    pub handler: Arc<str>,
    /// Which of its lanes.
    pub class: Class,
    /// The lane is past it: it is delivered, not wanted, set aside or dead.
    pub passed: bool,
    /// When the lane came past it; `None` where it has not, and where that is not known (any more): it was before the
    /// handler was known, or too long ago.
    pub at: Option<Timestamp>,
    /// It was set aside, and waits to be tried again.
    pub aside: bool,
    /// The dead letter that it became.
    pub dead: Option<i64>,
}

/// Events of a class, in order.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// Every event of this class up to here is among `events`, or was before `after`.
    pub through: u64,
}

impl Claim {
    /// What was claimed of each class after one seq, as one claim of all of them, in order of seq.
    #[must_use]
    pub fn of_all(claims: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self { events: Vec::new(), through: u64::MAX };
        for claim in claims {
            all.through = all.through.min(claim.through);
            all.events.extend(claim.events);
        }
        // What is past the end of the shorter claim may have others before it.
        all.events.retain(|event| event.seq <= all.through);
        all.events.sort_unstable_by_key(|event| event.seq);
        all
    }
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
