//! List, retry and drop dead letters.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use super::{Page, number};
use crate::{
    admin::{
        Shared,
        decision::{
            dead::{self, Done},
            handlers::at_work,
        },
        fault::Fault,
        question::{Asked, Parameters, Segment, Which, Wish},
        wire::{Changed, DeadDetail, DeadList, DeadRow, Rows},
    },
    journal::DeadQuery,
};

/// `GET dead?handler=&since=&until=&event=&status=&message=&phone=&before=&limit=`
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    mut parameters: Parameters,
) -> Result<Response, Fault> {
    let handler: Option<String> = parameters.take("handler")?;
    let before = parameters.take("before")?;
    let limit = parameters.limit()?;
    let narrowed = parameters.narrowed()?;
    parameters.end()?;
    let journal = &shared.state.journal;
    let read = |before, limit| journal.dead_letters(DeadQuery { handler: handler.clone(), before, limit });
    let Page { rows: dead, next, .. } = Page::read(limit, before, read, |dead| {
        let row = narrowed.takes(&dead.event).then(|| DeadRow::from(dead));
        (dead.id, dead.event.element.raw().len(), row)
    })
    .await?;
    Ok(Json(DeadList { dead, next }).into_response())
}

/// `GET dead/{id}`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Fault> {
    let id = number("id", &id)?;
    parameters.end()?;
    let dead = shared.state.journal.dead_letter(id).await?;
    let dead = dead.ok_or_else(|| Fault::Nothing(format!("dead letter {id}")))?;
    Ok(Json(DeadDetail::from(dead)).into_response())
}

/// `POST dead/retry`: delivers dead letters again, through their handler's lane for the event's class.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    Asked(Wish { which, dry_run }): Asked<Wish>,
) -> Result<Response, Fault> {
    if let Which::Of(matching) = &which
        && let Some(handler) = &matching.handler
    {
        at_work(&shared, handler)?;
    }
    if dry_run {
        return counted(&shared, which).await;
    }
    let Done { done, unknown, .. } = dead::retry(&shared, which).await?;
    Ok(Json(Changed::new(Rows::Retried(done), unknown)).into_response())
}

/// `POST dead/drop`: deletes dead letters permanently.
pub(super) async fn drop(
    State(shared): State<Arc<Shared>>,
    Asked(Wish { which, dry_run }): Asked<Wish>,
) -> Result<Response, Fault> {
    if dry_run {
        return counted(&shared, which).await;
    }
    let Done { done, unknown, .. } = dead::drop(&shared, which).await?;
    Ok(Json(Changed::new(Rows::Dropped(done), unknown)).into_response())
}

/// The answer to a dry run: how many dead letters the change would affect.
async fn counted(shared: &Shared, which: Which) -> Result<Response, Fault> {
    let Done { done, unknown, .. } = dead::count(shared, which).await?;
    Ok(Json(Changed::new(Rows::Matches(done), unknown)).into_response())
}
