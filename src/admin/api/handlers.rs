//! Handlers and their lanes.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::{
    admin::{
        Shared,
        fault::Fault,
        question::{Asked, Parameters},
    },
    clock::Timestamp,
    dispatch::LaneStatus,
    journal::{EventQuery, Journal},
};

/// A handler, with both its lanes.
#[derive(Serialize)]
struct Row {
    handler: Arc<str>,
    kind: &'static str,
    dead: u64,
    lanes: Vec<LaneStatus>,
}

/// `GET handlers`
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    let dead: HashMap<Arc<str>, u64> = shared.state.journal.figures().await?.dead.into_iter().collect();
    let mut rows: Vec<Row> = Vec::new();
    for lane in shared.state.desk.status() {
        match rows.iter_mut().find(|row| row.handler == lane.handler) {
            Some(row) => row.lanes.push(lane),
            None => rows.push(Row {
                handler: Arc::clone(&lane.handler),
                kind: lane.kind,
                dead: dead.get(&lane.handler).copied().unwrap_or_default(),
                lanes: vec![lane],
            }),
        }
    }
    #[derive(Serialize)]
    struct Answer {
        handlers: Vec<Row>,
    }
    Ok(Json(Answer { handlers: rows }).into_response())
}

/// `{"before": SEQ}` or `{"before": TIME}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Skip {
    before: Before,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "before: give a seq as a number, or a time as 2026-01-31T09:30:00Z")]
enum Before {
    Seq(u64),
    Time(Timestamp),
}

/// What was let go of.
#[derive(Serialize)]
struct Skipped {
    handler: String,
    /// Everything below this seq.
    before: u64,
    lanes: usize,
}

/// `POST handlers/{name}/skip`: the handler lets go of everything before a place, by decision and on record.
pub(super) async fn skip(
    State(shared): State<Arc<Shared>>,
    Path(handler): Path<String>,
    Asked(Skip { before }): Asked<Skip>,
) -> Result<Response, Fault> {
    let journal = &shared.state.journal;
    // What is not received yet cannot be let go of.
    let end = journal.tip().borrow().saturating_add(1);
    let before = match before {
        Before::Seq(seq) => seq.min(end),
        Before::Time(time) => first_after(&**journal, time).await?.min(end),
    };
    let lanes = shared.state.desk.skip(&handler, before).await;
    if lanes == 0 {
        return Err(Fault::Nothing(format!("handler {handler:?} at work")));
    }
    Ok(Json(Skipped { handler, before, lanes }).into_response())
}

/// The seq after the last event that was received before a time.
async fn first_after(journal: &dyn Journal, time: Timestamp) -> Result<u64, Fault> {
    let query = EventQuery { until: Some(time), limit: 1, ..EventQuery::default() };
    let last = journal.events(query).await?.events;
    Ok(last.first().map_or(0, |event| event.seq + 1))
}
