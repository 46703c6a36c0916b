//! Replays: stored events are delivered to a handler again.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::ApiResult;
use crate::{
    admin::{
        AdminState,
        decision::replays::{self, Plan},
        error::RequestError,
        params::{JsonBody, Parameters, Segment},
        selection::FilterSelection,
        wire::{DryRun, EmptyBody, ReplayList, ReplayOrDryRun, ReplayRequest, ReplayRow},
    },
    dispatch::Matches,
    journal::ReplayState,
};

/// `POST replays`: replays the events that are stored now; later events are not included.
pub(super) async fn start(
    State(shared): State<Arc<AdminState>>,
    JsonBody(request): JsonBody<ReplayRequest<FilterSelection>>,
) -> ApiResult<ReplayOrDryRun> {
    let dry_run = request.dry_run;
    let plan = Plan::of(&shared, request, None).await?;
    let plan =
        plan.ok_or_else(|| RequestError::NotFound("event that was received in that time".to_owned()))?;
    if dry_run {
        let Matches { events, first, last } = plan.count(&shared).await?;
        let handler = plan.new.handler;
        return Ok(Json(ReplayOrDryRun::DryRun(DryRun { dry_run: true, handler, events, first, last })));
    }
    let id = plan.start(&shared).await?;
    Ok(Json(ReplayOrDryRun::Replay(Box::new(ReplayRow::one(&shared, id)?))))
}

/// `GET replays`: the active replays and those that ended last, oldest first.
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    _: Parameters<()>,
) -> ApiResult<ReplayList<ReplayRow>> {
    Ok(Json(ReplayList { replays: ReplayRow::all(&shared)? }))
}

/// `GET replays/{id}`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<i64>,
    _: Parameters<()>,
) -> ApiResult<ReplayRow> {
    Ok(Json(ReplayRow::one(&shared, id)?))
}

/// `POST replays/{id}/pause`: the replay starts no more deliveries until it is resumed. A restart does not resume it.
pub(super) async fn pause(
    state: State<Arc<AdminState>>,
    id: Segment<i64>,
    body: JsonBody<EmptyBody>,
) -> ApiResult<ReplayRow> {
    change(state, id, body, ReplayState::Paused).await
}

/// `POST replays/{id}/resume`
pub(super) async fn resume(
    state: State<Arc<AdminState>>,
    id: Segment<i64>,
    body: JsonBody<EmptyBody>,
) -> ApiResult<ReplayRow> {
    change(state, id, body, ReplayState::Running).await
}

/// `POST replays/{id}/cancel`: ends the replay permanently. Events that it delivered stay delivered.
pub(super) async fn cancel(
    state: State<Arc<AdminState>>,
    id: Segment<i64>,
    body: JsonBody<EmptyBody>,
) -> ApiResult<ReplayRow> {
    change(state, id, body, ReplayState::Cancelled).await
}

async fn change(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<i64>,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
    to: ReplayState,
) -> ApiResult<ReplayRow> {
    replays::change(&shared, id, to).await?;
    Ok(Json(ReplayRow::one(&shared, id)?))
}
