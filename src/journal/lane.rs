//! Lanes of a handler: start and progress.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::History;
use crate::{
    clock::Timestamp,
    event::{Class, Event, OrderKey},
};

/// Identifies a lane of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    pub handler: Arc<str>,
    /// The class of events that the lane delivers.
    pub class: Class,
    /// The replay that it belongs to; `None` for the handler's own lanes.
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
    // Who paused it, or the error that did; safe for logs.
    pub reason: String,
}

/// A configured handler, and where it starts if the journal does not know it yet.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub handler: Arc<str>,
    /// `None` starts at the beginning if the journal has never held an event, otherwise at the tip.
    pub start: Option<LaneStart>,
    /// True if the handler announces dead letters. While one does, the journal stores an event of the source
    /// `bikhook` for each new dead letter.
    pub dead_letters: bool,
}

/// Where a handler starts that the journal does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneStart {
    /// After the last stored event.
    Now,
    /// With the oldest stored event.
    Beginning,
    /// With the first event received at or after this time.
    At(Timestamp),
}

/// The delivery state of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// Every event up to this seq is delivered, not wanted, set aside or dead.
    pub cursor: u64,
    /// The events set aside, in order of seq.
    pub aside: Vec<Aside>,
    /// Number of its dead letters. 0 for a replay, whose dead letters belong to the handler's own lane.
    pub dead: u64,
    /// Seqs after the cursor that are dead letters of this lane or replay, in ascending order. For a handler's own lane
    /// also those whose dead letter was dropped, or delivered by a retry.
    pub dead_past_cursor: Vec<u64>,
}

/// An event that was set aside: it is delivered later than its place in the lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub seq: u64,
    /// Its ordering key: later events of the same message wait behind it.
    pub order_key: Option<OrderKey>,
    /// True if it waits behind an earlier event of its message.
    pub behind: bool,
    /// Number of deliveries tried so far.
    pub attempts: u32,
    /// When it was set aside.
    pub since: Timestamp,
    /// When it is tried next.
    pub next_try: Timestamp,
    /// The last error, which may quote the payload.
    pub error: String,
    /// The tries that failed.
    pub history: History,
}

/// The state of an event in one lane of a handler: the lane that the event goes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Passage")]
pub struct HandlerProgress {
    pub handler: Arc<str>,
    #[serde(rename = "lane")]
    pub class: Class,
    /// The lane is past the event: it was delivered, filtered out, set aside or became a dead letter.
    pub passed: bool,
    /// When the lane passed the event; null if it has not passed it, or if the time is not stored or no longer stored.
    pub at: Option<Timestamp>,
    /// The event is set aside and waits for a retry.
    pub aside: bool,
    /// The id of the dead letter that the event became; null if it became none.
    pub dead: Option<i64>,
}

/// Events of a class, in order of seq.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The events, in order of seq.
    pub events: Vec<Arc<Event>>,
    /// Every event of this class after the claim's start and up to this seq is in `events`.
    pub through: u64,
}

impl Claim {
    /// Merges claims of several classes that start at the same seq into one, in order of seq.
    #[must_use]
    pub fn of_all(claims: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self { events: Vec::new(), through: u64::MAX };
        for claim in claims {
            all.through = all.through.min(claim.through);
            all.events.extend(claim.events);
        }
        // Past the end of the shortest claim, events of its class may be missing.
        all.events.retain(|event| event.seq <= all.through);
        all.events.sort_unstable_by_key(|event| event.seq);
        all
    }
}
