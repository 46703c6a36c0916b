//! The state of the clock, and the operator's confirmation that the wall clock is right.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use crate::admin::{
    Shared,
    decision::clock,
    fault::Fault,
    question::{Asked, Parameters},
    wire::{AcceptedClock, Nothing},
};

/// `GET clock`
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    Ok(Json(shared.state.journal.clock().status()).into_response())
}

/// `POST clock/accept`: the operator confirms that the wall clock is right.
pub(super) async fn accept(
    State(shared): State<Arc<Shared>>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Response, Fault> {
    let accepted = clock::accept(&shared).await?;
    Ok(Json(AcceptedClock { accepted, clock: shared.state.journal.clock().status() }).into_response())
}
