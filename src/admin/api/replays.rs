//! Replays: what is stored is delivered to a handler once more.

use std::{num::NonZeroU32, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    handlers::{Nothing, at_work, first_after},
    number,
};
use crate::{
    admin::{
        Shared,
        fault::Fault,
        question::{Asked, Chosen, Parameters, Segment},
    },
    clock::Timestamp,
    dispatch::{LaneStatus, Matches, Replayer},
    journal::{NewReplay, Replay, ReplayState},
};

/// What to replay: `{"handler": "crm"}`, and what else is given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wish {
    handler: String,
    /// Received at this time or later.
    since: Option<Timestamp>,
    /// Received before this time.
    until: Option<Timestamp>,
    /// Which events, beside what the handler wants: the keys of a handler's filters.
    #[serde(default)]
    filter: Chosen,
    /// Events a second at most.
    rate: Option<NonZeroU32>,
    /// Count, and deliver nothing.
    #[serde(default)]
    dry_run: bool,
}

/// `POST replays`: what is stored now, and not what comes later.
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Asked(wish): Asked<Wish>,
) -> Result<Response, Fault> {
    let journal = &*shared.state.journal;
    let handler = at_work(&shared, &wish.handler)?;
    let Chosen { settings, filter } = wish.filter;
    let tip = *journal.tip().borrow();
    let after = match wish.since {
        Some(since) => first_after(journal, since).await?.saturating_sub(1),
        None => 0,
    };
    let upto = match wish.until {
        Some(until) => first_after(journal, until).await?.saturating_sub(1).min(tip),
        None => tip,
    };
    if upto <= after {
        return Err(Fault::Nothing("event that was received in that time".to_owned()));
    }
    let text = serde_json::to_string(&settings).map_err(|_never| Fault::Inside)?;
    let new = NewReplay { handler: Arc::clone(&handler), after, upto, filter: text, rate: wish.rate };
    if wish.dry_run {
        let matches = shared.state.replayer.dry_run(&new, &filter).await?;
        let Matches { events, first, last } =
            matches.ok_or_else(|| Fault::Nothing(format!("handler {handler:?} at work")))?;
        return Ok(Json(DryRun { dry_run: true, handler, events, first, last }).into_response());
    }
    let id = journal.start_replay(new).await?;
    tracing::warn!(replay = id, handler = &*handler, "a replay was started by an operator's decision");
    row(&shared, id)
}

/// What a replay would deliver.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DryRun {
    dry_run: bool,
    handler: Arc<str>,
    events: u64,
    first: Option<u64>,
    last: Option<u64>,
}

/// A replay, and how far it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: i64,
    handler: Arc<str>,
    state: &'static str,
    /// Why it delivers nothing now; null while it goes on, and where somebody decided that it does not.
    waits: Option<String>,
    /// It begins after this seq …
    after: u64,
    /// … and ends with this one.
    upto: u64,
    /// How far it is; null while it waits for its turn.
    cursor: Option<u64>,
    /// Events delivered in this run of the process; null where it did not work in this run.
    delivered: Option<u64>,
    filter: Box<RawValue>,
    rate: Option<NonZeroU32>,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    lanes: Vec<LaneStatus>,
}

impl Row {
    fn new(id: i64, replay: &Replay, replayer: &Replayer) -> Result<Self, Fault> {
        let lanes = replayer.lanes(id);
        let NewReplay { handler, after, upto, filter, rate } = replay.asked.clone();
        let done = (replay.state == ReplayState::Done).then_some(upto);
        Ok(Self {
            id,
            handler,
            state: replay.state.as_str(),
            waits: replayer.waits(id, replay).map(|waits| waits.to_string()),
            after,
            upto,
            cursor: done.or_else(|| lanes.iter().map(|lane| lane.cursor.min(upto)).min()),
            delivered: (!lanes.is_empty()).then(|| lanes.iter().map(|lane| lane.delivered).sum()),
            filter: RawValue::from_string(filter).map_err(|_damaged| Fault::Inside)?,
            rate,
            created_at: replay.created_at,
            ended_at: replay.ended_at,
            lanes,
        })
    }
}

fn row(shared: &Shared, id: i64) -> Result<Response, Fault> {
    let replays = Arc::clone(&shared.state.journal.replays().borrow());
    let replay = replays.get(&id).ok_or_else(|| Fault::Nothing(format!("replay {id}")))?;
    Ok(Json(Row::new(id, replay, &shared.state.replayer)?).into_response())
}

/// `GET replays`: those at work and the last that ended, oldest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    let replays = Arc::clone(&shared.state.journal.replays().borrow());
    let rows = replays.iter().map(|(id, replay)| Row::new(*id, replay, &shared.state.replayer));
    #[derive(Serialize)]
    struct Answer {
        replays: Vec<Row>,
    }
    Ok(Json(Answer { replays: rows.collect::<Result<_, _>>()? }).into_response())
}

/// `GET replays/{id}`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    row(&shared, number("id", &id)?)
}

/// `POST replays/{id}/pause`: it starts no delivery until it is resumed, also after a restart.
pub(super) async fn pause(
    state: State<Arc<Shared>>,
    id: Segment,
    asked: Asked<Nothing>,
) -> Result<Response, Fault> {
    change(state, id, asked, ReplayState::Paused).await
}

/// `POST replays/{id}/resume`
pub(super) async fn resume(
    state: State<Arc<Shared>>,
    id: Segment,
    asked: Asked<Nothing>,
) -> Result<Response, Fault> {
    change(state, id, asked, ReplayState::Running).await
}

/// `POST replays/{id}/cancel`: for good. What it has delivered stays delivered.
pub(super) async fn cancel(
    state: State<Arc<Shared>>,
    id: Segment,
    asked: Asked<Nothing>,
) -> Result<Response, Fault> {
    change(state, id, asked, ReplayState::Cancelled).await
}

async fn change(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    Asked(Nothing {}): Asked<Nothing>,
    to: ReplayState,
) -> Result<Response, Fault> {
    let id = number("id", &id)?;
    if shared.state.journal.change_replay(id, to).await? {
        tracing::warn!(replay = id, state = to.as_str(), "a replay was changed by an operator's decision");
        return row(&shared, id);
    }
    let state = shared.state.journal.replays().borrow().get(&id).map(|replay| replay.state);
    match state {
        Some(state) if state.has_ended() && state != to => {
            Err(Fault::Nothing(format!("replay {id} at work: it is {}", state.as_str())))
        }
        _ => row(&shared, id),
    }
}
