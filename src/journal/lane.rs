//! Lanes of a handler: start and progress.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::History;
use crate::{
    clock::Timestamp,
    event::{Class, Event, OrderKey},
    names::names,
};

/// Identifies a lane of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    pub handler: Arc<str>,
    /// The class of events that the lane delivers.
    pub class: Class,
    /// The id of the replay that the lane belongs to; `None` for the handler's own lanes.
    pub replay: Option<i64>,
}

impl LaneId {
    /// One of a handler's own lanes.
    pub const fn live(handler: Arc<str>, class: Class) -> Self {
        Self { handler, class, replay: None }
    }
}

/// The paused handlers, by name.
pub type Pauses = Arc<BTreeMap<Arc<str>, Pause>>;

/// When and why a handler was paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    pub at: Timestamp,
    // Who paused the handler, or the error that caused the pause; safe for logs.
    pub reason: String,
}

/// A configured handler, and where it starts if the journal does not know it yet.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub handler: Arc<str>,
    /// `None` starts at the beginning if the journal has never held an event, otherwise at the tip.
    pub start: Option<LaneStart>,
    /// True if the handler delivers announcements of dead letters. Announcements are events of the source `bikhook`.
    /// While such a handler is configured, the journal stores an announcement for each new dead letter that is not
    /// itself an announcement.
    pub dead_letters: bool,
}

/// Where a handler starts if the journal does not know it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneStart {
    /// After the last stored event.
    Now,
    /// With the oldest stored event.
    Beginning,
    /// With the first event received at or after this time; after the last stored event if there is none.
    At(Timestamp),
}

/// The delivery state of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// The lane is done with every event up to this seq. A lane is done with an event that was delivered, filtered out,
    /// set aside or skipped, or that became a dead letter. Events before the handler's start count as done. For a
    /// replay, the events that the handler's own lane has set aside count as done, too.
    pub cursor: u64,
    /// The events set aside, in order of seq.
    pub aside: Vec<Aside>,
    /// Number of dead letters of the lane; 0 for a replay, whose dead letters belong to the handler's own lane.
    pub dead: u64,
    /// Seqs after the cursor, in ascending order. This lane turned the events with these seqs into dead letters. For a
    /// handler's own lane, this includes events whose dead letters were deleted since: dropped, expired, or delivered
    /// by a retry.
    pub dead_past_cursor: Vec<u64>,
}

/// The maximum length of the error text of a set-aside event, in characters. Set-aside events are in memory with their
/// errors, and a destination may answer with a page of any size.
pub const ASIDE_ERROR_CHARS: usize = 400;

/// An event that was set aside: the lane continues with later events and delivers this one later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub seq: u64,
    /// Events with the same order key belong to one message and are delivered in order; `None` if the event has no
    /// `messageId`.
    pub order_key: Option<OrderKey>,
    /// True if the event waits until an earlier set-aside event of its message is done.
    pub behind: bool,
    /// Number of deliveries tried so far.
    pub attempts: u32,
    /// When it was set aside.
    pub since: Timestamp,
    /// When the event is tried next.
    pub next_try: Timestamp,
    /// The last error, which may quote the payload; empty if the event has not failed. Cut after
    /// [`ASIDE_ERROR_CHARS`].
    pub error: String,
    /// The tries that failed.
    pub history: History,
}

/// The state of an event in one of a handler's own lanes: the lane of the event's class. Deliveries by replays are not
/// counted: an event that the own lane skipped stays skipped after a replay has delivered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Passage")]
pub struct HandlerProgress {
    pub handler: Arc<str>,
    #[serde(rename = "lane")]
    pub class: Class,
    pub state: DeliveryState,
    /// Who skipped the event or dropped its dead letter; null otherwise.
    pub by: Option<Arc<str>>,
    /// The lane is done with this event and all earlier ones. A lane is done with an event that was delivered, filtered
    /// out, set aside or skipped, that became a dead letter, or that is older than the handler's start.
    pub passed: bool,
    /// When the event got its state; for a delivered event, when the lane was done with it and all earlier ones. Null
    /// if the event waits, is not wanted or is older than the handler's start, or if the time is not stored or no
    /// longer stored.
    pub at: Option<Timestamp>,
    /// The event is set aside and is tried again later.
    pub aside: bool,
    /// The id of the dead letter that the event became; null if it became none, or if the dead letter was deleted.
    pub dead: Option<i64>,
}

names! {
    /// The state of an event in a handler's own lane. Deliveries by replays are not counted.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum DeliveryState {
        /// The event is not delivered yet. A delivered event stays in this state until its lane is done with all
        /// earlier events.
        Waiting = "waiting",
        /// The event was delivered.
        Delivered = "delivered",
        /// The handler's filter, as it is now, does not select the event.
        #[serde(rename = "not wanted")]
        NotWanted = "not wanted",
        /// The event is older than the handler's start.
        #[serde(rename = "before start")]
        BeforeStart = "before start",
        /// The event is set aside and is tried again later.
        #[serde(rename = "set aside")]
        SetAside = "set aside",
        /// The event is a dead letter.
        Dead = "dead",
        /// An operator skipped the event.
        Skipped = "skipped",
        /// The event became a dead letter, and an operator dropped the dead letter.
        Dropped = "dropped",
        /// The event became a dead letter, and retention deleted the dead letter.
        Expired = "expired",
    }
}

/// Events of one or both classes, in order of seq.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The events, in order of seq.
    pub events: Vec<Arc<Event>>,
    /// Every event of the claimed classes after the claim's start and up to this seq is in `events`.
    pub through: u64,
}

impl Claim {
    /// Merges claims of different classes into one claim, in order of seq. The claims must all start at the same seq.
    #[must_use]
    pub fn of_all(claims: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self { events: Vec::new(), through: u64::MAX };
        for claim in claims {
            all.through = all.through.min(claim.through);
            all.events.extend(claim.events);
        }
        // After the lowest `through`, events of one class may be missing.
        all.events.retain(|event| event.seq <= all.through);
        all.events.sort_unstable_by_key(|event| event.seq);
        all
    }
}
