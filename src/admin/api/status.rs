//! The status of the receiver, and the credentials of its public side.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::ApiResult;
use crate::admin::{
    AdminState,
    params::Parameters,
    wire::{CredentialList, FiguresRow, Health, Status},
};

/// `GET status`
pub(super) async fn status(State(shared): State<Arc<AdminState>>, _: Parameters<()>) -> ApiResult<Status> {
    let figures = shared.parts.journal.figures().await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_secs: shared.started.elapsed().as_secs(),
        health: Health::of(&shared),
        tip: *shared.parts.journal.tip().borrow(),
        journal: FiguresRow::from(&figures),
    }))
}

/// `GET credentials`
pub(super) async fn credentials(
    State(shared): State<Arc<AdminState>>,
    _: Parameters<()>,
) -> ApiResult<CredentialList> {
    Ok(Json(CredentialList { credentials: (shared.parts.credentials)() }))
}
