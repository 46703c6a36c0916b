//! The state of the clock, and the operator's confirmation that the wall clock is right.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::ApiResult;
use crate::{
    admin::{
        AdminState,
        decision::clock,
        params::{JsonBody, Parameters},
        wire::{AcceptedClock, EmptyBody},
    },
    clock::ClockStatus,
};

/// `GET clock`
pub(super) async fn show(State(shared): State<Arc<AdminState>>, _: Parameters<()>) -> ApiResult<ClockStatus> {
    Ok(Json(shared.parts.journal.clock().status()))
}

/// `POST clock/accept`: the operator confirms that the wall clock is right.
pub(super) async fn accept(
    State(shared): State<Arc<AdminState>>,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
) -> ApiResult<AcceptedClock> {
    let accepted = clock::accept(&shared).await?;
    Ok(Json(AcceptedClock { accepted, clock: shared.parts.journal.clock().status() }))
}
