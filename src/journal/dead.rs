//! Dead letters: events that a handler does not get unless somebody retries them.

use std::sync::Arc;

use schemars::JsonSchema;

use super::{History, LaneId};
use crate::{clock::Timestamp, event::Event, names::names};

/// An event that has just become a dead letter.
#[derive(Clone, Debug)]
pub struct NewDead {
    /// The event. The dead letter stores its own copy of the bytes.
    pub event: Arc<Event>,
    /// Why it became a dead letter.
    pub cause: Cause,
    /// Number of deliveries tried.
    pub attempts: u32,
    /// The last error, which may quote the payload.
    pub error: String,
    /// When it became a dead letter.
    pub at: Timestamp,
    /// The tries that failed.
    pub history: History,
}

/// A dead letter whose retry failed.
#[derive(Clone, Debug)]
pub struct DeadAgain {
    pub id: i64,
    /// Number of deliveries tried so far.
    pub attempts: u32,
    /// The last error, which may quote the payload.
    pub error: String,
    /// The tries that failed, including this retry.
    pub history: History,
    /// True if the dead letter stays marked for retry and is tried again. False if this retry failed for the reason
    /// [`Cause::Refused`], or if no more tries are allowed. Then the dead letter waits until somebody requests a retry
    /// again.
    pub still_retrying: bool,
}

names! {
    /// Why an event became a dead letter.
    #[derive(JsonSchema)]
    #[schemars(rename = "DeadLetterCause", rename_all = "lowercase")]
    pub enum Cause {
        /// The destination refuses the event, or the event cannot be sent to it.
        Refused = "refused",
        /// The event was set aside and not delivered within `aside_for`.
        Expired = "expired",
    }
}

/// An event that a handler does not get unless somebody retries it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The id that commands use.
    pub id: i64,
    /// The handler's own lane for the event's class, even if a replay tried the event last.
    pub lane: LaneId,
    /// The event, from the dead letter's own copy.
    pub event: Arc<Event>,
    /// Why it became a dead letter.
    pub cause: Cause,
    /// Number of deliveries tried so far.
    pub attempts: u32,
    /// The last error, which may quote the payload.
    pub error: String,
    /// When it became a dead letter.
    pub died_at: Timestamp,
    /// True if it is marked for retry.
    pub retrying: bool,
    /// The tries that failed.
    pub history: History,
}

/// Filter and position of a page of dead letters, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeadQuery {
    /// Only dead letters of this handler.
    pub handler: Option<String>,
    /// Only dead letters with an id below this one. For a next page, this is the last id of the previous page.
    pub before: Option<i64>,
    /// Maximum number of dead letters, clamped to 1..=1,000.
    pub limit: usize,
}
