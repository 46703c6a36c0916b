//! List, retry and drop dead letters.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, PageQuery, bounded_page, changes::DeadChangeRequest};
use crate::{
    admin::{
        AdminState,
        decision::{
            dead::{ChangeResult, DeadAction, DeadSelection},
            handlers::running_handler,
        },
        error::RequestError,
        params::{JsonBody, Parameters, Segment, TakeParameters, UrlQuery},
        selection::EventSelection,
        wire::{DeadDetail, DeadList, DeadRow, DroppedRows, MatchingRows, RetriedRows, RowsOrDryRun},
    },
    journal::{DeadLetter, DeadQuery},
};

/// The parameters of `GET dead`.
pub(super) struct DeadListQuery {
    handler: Option<String>,
    page: PageQuery<i64>,
    events: EventSelection,
}

impl TakeParameters for DeadListQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        Ok(Self {
            handler: query.take("handler", "Only dead letters of this handler.")?,
            page: PageQuery::take(query)?,
            events: query.selection()?,
        })
    }
}

/// `GET dead`
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    Parameters(DeadListQuery { handler, page, events }): Parameters<DeadListQuery>,
) -> ApiResult<DeadList> {
    let journal = &shared.parts.journal;
    let read = |before, limit| journal.dead_letters(DeadQuery { handler: handler.clone(), before, limit });
    let row = |dead: &DeadLetter| {
        let row = events.matches(&dead.event).then(|| DeadRow::from(dead));
        (dead.id, dead.event.element.raw().len(), row)
    };
    let (dead, next) = bounded_page(page, read, row).await?;
    Ok(Json(DeadList { dead, next }))
}

/// `GET dead/{id}`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<i64>,
    _: Parameters<()>,
) -> ApiResult<DeadDetail> {
    let dead = shared.parts.journal.dead_letter(id).await?;
    let dead = dead.ok_or_else(|| RequestError::NotFound(format!("dead letter {id}")))?;
    Ok(Json(DeadDetail::from(dead)))
}

/// `POST dead/retry`: marks dead letters for retry. The lanes of their handlers then deliver the events again.
pub(super) async fn retry(
    State(shared): State<Arc<AdminState>>,
    JsonBody(request): JsonBody<DeadChangeRequest>,
) -> ApiResult<RowsOrDryRun<RetriedRows>> {
    if let DeadSelection::Matching(filter) = &request.selection
        && let Some(handler) = &filter.handler
    {
        running_handler(&shared, handler)?;
    }
    change(&shared, DeadAction::Retry, request, |retried, unknown| RetriedRows { retried, unknown }).await
}

/// `POST dead/drop`: deletes dead letters permanently.
pub(super) async fn drop(
    State(shared): State<Arc<AdminState>>,
    JsonBody(request): JsonBody<DeadChangeRequest>,
) -> ApiResult<RowsOrDryRun<DroppedRows>> {
    change(&shared, DeadAction::Drop, request, |dropped, unknown| DroppedRows { dropped, unknown }).await
}

/// Retries or drops the selected dead letters, as `action` says. A dry run only counts them.
async fn change<R>(
    shared: &AdminState,
    action: DeadAction,
    DeadChangeRequest { selection, dry_run }: DeadChangeRequest,
    answer: fn(usize, Vec<i64>) -> R,
) -> ApiResult<RowsOrDryRun<R>> {
    let action = if dry_run { DeadAction::Count } else { action };
    let ChangeResult { changed, unknown, .. } = action.on(shared, selection).await?;
    Ok(Json(match action {
        DeadAction::Count => RowsOrDryRun::DryRun(MatchingRows { dry_run, matches: changed, unknown }),
        _ => RowsOrDryRun::Rows(answer(changed, unknown)),
    }))
}
