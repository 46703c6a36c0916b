//! Dead letters that are retried, or dropped.

use std::sync::Arc;

use crate::{
    admin::{
        Shared,
        chunks::each,
        fault::Fault,
        narrow::Narrowed,
        question::{LIMIT, Which},
    },
    journal::{BoxFuture, Cause, DeadLetter, DeadQuery, Error, Journal},
};

/// Which dead letters are meant; what is given must all match.
#[derive(Default)]
pub(in crate::admin) struct Matching {
    /// Of this handler; of any where none is given.
    pub(in crate::admin) handler: Option<String>,
    /// By the event.
    pub(in crate::admin) narrowed: Narrowed,
    /// By why they died.
    pub(in crate::admin) cause: Option<Cause>,
    /// By a part of the last error, in any case.
    pub(in crate::admin) error: Option<String>,
    /// Those of these handlers alone.
    pub(in crate::admin) among: Option<Vec<Arc<str>>>,
    /// Those with a lower id.
    pub(in crate::admin) before: Option<i64>,
}

impl Matching {
    /// Whether this one is meant.
    pub(in crate::admin) fn takes(&self, dead: &DeadLetter) -> bool {
        let has = |part: &String| dead.error.to_lowercase().contains(&part.to_lowercase());
        self.cause.is_none_or(|cause| dead.cause == cause)
            && self.error.as_ref().is_none_or(has)
            && self.among.as_ref().is_none_or(|names| names.contains(&dead.lane.handler))
            && self.narrowed.takes(&dead.event)
    }
}

/// What a change came to.
pub(in crate::admin) struct Done {
    /// Dead letters that were changed, or counted.
    pub(in crate::admin) done: usize,
    /// The highest id of those that were looked at, where they were not asked for by their ids.
    pub(in crate::admin) newest: Option<i64>,
    /// Ids that there are none of.
    pub(in crate::admin) unknown: Vec<i64>,
}

/// To be delivered again, through the lane where they died.
pub(in crate::admin) async fn retry(shared: &Shared, which: Which) -> Result<Done, Fault> {
    let done = change(shared, which, Journal::retry_dead).await?;
    if done.done > 0 {
        let retried = done.done;
        tracing::info!(user = shared.user(), retried, "dead letters are retried by an operator's decision");
    }
    Ok(done)
}

/// Deletes them, for good.
pub(in crate::admin) async fn drop(shared: &Shared, which: Which) -> Result<Done, Fault> {
    let done = change(shared, which, Journal::drop_dead).await?;
    if done.done > 0 {
        let dropped = done.done;
        tracing::info!(user = shared.user(), dropped, "dead letters were dropped by an operator's decision");
    }
    Ok(done)
}

/// How many a change would be about.
pub(in crate::admin) async fn count(shared: &Shared, which: Which) -> Result<Done, Fault> {
    let journal = &*shared.state.journal;
    match which {
        Which::Ids(_) => change(shared, which, known).await,
        Which::Of(matching) => all(journal, &matching, found).await,
    }
}

/// Changes nothing: these were read a moment ago.
fn found<'a>(_journal: &'a (dyn Journal + 'static), ids: Vec<i64>) -> BoxFuture<'a, Result<Vec<i64>, Error>> {
    Box::pin(async { Ok(ids) })
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

type Change = for<'a> fn(&'a (dyn Journal + 'static), Vec<i64>) -> BoxFuture<'a, Result<Vec<i64>, Error>>;

async fn change(shared: &Shared, which: Which, change: Change) -> Result<Done, Fault> {
    let journal = &*shared.state.journal;
    match which {
        Which::Ids(ids) => {
            let done = change(journal, ids.clone()).await?;
            let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
            Ok(Done { done: done.len(), newest: None, unknown })
        }
        Which::Of(matching) => all(journal, &matching, change).await,
    }
}

/// Every dead letter that is meant and there now: from the newest down, so what dies meanwhile is left alone.
async fn all(journal: &dyn Journal, matching: &Matching, change: Change) -> Result<Done, Fault> {
    let mut before = matching.before;
    let mut end = Done { done: 0, newest: None, unknown: Vec::new() };
    loop {
        let read = |before, limit| {
            journal.dead_letters(DeadQuery { handler: matching.handler.clone(), before, limit })
        };
        let found = each(LIMIT, before, read, |dead| (dead.id, matching.takes(dead))).await?;
        let Some(&(last, _)) = found.last() else { return Ok(end) };
        end.newest = end.newest.or(found.first().map(|(id, _)| *id));
        before = Some(last);
        let ids: Vec<i64> = found.into_iter().filter_map(|(id, taken)| taken.then_some(id)).collect();
        if !ids.is_empty() {
            end.done += change(journal, ids).await?.len();
        }
    }
}
