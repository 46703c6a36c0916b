//! Count, start and change replays.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::handlers::running_handler;
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        selection::{FilterSelection, before_all_since, last_before},
        wire::{ReplayRequest, ReplayRow},
    },
    dispatch::{Matches, Replayer},
    handler::Filter,
    journal::{NewReplay, Replay, ReplayState},
};

/// The replay to start. It covers only events that were stored before the plan was made.
pub(in crate::admin) struct Plan {
    pub(in crate::admin) new: NewReplay,
    filter: Filter,
}

impl Plan {
    /// Resolves a request into a plan, which covers only events up to the seq `upto`; `None` means the current tip.
    /// When the admin page starts a replay after a count, it passes the last seq that the count covered. Returns `None`
    /// if no stored event was received in the requested time.
    pub(in crate::admin) async fn of(
        shared: &AdminState,
        request: ReplayRequest<FilterSelection>,
        upto: Option<u64>,
    ) -> Result<Option<Self>, RequestError> {
        let ReplayRequest { handler, since, until, filter, rate, .. } = request;
        let FilterSelection { settings, filter } = filter;
        let journal = &*shared.parts.journal;
        let handler = running_handler(shared, &handler)?;
        let tip = *journal.tip().borrow();
        let end = upto.map_or(tip, |upto| upto.min(tip));
        let after = match since {
            Some(since) => before_all_since(journal, since).await?,
            None => 0,
        };
        let upto = match until {
            Some(until) => last_before(journal, until).await?.min(end),
            None => end,
        };
        if upto <= after {
            return Ok(None);
        }
        let text = serde_json::to_string(&settings).map_err(|_never| RequestError::Internal)?;
        let new = NewReplay { handler, after, upto, filter: text, rate };
        Ok(Some(Self { new, filter }))
    }

    /// Counts the events that the replay would deliver, without delivering any.
    pub(in crate::admin) async fn count(&self, shared: &AdminState) -> Result<Matches, RequestError> {
        let matches = shared.parts.replayer.dry_run(&self.new, &self.filter).await?;
        matches.ok_or_else(|| {
            RequestError::NotFound(format!("handler {:?} in the configuration", self.new.handler))
        })
    }

    /// Why the replay would not start delivering now; `None` if it would.
    pub(in crate::admin) fn waits(&self, shared: &AdminState) -> Option<String> {
        shared.parts.replayer.would_wait(&self.new).map(|waits| waits.to_string())
    }

    /// Starts the replay and returns its id.
    pub(in crate::admin) async fn start(self, shared: &AdminState) -> Result<i64, RequestError> {
        let handler = Arc::clone(&self.new.handler);
        let id = shared.parts.journal.start_replay(self.new).await?;
        let user = shared.user();
        tracing::info!(user, replay = id, handler = &*handler, "replay started by an operator");
        Ok(id)
    }
}

/// Pauses, resumes or cancels a replay. Events that it delivered stay delivered. Returns whether its state changed.
pub(in crate::admin) async fn change(
    shared: &AdminState,
    id: i64,
    to: ReplayState,
) -> Result<bool, RequestError> {
    if shared.parts.journal.change_replay(id, to).await? {
        let (user, state) = (shared.user(), to.as_str());
        tracing::info!(user, replay = id, state, "replay state changed by an operator");
        return Ok(true);
    }
    let state = shared.parts.journal.replays().borrow().get(&id).map(|replay| replay.state);
    match state {
        Some(state) if state.has_ended() && state != to => {
            Err(RequestError::NotFound(format!("active replay {id}: it is {}", state.as_str())))
        }
        Some(_) => Ok(false),
        None => Err(RequestError::NotFound(format!("replay {id}"))),
    }
}

impl ReplayRow {
    /// The active replays and those that ended most recently, oldest first.
    pub(in crate::admin) fn all(shared: &AdminState) -> Result<Vec<Self>, RequestError> {
        let replays = Arc::clone(&shared.parts.journal.replays().borrow());
        replays.iter().map(|(id, replay)| Self::new(*id, replay, &shared.parts.replayer)).collect()
    }

    pub(in crate::admin) fn one(shared: &AdminState, id: i64) -> Result<Self, RequestError> {
        let replays = Arc::clone(&shared.parts.journal.replays().borrow());
        let replay = replays.get(&id).ok_or_else(|| RequestError::NotFound(format!("replay {id}")))?;
        Self::new(id, replay, &shared.parts.replayer)
    }

    fn new(id: i64, replay: &Replay, replayer: &Replayer) -> Result<Self, RequestError> {
        let lanes = replayer.lanes(id);
        let NewReplay { handler, after, upto, filter, rate } = replay.request.clone();
        let done = (replay.state == ReplayState::Done).then_some(upto);
        let progress = replayer.progress(id);
        Ok(Self {
            id,
            handler,
            state: replay.state,
            waits: replayer.waits(id, replay).map(|waits| waits.to_string()),
            after,
            upto,
            cursor: done.or_else(|| lanes.iter().map(|lane| lane.cursor.min(upto)).min()),
            events: progress.map(|progress| progress.events),
            done: progress.map(|progress| progress.done),
            delivered: (!lanes.is_empty()).then(|| lanes.iter().map(|lane| lane.delivered).sum()),
            filter: RawValue::from_string(filter).map_err(|_damaged| RequestError::Internal)?,
            rate,
            created_at: replay.created_at,
            ended_at: replay.ended_at,
            lanes,
        })
    }
}
