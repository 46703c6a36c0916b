//! Replays: what is stored is delivered to a handler once more, at a pace of its own.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use crate::clock::Timestamp;

/// A replay that is asked for.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// The handler's name in the configuration.
    pub handler: Arc<str>,
    /// It begins after this seq.
    pub after: u64,
    /// It ends with this seq.
    pub upto: u64,
    /// Which events, beside what the handler wants: JSON that the journal does not read.
    pub filter: String,
    /// Events a second at most.
    pub rate: Option<NonZeroU32>,
}

/// A replay, at work or ended.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What was asked for.
    pub asked: NewReplay,
    /// What became of it.
    pub state: ReplayState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// The replays that are known, by id: those at work, and the last that ended.
pub type Replays = Arc<BTreeMap<i64, Replay>>;

/// What becomes of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// It delivers, or waits for its turn.
    Running,
    /// It is held back.
    Paused,
    /// Everything was delivered, or is a dead letter.
    Done,
    /// Somebody ended it.
    Cancelled,
}

impl ReplayState {
    const ALL: [Self; 4] = [Self::Running, Self::Paused, Self::Done, Self::Cancelled];

    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing follows.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}
