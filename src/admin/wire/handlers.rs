//! Handlers and their lanes: their state, and the operator's changes to it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;
use crate::{clock::Timestamp, dispatch::LaneStatus, journal::Pause};

/// The handlers: the answer to `GET handlers`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct HandlerList<R> {
    pub handlers: Vec<R>,
}

/// A handler with its lanes.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Handler")]
pub(crate) struct HandlerReport<L = LaneStatus> {
    pub handler: Arc<str>,
    /// Null if the handler is no longer in the configuration; `destination` is then null too.
    pub kind: Option<Word>,
    /// Where the handler delivers, without secrets.
    pub destination: Option<Arc<str>>,
    /// When and why the handler was paused; null if it is not paused.
    pub paused: Option<Pause>,
    /// Number of dead letters of the handler.
    pub dead: u64,
    pub lanes: Vec<L>,
}

/// A lane, as the command line reads it. A running receiver answers with a [`LaneStatus`]. If the receiver is stopped,
/// the lane comes from the journal, and the members that the journal does not store are absent.
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
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Nothing")]
pub(crate) struct EmptyBody {}

/// The maximum length, in characters, of the reason for a pause. The reason is shown in one line of a table.
pub(crate) const REASON_CHARS: usize = 200;

/// The body `{}` or `{"reason": "TEXT"}`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("example" = {"reason": "maintenance of the CRM"}))]
pub(crate) struct PauseRequest {
    /// One line of text. Null is the same as no reason.
    #[schemars(length(max = REASON_CHARS), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The handler, with the time and the reason of its pause.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Paused {
    pub handler: Arc<str>,
    pub paused: Option<Pause>,
}

/// The handler, and whether it was paused before this request.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Resumed {
    pub handler: Arc<str>,
    pub resumed: bool,
}

/// The body `{"to": NAME}`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rename")]
pub(crate) struct RenameRequest {
    /// A name of 1 to 64 characters: a-z, 0-9, _ and -.
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,64}$"))]
    pub to: String,
}

/// The old and the new name of the handler.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Renamed {
    pub handler: String,
    /// The new name.
    pub to: String,
}

/// The handler. Its events that wait for a retry are retried at once.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RetriedHandler {
    pub handler: Arc<str>,
}

/// The refusals that are accepted. Events up to `upto` that the destination refuses with one of `classes` become dead
/// letters. In each lane, the next success ends the acceptance.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Believed {
    pub handler: Arc<str>,
    /// The refusals are accepted for events up to this seq.
    pub upto: u64,
    /// The error classes of the refusals, such as `status 422`; empty if no lane has an event in doubt.
    pub classes: Vec<String>,
}

/// The body `{"before": SEQ}` or `{"before": TIME}`, with `"dryRun": true` to only count the events.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("example" = {"before": 1}))]
pub(crate) struct SkipRequest {
    /// Skip the undelivered events below this seq, or those received before this time.
    pub before: Before,
    /// Count the events and skip none.
    #[serde(default)]
    pub dry_run: bool,
}

/// A position in the journal: a seq or a time.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "before: give a seq as a number, or a time such as 2026-01-31T09:30:00Z")]
pub(crate) enum Before {
    Seq(u64),
    Time(Timestamp),
}

/// The handler, the seq before which events are skipped, and how many events these are.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Skipped {
    pub handler: String,
    /// The undelivered events below this seq are skipped.
    pub before: u64,
    /// Number of lanes that skip their events.
    pub lanes: usize,
    /// Number of undelivered events that are skipped, in all lanes together. Events that the handler's filter does not
    /// select are not counted. Null if the events could not be counted; they are skipped nevertheless.
    pub events: Option<u64>,
    /// Number of events below `before` whose delivery is in flight. Such an event is skipped only if its delivery
    /// fails.
    pub in_flight: u64,
    /// The events are only counted.
    pub dry_run: bool,
}
