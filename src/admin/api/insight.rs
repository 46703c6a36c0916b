//! The progress of insight through the journal, and its rebuild.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::ApiResult;
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{JsonBody, Parameters},
        wire::{EmptyBody, InsightProgress},
    },
    insight::{Insight, LedgerProgress},
};

/// Returns insight, or [`RequestError::NoInsight`] if it is disabled or could not be opened.
pub(super) fn of(shared: &AdminState) -> Result<&Insight, RequestError> {
    shared.parts.insight.as_deref().ok_or(RequestError::NoInsight)
}

/// `GET insight`
pub(super) async fn progress(
    State(shared): State<Arc<AdminState>>,
    _: Parameters<()>,
) -> ApiResult<InsightProgress> {
    row(&shared)
}

/// `POST insight/rebuild`: deletes all messages and customers from insight, and the figures that the journal can
/// restore. Insight then reads the journal again.
pub(super) async fn rebuild(
    State(shared): State<Arc<AdminState>>,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
) -> ApiResult<InsightProgress> {
    of(&shared)?.rebuild(&*shared.parts.journal).await?;
    tracing::warn!(user = shared.user(), "insight rebuild started by an operator");
    row(&shared)
}

fn row(shared: &AdminState) -> ApiResult<InsightProgress> {
    let LedgerProgress { cursor, rebuilding_to } = *of(shared)?.progress().borrow();
    let tip = *shared.parts.journal.tip().borrow();
    let lag = tip.saturating_sub(cursor);
    Ok(Json(InsightProgress { enabled: true, cursor, tip, lag, rebuilding_to }))
}
