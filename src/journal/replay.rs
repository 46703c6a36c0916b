//! Replays, which deliver stored events to a handler again. Each replay has its own optional rate limit.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{clock::Timestamp, names::names};

/// A request for a replay.
#[derive(Clone, Debug)]
pub struct NewReplay {
    pub handler: Arc<str>,
    /// The replay starts after this seq.
    pub after: u64,
    /// The last seq that the replay includes.
    pub upto: u64,
    /// A filter in JSON. The replay delivers an event only if this filter and the handler's filter both select it. The
    /// journal does not interpret the filter.
    pub filter: String,
    /// Maximum rate in events per second; `None` for no limit.
    pub rate: Option<NonZeroU32>,
}

/// A stored replay and its state. Its cursors are in its two lanes.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The request that started it.
    pub request: NewReplay,
    pub state: ReplayState,
    pub created_at: Timestamp,
    /// When it ended; `None` until then.
    pub ended_at: Option<Timestamp>,
}

/// Known replays by id: those that have not ended, and those that ended most recently.
pub type Replays = Arc<BTreeMap<i64, Replay>>;

names! {
    /// The state of a replay.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum ReplayState {
        /// The replay delivers, or waits until it can: for example until an earlier replay of the handler has ended.
        Running = "running",
        /// The replay starts no delivery until it is resumed.
        Paused = "paused",
        /// The replay has ended: every selected event was delivered or is a dead letter, except those that the
        /// handler's own lane had set aside. The own lane delivers them.
        Done = "done",
        /// An operator ended the replay early.
        Cancelled = "cancelled",
    }
}

impl ReplayState {
    /// True for final states, which never change again.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}
