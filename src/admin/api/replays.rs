//! Replays: stored events are delivered to a handler again.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};

use super::ApiResult;
use crate::{
    admin::{
        AdminState,
        decision::replays::{self, Plan, ReplaySelection},
        error::RequestError,
        params::{JsonBody, Parameters, Segment, parse_number},
        selection::FilterSelection,
        wire::{DryRun, EmptyBody, ReplayList, ReplayRequest, ReplayRow},
    },
    dispatch::Matches,
    journal::ReplayState,
};

/// `POST replays`: replays the events that are stored now; later events are not included.
pub(super) async fn start(
    State(shared): State<Arc<AdminState>>,
    JsonBody(request): JsonBody<ReplayRequest<FilterSelection>>,
) -> ApiResult {
    let ReplayRequest { handler, since, until, filter, rate, dry_run } = request;
    let selection = ReplaySelection { handler, since, until, upto: None, filter, rate };
    let plan = Plan::of(&shared, selection).await?;
    let plan =
        plan.ok_or_else(|| RequestError::NotFound("event that was received in that time".to_owned()))?;
    if dry_run {
        let Matches { events, first, last } = plan.count(&shared).await?;
        let handler = plan.new.handler;
        return Ok(Json(DryRun { dry_run: true, handler, events, first, last }).into_response());
    }
    let id = plan.start(&shared).await?;
    Ok(Json(ReplayRow::one(&shared, id)?).into_response())
}

/// `GET replays`: the active replays and the last that ended, oldest first.
pub(super) async fn list(State(shared): State<Arc<AdminState>>, parameters: Parameters) -> ApiResult {
    parameters.end()?;
    Ok(Json(ReplayList { replays: ReplayRow::all(&shared)? }).into_response())
}

/// `GET replays/{id}`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> ApiResult {
    parameters.end()?;
    Ok(Json(ReplayRow::one(&shared, parse_number("id", &id)?)?).into_response())
}

/// `POST replays/{id}/pause`: starts no more deliveries until the replay is resumed, also after a restart.
pub(super) async fn pause(
    state: State<Arc<AdminState>>,
    id: Segment,
    body: JsonBody<EmptyBody>,
) -> ApiResult {
    change(state, id, body, ReplayState::Paused).await
}

/// `POST replays/{id}/resume`
pub(super) async fn resume(
    state: State<Arc<AdminState>>,
    id: Segment,
    body: JsonBody<EmptyBody>,
) -> ApiResult {
    change(state, id, body, ReplayState::Running).await
}

/// `POST replays/{id}/cancel`: ends the replay permanently. Events that it delivered stay delivered.
pub(super) async fn cancel(
    state: State<Arc<AdminState>>,
    id: Segment,
    body: JsonBody<EmptyBody>,
) -> ApiResult {
    change(state, id, body, ReplayState::Cancelled).await
}

async fn change(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
    to: ReplayState,
) -> ApiResult {
    let id = parse_number("id", &id)?;
    replays::change(&shared, id, to).await?;
    Ok(Json(ReplayRow::one(&shared, id)?).into_response())
}
