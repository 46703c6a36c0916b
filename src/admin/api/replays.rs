//! Replays: stored events are delivered to a handler again.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use super::number;
use crate::{
    admin::{
        Shared,
        decision::replays::{self, Plan},
        fault::Fault,
        question::{Asked, Chosen, Parameters, Segment},
        wire::{DryRun, Nothing, ReplayList, ReplayRequest, ReplayRow},
    },
    dispatch::Matches,
    journal::ReplayState,
};

/// `POST replays`: replays the events that are stored now; later events are not included.
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Asked(request): Asked<ReplayRequest<Chosen>>,
) -> Result<Response, Fault> {
    let ReplayRequest { handler, since, until, filter: chosen, rate, dry_run } = request;
    let wish = replays::Wish { handler, since, until, upto: None, chosen, rate };
    let plan = Plan::of(&shared, wish).await?;
    let plan = plan.ok_or_else(|| Fault::Nothing("event that was received in that time".to_owned()))?;
    if dry_run {
        let Matches { events, first, last } = plan.count(&shared).await?;
        let handler = plan.new.handler;
        return Ok(Json(DryRun { dry_run: true, handler, events, first, last }).into_response());
    }
    let id = plan.start(&shared).await?;
    Ok(Json(ReplayRow::one(&shared, id)?).into_response())
}

/// `GET replays`: the active replays and the last that ended, oldest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    Ok(Json(ReplayList { replays: ReplayRow::all(&shared)? }).into_response())
}

/// `GET replays/{id}`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    Ok(Json(ReplayRow::one(&shared, number("id", &id)?)?).into_response())
}

/// `POST replays/{id}/pause`: starts no more deliveries until the replay is resumed, also after a restart.
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

/// `POST replays/{id}/cancel`: ends the replay permanently. Events that it delivered stay delivered.
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
    Ok(Json(ReplayRow::one(&shared, id)?).into_response())
}
