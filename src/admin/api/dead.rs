//! List, retry and drop dead letters.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};

use super::{ApiResult, BoundedPage, changes::DeadChangeRequest};
use crate::{
    admin::{
        AdminState,
        decision::{
            dead::{self, ChangeResult, DeadSelection},
            handlers::running_handler,
        },
        error::RequestError,
        params::{JsonBody, Parameters, Segment, parse_number},
        wire::{Changed, ChangedRows, DeadDetail, DeadList, DeadRow},
    },
    journal::DeadQuery,
};

/// `GET dead?handler=&since=&until=&event=&status=&message=&phone=&before=&limit=`
pub(super) async fn list(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let handler: Option<String> = parameters.take("handler")?;
    let before = parameters.take("before")?;
    let limit = parameters.limit()?;
    let events = parameters.selection()?;
    parameters.end()?;
    let journal = &shared.parts.journal;
    let read = |before, limit| journal.dead_letters(DeadQuery { handler: handler.clone(), before, limit });
    let BoundedPage { rows: dead, next, .. } = BoundedPage::read(limit, before, read, |dead| {
        let row = events.matches(&dead.event).then(|| DeadRow::from(dead));
        (dead.id, dead.event.element.raw().len(), row)
    })
    .await?;
    Ok(Json(DeadList { dead, next }).into_response())
}

/// `GET dead/{id}`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> ApiResult {
    let id = parse_number("id", &id)?;
    parameters.end()?;
    let dead = shared.parts.journal.dead_letter(id).await?;
    let dead = dead.ok_or_else(|| RequestError::NotFound(format!("dead letter {id}")))?;
    Ok(Json(DeadDetail::from(dead)).into_response())
}

/// `POST dead/retry`: delivers dead letters again, through their handler's lane for the event's class.
pub(super) async fn retry(
    State(shared): State<Arc<AdminState>>,
    JsonBody(DeadChangeRequest { selection, dry_run }): JsonBody<DeadChangeRequest>,
) -> ApiResult {
    if let DeadSelection::Matching(filter) = &selection
        && let Some(handler) = &filter.handler
    {
        running_handler(&shared, handler)?;
    }
    if dry_run {
        return counted(&shared, selection).await;
    }
    let ChangeResult { changed, unknown, .. } = dead::retry(&shared, selection).await?;
    Ok(Json(Changed::new(ChangedRows::Retried(changed), unknown)).into_response())
}

/// `POST dead/drop`: deletes dead letters permanently.
pub(super) async fn drop(
    State(shared): State<Arc<AdminState>>,
    JsonBody(DeadChangeRequest { selection, dry_run }): JsonBody<DeadChangeRequest>,
) -> ApiResult {
    if dry_run {
        return counted(&shared, selection).await;
    }
    let ChangeResult { changed, unknown, .. } = dead::drop(&shared, selection).await?;
    Ok(Json(Changed::new(ChangedRows::Dropped(changed), unknown)).into_response())
}

/// The answer to a dry run: how many dead letters the change would affect.
async fn counted(shared: &AdminState, selection: DeadSelection) -> ApiResult {
    let ChangeResult { changed, unknown, .. } = dead::count(shared, selection).await?;
    Ok(Json(Changed::new(ChangedRows::Matches(changed), unknown)).into_response())
}
