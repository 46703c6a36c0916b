//! Replays: the request that starts one, and the progress of each.

use std::{num::NonZeroU32, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    admin::selection::FilterSelection, clock::Timestamp, dispatch::LaneStatus, journal::ReplayState,
};

/// The body of `POST replays`: `{"handler": "crm"}` and optional members.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(bound = "F: Default + JsonSchema")]
#[schemars(extend("example" = {"handler": "crm", "filter": {"statuses": ["failed"]}, "dryRun": true}))]
pub(crate) struct ReplayRequest<F> {
    pub handler: String,
    /// Only events received at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only events received before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// A filter with the same members as a handler's filter. The replay delivers only events that match both this
    /// filter and the handler's.
    #[serde(default)]
    pub filter: F,
    /// The maximum number of events per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU32>,
    /// Only count the events; deliver nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The replays: the answer to `GET replays`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReplayList<R> {
    pub replays: Vec<R>,
}

/// A replay and its progress.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Replay")]
pub(crate) struct ReplayRow<S = ReplayState, L = LaneStatus> {
    pub id: i64,
    pub handler: Arc<str>,
    pub state: S,
    /// Why the replay delivers nothing now; null if the replay delivers, is paused, or has ended.
    pub waits: Option<String>,
    /// The replay covers events with a seq above this one.
    pub after: u64,
    /// The replay covers events up to and including this seq.
    pub upto: u64,
    /// The replay is done with all events up to this seq. In the state `done`, this is `upto`. In any other state, this
    /// is null if the replay has not started in this run of the process.
    pub cursor: Option<u64>,
    /// Number of events that the filters of the handler and of the replay select; null until they are counted in this
    /// run of the process.
    pub events: Option<u64>,
    /// Number of events that the replay is done with, out of `events`. They were delivered or set aside, became dead
    /// letters, or are left to the handler's own lanes, which have set them aside. Null until `events` is known.
    pub done: Option<u64>,
    /// Number of events delivered in this run of the process; null if the replay has not started in this run.
    pub delivered: Option<u64>,
    #[schemars(with = "FilterSelection")]
    pub filter: Box<RawValue>,
    /// The maximum number of events per second; null without a limit.
    pub rate: Option<NonZeroU32>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub lanes: Vec<L>,
}

/// The events that a replay would deliver.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DryRun {
    #[schemars(extend("const" = true))]
    pub dry_run: bool,
    pub handler: Arc<str>,
    pub events: u64,
    /// The seq of the first of these events; null if there is none.
    pub first: Option<u64>,
    /// The seq of the last of these events; null if there is none.
    pub last: Option<u64>,
}

/// The started replay; with `dryRun`, the number of events that it would deliver.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ReplayOrDryRun {
    Replay(Box<ReplayRow>),
    DryRun(DryRun),
}
