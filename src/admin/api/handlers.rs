//! Handlers and their lanes: their state, and the operator's changes to it.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State};

use super::ApiResult;
use crate::{
    admin::{
        AdminState,
        decision::handlers::{self, running_handler},
        params::{JsonBody, Parameters, Segment},
        selection::before_all_since,
        wire::{
            Before, Believed, EmptyBody, HandlerList, HandlerReport, PauseRequest, Paused, RenameRequest,
            Renamed, Resumed, RetriedHandler, SkipRequest, Skipped,
        },
    },
    dispatch::{LaneCondition, LaneStatus},
    journal::LanePlace,
};

/// `GET handlers`
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    _: Parameters<()>,
) -> ApiResult<HandlerList<HandlerReport>> {
    let dead: HashMap<Arc<str>, u64> = shared.parts.journal.figures().await?.dead.into_iter().collect();
    let paused = Arc::clone(&shared.parts.journal.paused().borrow());
    let mut rows: Vec<HandlerReport> = Vec::new();
    for lane in shared.parts.desk.status() {
        match rows.iter_mut().find(|row| row.handler == lane.handler) {
            Some(row) => row.lanes.push(lane),
            None => rows.push(HandlerReport {
                handler: Arc::clone(&lane.handler),
                kind: Some(lane.kind.into()),
                destination: Some(Arc::clone(&lane.destination)),
                paused: paused.get(&lane.handler).cloned(),
                dead: dead.get(&lane.handler).copied().unwrap_or_default(),
                lanes: vec![lane],
            }),
        }
    }
    let places = shared.parts.journal.handlers().await?;
    rows.extend(places.iter().filter(|place| !place.configured).map(|place| HandlerReport {
        handler: Arc::clone(&place.handler),
        kind: None,
        destination: None,
        paused: paused.get(&place.handler).cloned(),
        dead: dead.get(&place.handler).copied().unwrap_or_default(),
        lanes: place.lanes.iter().map(|lane| not_configured(&place.handler, lane)).collect(),
    }));
    Ok(Json(HandlerList { handlers: rows }))
}

/// A lane of a handler that is no longer in the configuration.
fn not_configured(handler: &Arc<str>, lane: &LanePlace) -> LaneStatus {
    LaneStatus {
        cursor: lane.cursor,
        lag: lane.lag,
        set_aside: usize::try_from(lane.set_aside).unwrap_or(usize::MAX),
        state: LaneCondition::NotConfigured,
        ..LaneStatus::new(Arc::clone(handler), "", lane.class)
    }
}

/// `POST handlers/{name}/pause`: the handler starts no more deliveries until it is resumed. A restart does not resume
/// it.
pub(super) async fn pause(
    State(shared): State<Arc<AdminState>>,
    Segment(handler): Segment<String>,
    JsonBody(PauseRequest { reason }): JsonBody<PauseRequest>,
) -> ApiResult<Paused> {
    let handler = running_handler(&shared, &handler)?;
    let paused = handlers::pause(&shared, &handler, reason.as_deref()).await?;
    Ok(Json(Paused { handler, paused }))
}

/// `POST handlers/{name}/resume`: the handler continues at its cursors.
pub(super) async fn resume(
    State(shared): State<Arc<AdminState>>,
    Segment(handler): Segment<String>,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
) -> ApiResult<Resumed> {
    let handler = running_handler(&shared, &handler)?;
    let resumed = handlers::resume(&shared, &handler).await?;
    Ok(Json(Resumed { handler, resumed }))
}

/// `POST handlers/{name}/rename`: moves the handler's state in the journal to another name.
pub(super) async fn rename(
    State(shared): State<Arc<AdminState>>,
    Segment(handler): Segment<String>,
    JsonBody(RenameRequest { to }): JsonBody<RenameRequest>,
) -> ApiResult<Renamed> {
    handlers::rename(&shared, &handler, &to).await?;
    Ok(Json(Renamed { handler, to }))
}

/// `POST handlers/{name}/retry`: immediately retries all events of the handler that wait for a retry.
pub(super) async fn retry(
    State(shared): State<Arc<AdminState>>,
    Segment(handler): Segment<String>,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
) -> ApiResult<RetriedHandler> {
    let handler = running_handler(&shared, &handler)?;
    handlers::retry(&shared, &handler).await;
    Ok(Json(RetriedHandler { handler }))
}

/// `POST handlers/{name}/believe`: accepts the refusals of the destination. An event that was stored before this
/// request then becomes a dead letter if it fails with the error class of these refusals.
pub(super) async fn believe(
    State(shared): State<Arc<AdminState>>,
    Segment(handler): Segment<String>,
    JsonBody(EmptyBody {}): JsonBody<EmptyBody>,
) -> ApiResult<Believed> {
    let handler = running_handler(&shared, &handler)?;
    Ok(Json(handlers::believe(&shared, &handler).await))
}

/// `POST handlers/{name}/skip`: skips the undelivered events before a seq or a time, and records the skip. With
/// `dry_run`, only counts them.
pub(super) async fn skip(
    State(shared): State<Arc<AdminState>>,
    Segment(handler): Segment<String>,
    JsonBody(SkipRequest { before, dry_run }): JsonBody<SkipRequest>,
) -> ApiResult<Skipped> {
    let journal = &shared.parts.journal;
    // Events that are not received yet cannot be skipped.
    let end = journal.tip().borrow().saturating_add(1);
    let before = match before {
        Before::Seq(seq) => seq.min(end),
        Before::Time(time) => (before_all_since(&**journal, time).await? + 1).min(end),
    };
    Ok(Json(handlers::skip(&shared, &handler, before, dry_run).await?))
}
