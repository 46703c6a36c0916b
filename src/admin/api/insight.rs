//! Insight itself: its progress, and its rebuild.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use crate::{
    admin::{
        Shared,
        fault::Fault,
        question::{Asked, Parameters},
        wire::{InsightProgress, Nothing},
    },
    insight::{Insight, LedgerProgress},
};

/// Insight, if it is enabled.
pub(super) fn of(shared: &Shared) -> Result<&Insight, Fault> {
    shared.state.insight.as_deref().ok_or(Fault::NoInsight)
}

/// `GET insight`
pub(super) async fn progress(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    row(&shared)
}

/// `POST insight/rebuild`: deletes the data that the journal can restore, and reads the journal again.
pub(super) async fn rebuild(
    State(shared): State<Arc<Shared>>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Response, Fault> {
    of(&shared)?.rebuild(&*shared.state.journal).await?;
    tracing::warn!(user = shared.user(), "insight rebuild started by an operator");
    row(&shared)
}

fn row(shared: &Shared) -> Result<Response, Fault> {
    let LedgerProgress { cursor, rebuilding_to } = *of(shared)?.progress().borrow();
    let tip = *shared.state.journal.tip().borrow();
    let lag = tip.saturating_sub(cursor);
    Ok(Json(InsightProgress { enabled: true, cursor, tip, lag, rebuilding_to }).into_response())
}
