//! Retry and drop dead letters.

use std::sync::Arc;

use crate::{
    admin::{AdminState, chunks::each, error::RequestError, selection::EventSelection, wire::LIMIT},
    journal::{Cause, DeadLetter, DeadQuery, Error},
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

/// The result of a change or a count.
pub(in crate::admin) struct ChangeResult {
    /// The number of dead letters changed or counted.
    pub(in crate::admin) changed: usize,
    /// The highest id that was read; `None` if none was read, or if the dead letters were selected by id.
    pub(in crate::admin) newest: Option<i64>,
    /// Requested ids that do not exist.
    pub(in crate::admin) unknown: Vec<i64>,
}

/// An action on the selected dead letters.
#[derive(Clone, Copy)]
pub(in crate::admin) enum DeadAction {
    /// Deliver the dead letters again, each in a lane of its handler.
    Retry,
    /// Delete the dead letters permanently.
    Drop,
    /// Only count the dead letters.
    Count,
}

impl DeadAction {
    pub(in crate::admin) async fn on(
        self,
        shared: &AdminState,
        selection: DeadSelection,
    ) -> Result<ChangeResult, RequestError> {
        let result = match selection {
            DeadSelection::Ids(ids) => {
                let done = self.on_ids(shared, ids.clone()).await?;
                let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
                ChangeResult { changed: done.len(), newest: None, unknown }
            }
            DeadSelection::Matching(filter) => self.on_matching(shared, &filter).await?,
        };
        let (user, changed) = (shared.user(), result.changed);
        match self {
            Self::Retry if changed > 0 => {
                tracing::info!(user, retried = changed, "dead letters retried by an operator");
            }
            Self::Drop if changed > 0 => {
                tracing::info!(user, dropped = changed, "dead letters dropped by an operator");
            }
            _ => {}
        }
        Ok(result)
    }

    /// Acts on the dead letters with these ids. Returns the ids that existed.
    async fn on_ids(self, shared: &AdminState, ids: Vec<i64>) -> Result<Vec<i64>, Error> {
        let journal = &shared.parts.journal;
        match self {
            Self::Retry => journal.retry_dead(ids).await,
            Self::Drop => journal.drop_dead(ids, shared.recorded_user()).await,
            Self::Count => {
                let mut known = Vec::new();
                for id in ids {
                    known.extend(journal.dead_letter(id).await?.map(|dead| dead.id));
                }
                Ok(known)
            }
        }
    }

    /// Acts on the matching dead letters, from the newest to the oldest, so that dead letters that are added meanwhile
    /// are not affected.
    async fn on_matching(
        self,
        shared: &AdminState,
        filter: &DeadFilter,
    ) -> Result<ChangeResult, RequestError> {
        let journal = &shared.parts.journal;
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
            end.changed += match self {
                // These dead letters were just read, so they are not looked up again.
                Self::Count => ids.len(),
                _ if ids.is_empty() => 0,
                _ => self.on_ids(shared, ids).await?.len(),
            };
        }
    }
}
