//! Dead letters.

use std::sync::Arc;

use super::{History, LaneId};
use crate::{clock::Timestamp, event::Event};

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
