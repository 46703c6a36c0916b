//! Handlers and their lanes: state, and decisions with their results.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Word;
use crate::{
    clock::Timestamp,
    dispatch::{LaneCondition, LaneStatus},
    journal::Pause,
};

/// The answer to `GET handlers`.
#[derive(Serialize, Deserialize)]
pub(crate) struct HandlerList<R> {
    pub handlers: Vec<R>,
}

/// A handler with both of its lanes.
#[derive(Serialize, Deserialize)]
pub(crate) struct HandlerReport<S = LaneCondition> {
    pub handler: Arc<str>,
    /// Null if the handler is no longer in the configuration; `destination` is then null too.
    pub kind: Option<Word>,
    /// Where the handler delivers, without secrets.
    pub destination: Option<Arc<str>>,
    /// When and why the handler was paused; null if it is not paused.
    pub paused: Option<PauseRow>,
    pub dead: u64,
    #[serde(bound(deserialize = "S: Default + Deserialize<'de>"))]
    pub lanes: Vec<LaneReport<S>>,
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

/// A lane. The members are those of [`LaneStatus`]. Of a stopped receiver only the state in the journal is known, and
/// the other members are absent.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LaneReport<S = LaneCondition> {
    pub handler: Arc<str>,
    pub kind: Word,
    pub lane: Word,
    pub cursor: u64,
    pub lag: u64,
    pub oldest_at: Option<Timestamp>,
    pub lag_seconds: u64,
    pub in_flight: usize,
    pub set_aside: usize,
    /// Never null in an answer.
    pub delivered: Option<u64>,
    pub delivered_at: Option<Timestamp>,
    /// Never null in an answer.
    pub state: Option<S>,
    pub failures: u32,
    pub unwell_since: Option<Timestamp>,
    pub next_try: Option<Timestamp>,
    pub waits_for: Option<String>,
    pub refused: Option<String>,
    pub last_failure: Option<String>,
    pub last_failure_at: Option<Timestamp>,
    pub open_error: Option<String>,
}

impl From<LaneStatus> for LaneReport {
    fn from(lane: LaneStatus) -> Self {
        Self {
            handler: lane.handler,
            kind: lane.kind.into(),
            lane: lane.lane.into(),
            cursor: lane.cursor,
            lag: lane.lag,
            oldest_at: lane.oldest_at,
            lag_seconds: lane.lag_seconds,
            in_flight: lane.in_flight,
            set_aside: lane.set_aside,
            delivered: Some(lane.delivered),
            delivered_at: lane.delivered_at,
            state: Some(lane.state),
            failures: lane.failures,
            unwell_since: lane.unwell_since,
            next_try: lane.next_try,
            waits_for: lane.waits_for,
            refused: lane.refused,
            last_failure: lane.last_failure,
            last_failure_at: lane.last_failure_at,
            open_error: lane.open_error,
        }
    }
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
