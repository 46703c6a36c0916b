//! Retry and drop dead letters.

use std::sync::Arc;

use crate::{
    admin::{AdminState, chunks::each, error::RequestError, params::LIMIT, selection::EventSelection},
    journal::{Cause, DeadLetter, DeadQuery, Error, Journal, JournalFuture},
};

/// A selection of dead letters. Every member that is set must match.
#[derive(Default)]
pub(in crate::admin) struct DeadFilter {
    /// The handler of the dead letter; `None` matches any.
    pub(in crate::admin) handler: Option<String>,
    /// Conditions on the event.
    pub(in crate::admin) events: EventSelection,
    /// Why the event became a dead letter.
    pub(in crate::admin) cause: Option<Cause>,
    /// A substring of the last error, ignoring case.
    pub(in crate::admin) error: Option<String>,
    /// Only dead letters of these handlers.
    pub(in crate::admin) among: Option<Vec<Arc<str>>>,
    /// Only dead letters with a lower id.
    pub(in crate::admin) before: Option<i64>,
}

impl DeadFilter {
    /// Returns whether the dead letter matches. The caller checks `handler` and `before`.
    pub(in crate::admin) fn matches(&self, dead: &DeadLetter) -> bool {
        let has = |part: &String| dead.error.to_lowercase().contains(&part.to_lowercase());
        self.cause.is_none_or(|cause| dead.cause == cause)
            && self.error.as_ref().is_none_or(has)
            && self.among.as_ref().is_none_or(|names| names.contains(&dead.lane.handler))
            && self.events.matches(&dead.event)
    }
}

/// The dead letters that a change or a count selects.
pub(in crate::admin) enum DeadSelection {
    Ids(Vec<i64>),
    Matching(Box<DeadFilter>),
}

/// The result of a change.
pub(in crate::admin) struct ChangeResult {
    /// The number of dead letters changed or counted.
    pub(in crate::admin) changed: usize,
    /// The highest id that was read; `None` if the dead letters were selected by id.
    pub(in crate::admin) newest: Option<i64>,
    /// Requested ids that do not exist.
    pub(in crate::admin) unknown: Vec<i64>,
}

/// Delivers dead letters again, through their handler's lane for the event's class.
pub(in crate::admin) async fn retry(
    shared: &AdminState,
    selection: DeadSelection,
) -> Result<ChangeResult, RequestError> {
    let result = change(shared, selection, Journal::retry_dead).await?;
    if result.changed > 0 {
        let retried = result.changed;
        tracing::info!(user = shared.user(), retried, "dead letters retried by an operator");
    }
    Ok(result)
}

/// Deletes dead letters permanently.
pub(in crate::admin) async fn drop(
    shared: &AdminState,
    selection: DeadSelection,
) -> Result<ChangeResult, RequestError> {
    let result = change(shared, selection, Journal::drop_dead).await?;
    if result.changed > 0 {
        let dropped = result.changed;
        tracing::info!(user = shared.user(), dropped, "dead letters dropped by an operator");
    }
    Ok(result)
}

/// Counts the dead letters that a change would affect.
pub(in crate::admin) async fn count(
    shared: &AdminState,
    selection: DeadSelection,
) -> Result<ChangeResult, RequestError> {
    let journal = &*shared.parts.journal;
    match selection {
        DeadSelection::Ids(_) => change(shared, selection, known).await,
        DeadSelection::Matching(filter) => all(journal, &filter, found).await,
    }
}

/// A [`DeadAction`] that changes nothing, for ids that were read a moment ago.
fn found<'a>(
    _journal: &'a (dyn Journal + 'static),
    ids: Vec<i64>,
) -> JournalFuture<'a, Result<Vec<i64>, Error>> {
    Box::pin(async { Ok(ids) })
}

/// A [`DeadAction`] that changes nothing and returns the ids that exist.
fn known<'a>(
    journal: &'a (dyn Journal + 'static),
    ids: Vec<i64>,
) -> JournalFuture<'a, Result<Vec<i64>, Error>> {
    Box::pin(async move {
        let mut known = Vec::new();
        for id in ids {
            known.extend(journal.dead_letter(id).await?.map(|dead| dead.id));
        }
        Ok(known)
    })
}

type DeadAction =
    for<'a> fn(&'a (dyn Journal + 'static), Vec<i64>) -> JournalFuture<'a, Result<Vec<i64>, Error>>;

async fn change(
    shared: &AdminState,
    selection: DeadSelection,
    change: DeadAction,
) -> Result<ChangeResult, RequestError> {
    let journal = &*shared.parts.journal;
    match selection {
        DeadSelection::Ids(ids) => {
            let done = change(journal, ids.clone()).await?;
            let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
            Ok(ChangeResult { changed: done.len(), newest: None, unknown })
        }
        DeadSelection::Matching(filter) => all(journal, &filter, change).await,
    }
}

/// Changes every matching dead letter. It reads from the newest downwards, so dead letters added meanwhile are not
/// affected.
async fn all(
    journal: &dyn Journal,
    filter: &DeadFilter,
    change: DeadAction,
) -> Result<ChangeResult, RequestError> {
    let mut before = filter.before;
    let mut end = ChangeResult { changed: 0, newest: None, unknown: Vec::new() };
    loop {
        let read = |before, limit| {
            journal.dead_letters(DeadQuery { handler: filter.handler.clone(), before, limit })
        };
        let found = each(LIMIT, before, read, |dead| (dead.id, filter.matches(dead))).await?;
        let Some(&(last, _)) = found.last() else { return Ok(end) };
        end.newest = end.newest.or(found.first().map(|(id, _)| *id));
        before = Some(last);
        let ids: Vec<i64> = found.into_iter().filter_map(|(id, taken)| taken.then_some(id)).collect();
        if !ids.is_empty() {
            end.changed += change(journal, ids).await?.len();
        }
    }
}
