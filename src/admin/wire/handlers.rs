//! Handlers and their lanes: state, and decisions with their results.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Word;
use crate::{clock::Timestamp, dispatch::LaneStatus, journal::Pause};

/// The answer to `GET handlers`.
#[derive(Serialize, Deserialize)]
pub(crate) struct HandlerList<R> {
    pub handlers: Vec<R>,
}

/// A handler with both of its lanes.
#[derive(Serialize, Deserialize)]
pub(crate) struct HandlerReport<L = LaneStatus> {
    pub handler: Arc<str>,
    /// Null if the handler is no longer in the configuration; `destination` is then null too.
    pub kind: Option<Word>,
    /// Where the handler delivers, without secrets.
    pub destination: Option<Arc<str>>,
    /// When and why the handler was paused; null if it is not paused.
    pub paused: Option<PauseRow>,
    pub dead: u64,
    pub lanes: Vec<L>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PauseRow {
    pub at: Timestamp,
    pub reason: String,
}

impl From<&Pause> for PauseRow {
    fn from(pause: &Pause) -> Self {
        Self { at: pause.at, reason: pause.reason.clone() }
    }
}

/// A lane, as the command line reads it; the API writes [`LaneStatus`]. Of a stopped receiver only the state in
/// the journal is known, and the other members are absent.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LaneReport {
    pub lane: String,
    pub cursor: u64,
    pub lag: u64,
    pub lag_seconds: u64,
    pub set_aside: u64,
    pub delivered: Option<u64>,
    pub state: Option<String>,
    pub next_try: Option<Timestamp>,
    pub waits_for: Option<String>,
    pub last_failure: Option<String>,
    pub last_failure_at: Option<Timestamp>,
    pub open_error: Option<String>,
}

/// The empty body `{}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyBody {}

/// The body `{}` or `{"reason": "TEXT"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Paused {
    pub handler: Arc<str>,
    pub paused: Option<PauseRow>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Resumed {
    pub handler: Arc<str>,
    pub resumed: bool,
}

/// The body `{"to": NAME}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameRequest {
    pub to: String,
}

#[derive(Serialize)]
pub(crate) struct Renamed {
    pub handler: String,
    pub to: String,
}

#[derive(Serialize)]
pub(crate) struct RetriedHandler {
    pub handler: Arc<str>,
}

/// The refusals that an operator accepted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Believed {
    pub handler: Arc<str>,
    /// Applies to events up to this seq.
    pub upto: u64,
    /// The classes of refusals, such as `status 422`; empty if no lane has refused events.
    pub classes: Vec<String>,
}

/// The body `{"before": SEQ}` or `{"before": TIME}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkipRequest {
    pub before: Before,
}

/// A position in the journal: a seq or a time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged, expecting = "before: give a seq as a number, or a time such as 2026-01-31T09:30:00Z")]
pub(crate) enum Before {
    Seq(u64),
    Time(Timestamp),
}

/// The result of a skip.
#[derive(Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub handler: String,
    /// All events below this seq are skipped.
    pub before: u64,
    pub lanes: usize,
}
