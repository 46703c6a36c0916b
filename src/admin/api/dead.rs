//! Dead letters.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Page, handlers::at_work, number};
use crate::{
    admin::{
        Shared,
        chunks::each,
        fault::Fault,
        question::{Asked, LIMIT, Matching, Parameters, Segment, Which, Wish},
        rows::{DeadDetail, DeadRow},
    },
    journal::{BoxFuture, DeadQuery, Error, Journal},
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
    let page = Page::read(limit, before, read, |dead| {
        let row = narrowed.takes(&dead.event).then(|| DeadRow::from(dead));
        (dead.id, dead.event.element.raw().len(), row)
    });
    Ok(page.await?.answer("dead"))
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

/// `POST dead/retry`: to be delivered again, through the lane where they died.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    Asked(Wish { which, dry_run }): Asked<Wish>,
) -> Result<Response, Fault> {
    if let Which::Of(matching) = &which {
        at_work(&shared, &matching.handler)?;
    }
    if dry_run {
        return counted(&shared, which).await;
    }
    let Done { done: retried, unknown } = change(&shared, which, Journal::retry_dead).await?;
    #[derive(Serialize)]
    struct Answer {
        retried: usize,
        unknown: Vec<i64>,
    }
    Ok(Json(Answer { retried, unknown }).into_response())
}

/// `POST dead/drop`: for good.
pub(super) async fn drop(
    State(shared): State<Arc<Shared>>,
    Asked(Wish { which, dry_run }): Asked<Wish>,
) -> Result<Response, Fault> {
    if dry_run {
        return counted(&shared, which).await;
    }
    let Done { done: dropped, unknown } = change(&shared, which, Journal::drop_dead).await?;
    if dropped > 0 {
        tracing::warn!(dropped, "dead letters were dropped by an operator's decision");
    }
    #[derive(Serialize)]
    struct Answer {
        dropped: usize,
        unknown: Vec<i64>,
    }
    Ok(Json(Answer { dropped, unknown }).into_response())
}

/// How many a change would be about.
async fn counted(shared: &Shared, which: Which) -> Result<Response, Fault> {
    let Done { done: matches, unknown } = change(shared, which, known).await?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        dry_run: bool,
        matches: usize,
        unknown: Vec<i64>,
    }
    Ok(Json(Answer { dry_run: true, matches, unknown }).into_response())
}

/// Changes nothing, and tells which there are.
fn known<'a>(journal: &'a (dyn Journal + 'static), ids: Vec<i64>) -> BoxFuture<'a, Result<Vec<i64>, Error>> {
    Box::pin(async move {
        let mut known = Vec::new();
        for id in ids {
            known.extend(journal.dead_letter(id).await?.map(|dead| dead.id));
        }
        Ok(known)
    })
}

/// What a change came to.
struct Done {
    done: usize,
    /// Ids that there are none of.
    unknown: Vec<i64>,
}

type Change = for<'a> fn(&'a (dyn Journal + 'static), Vec<i64>) -> BoxFuture<'a, Result<Vec<i64>, Error>>;

async fn change(shared: &Shared, which: Which, change: Change) -> Result<Done, Fault> {
    let journal = &*shared.state.journal;
    match which {
        Which::Ids(ids) => {
            let done = change(journal, ids.clone()).await?;
            let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
            Ok(Done { done: done.len(), unknown })
        }
        Which::Of(matching) => all(journal, &matching, change).await,
    }
}

/// Every dead letter of a handler that is meant and there now: from the newest down, so what dies meanwhile is left alone.
async fn all(journal: &dyn Journal, matching: &Matching, change: Change) -> Result<Done, Fault> {
    let mut before = None;
    let mut done = 0;
    loop {
        let read = |before, limit| {
            journal.dead_letters(DeadQuery { handler: Some(matching.handler.clone()), before, limit })
        };
        let found =
            each(LIMIT, before, read, |dead| (dead.id, matching.narrowed.takes(&dead.event))).await?;
        let Some(&(last, _)) = found.last() else { return Ok(Done { done, unknown: Vec::new() }) };
        before = Some(last);
        let ids: Vec<i64> = found.into_iter().filter_map(|(id, taken)| taken.then_some(id)).collect();
        if !ids.is_empty() {
            done += change(journal, ids).await?.len();
        }
    }
}
