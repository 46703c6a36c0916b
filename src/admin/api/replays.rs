//! Replays: what is stored is delivered to a handler once more.

use std::{num::NonZeroU32, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{handlers::Nothing, number};
use crate::{
    admin::{
        Shared,
        decision::replays::{self, Plan, Row},
        fault::Fault,
        question::{Asked, Chosen, Parameters, Segment},
    },
    clock::Timestamp,
    dispatch::Matches,
    journal::ReplayState,
};

/// What to replay: `{"handler": "crm"}`, and what else is given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wish {
    handler: String,
    /// Received at this time or later.
    since: Option<Timestamp>,
    /// Received before this time.
    until: Option<Timestamp>,
    /// Which events, beside what the handler wants: the keys of a handler's filters.
    #[serde(default)]
    filter: Chosen,
    /// Events a second at most.
    rate: Option<NonZeroU32>,
    /// Count, and deliver nothing.
    #[serde(default)]
    dry_run: bool,
}

/// `POST replays`: what is stored now, and not what comes later.
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Asked(wish): Asked<Wish>,
) -> Result<Response, Fault> {
    let Wish { handler, since, until, filter: chosen, rate, dry_run } = wish;
    let wish = replays::Wish { handler, since, until, upto: None, chosen, rate };
    let plan = Plan::of(&shared, wish).await?;
    let plan = plan.ok_or_else(|| Fault::Nothing("event that was received in that time".to_owned()))?;
    if dry_run {
        let Matches { events, first, last } = plan.count(&shared).await?;
        let handler = plan.new.handler;
        return Ok(Json(DryRun { dry_run: true, handler, events, first, last }).into_response());
    }
    let id = plan.start(&shared).await?;
    Ok(Json(Row::one(&shared, id)?).into_response())
}

/// What a replay would deliver.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DryRun {
    dry_run: bool,
    handler: Arc<str>,
    events: u64,
    first: Option<u64>,
    last: Option<u64>,
}

/// `GET replays`: those at work and the last that ended, oldest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    #[derive(Serialize)]
    struct Answer {
        replays: Vec<Row>,
    }
    Ok(Json(Answer { replays: Row::all(&shared)? }).into_response())
}

/// `GET replays/{id}`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    Ok(Json(Row::one(&shared, number("id", &id)?)?).into_response())
}

/// `POST replays/{id}/pause`: it starts no delivery until it is resumed, also after a restart.
pub(super) async fn pause(
    state: State<Arc<Shared>>,
    id: Segment,
    asked: Asked<Nothing>,
) -> Result<Response, Fault> {
    change(state, id, asked, ReplayState::Paused).await
}

/// `POST replays/{id}/resume`
pub(super) async fn resume(
    state: State<Arc<Shared>>,
    id: Segment,
    asked: Asked<Nothing>,
) -> Result<Response, Fault> {
    change(state, id, asked, ReplayState::Running).await
}

/// `POST replays/{id}/cancel`: for good. What it has delivered stays delivered.
pub(super) async fn cancel(
    state: State<Arc<Shared>>,
    id: Segment,
    asked: Asked<Nothing>,
) -> Result<Response, Fault> {
    change(state, id, asked, ReplayState::Cancelled).await
}

async fn change(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    Asked(Nothing {}): Asked<Nothing>,
    to: ReplayState,
) -> Result<Response, Fault> {
    let id = number("id", &id)?;
    replays::change(&shared, id, to).await?;
    Ok(Json(Row::one(&shared, id)?).into_response())
}
