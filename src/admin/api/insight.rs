//! Insight itself: whether it is on, how far it is, and learning anew.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::handlers::Nothing;
use crate::{
    admin::{
        Shared,
        fault::Fault,
        question::{Asked, Parameters},
    },
    insight::{Insight, Progress},
};

/// Insight, where it is switched on.
pub(super) fn of(shared: &Shared) -> Result<&Insight, Fault> {
    shared.state.insight.as_deref().ok_or(Fault::NoInsight)
}

/// How far it is behind the journal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    enabled: bool,
    cursor: u64,
    tip: u64,
    lag: u64,
    rebuilding_to: Option<u64>,
}

/// `GET insight`
pub(super) async fn progress(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    row(&shared)
}

/// `POST insight/rebuild`: it forgets what the journal can tell again, and takes it in anew.
pub(super) async fn rebuild(
    State(shared): State<Arc<Shared>>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Response, Fault> {
    of(&shared)?.rebuild(&*shared.state.journal).await?;
    tracing::warn!(user = shared.user(), "insight is rebuilt by an operator's decision");
    row(&shared)
}

fn row(shared: &Shared) -> Result<Response, Fault> {
    let Progress { cursor, rebuilding_to } = *of(shared)?.progress().borrow();
    let tip = *shared.state.journal.tip().borrow();
    let row = Row { enabled: true, cursor, tip, lag: tip.saturating_sub(cursor), rebuilding_to };
    Ok(Json(row).into_response())
}
