//! List, retry and drop dead letters.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, BoundedPage, PageQuery, changes::DeadChangeRequest};
use crate::{
    admin::{
        AdminState,
        decision::{
            dead::{self, ChangeResult, DeadSelection},
            handlers::running_handler,
        },
        error::RequestError,
        params::{JsonBody, Parameters, Segment, TakeParameters, UrlQuery},
        selection::EventSelection,
        wire::{Changed, ChangedRows, DeadDetail, DeadList, DeadRow},
    },
    journal::DeadQuery,
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
    let PageQuery { before, limit } = page;
    let journal = &shared.parts.journal;
    let read = |before, limit| journal.dead_letters(DeadQuery { handler: handler.clone(), before, limit });
    let BoundedPage { rows: dead, next, .. } = BoundedPage::read(limit, before, read, |dead| {
        let row = events.matches(&dead.event).then(|| DeadRow::from(dead));
        (dead.id, dead.event.element.raw().len(), row)
    })
    .await?;
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

/// `POST dead/retry`: delivers dead letters again, through their handler's lane for the event's class.
pub(super) async fn retry(
    State(shared): State<Arc<AdminState>>,
    JsonBody(DeadChangeRequest { selection, dry_run }): JsonBody<DeadChangeRequest>,
) -> ApiResult<Changed> {
    if let DeadSelection::Matching(filter) = &selection
        && let Some(handler) = &filter.handler
    {
        running_handler(&shared, handler)?;
    }
    if dry_run {
        return counted(&shared, selection).await;
    }
    let ChangeResult { changed, unknown, .. } = dead::retry(&shared, selection).await?;
    Ok(Json(Changed::new(ChangedRows::Retried(changed), unknown)))
}

/// `POST dead/drop`: deletes dead letters permanently.
pub(super) async fn drop(
    State(shared): State<Arc<AdminState>>,
    JsonBody(DeadChangeRequest { selection, dry_run }): JsonBody<DeadChangeRequest>,
) -> ApiResult<Changed> {
    if dry_run {
        return counted(&shared, selection).await;
    }
    let ChangeResult { changed, unknown, .. } = dead::drop(&shared, selection).await?;
    Ok(Json(Changed::new(ChangedRows::Dropped(changed), unknown)))
}

/// The answer to a dry run: how many dead letters the change would affect.
async fn counted(shared: &AdminState, selection: DeadSelection) -> ApiResult<Changed> {
    let ChangeResult { changed, unknown, .. } = dead::count(shared, selection).await?;
    Ok(Json(Changed::new(ChangedRows::Matches(changed), unknown)))
}
