//! `/dead/{id}`: one dead letter with the history of its attempts.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::cause_tag;
use crate::{
    admin::{
        Shared,
        fault::Fault,
        page::{
            events::{shown_json, word},
            frame::{Frame, Visit},
            handlers::path_of,
            shown::{Tag, When},
            sorry::Sorry,
        },
    },
    handler::FailureText,
    journal::{Cause, DeadLetter},
};

#[derive(Template)]
#[template(path = "dead-letter.html")]
struct Page {
    frame: Frame,
    id: i64,
    handler: Arc<str>,
    /// The link to the handler's page, if the handler runs in this process.
    link: Option<String>,
    lane: &'static str,
    seq: u64,
    /// The journal still has the event.
    has_event: bool,
    name: String,
    source: Arc<str>,
    received_at: When,
    died_at: When,
    cause: Tag,
    why: &'static str,
    attempts: u32,
    error: String,
    retrying: bool,
    /// Attempt number, time and error of each kept attempt.
    tries: Vec<(u32, When, String)>,
    /// Some attempts between the first and the later ones were not kept.
    has_gap: bool,
    json: String,
    cut: bool,
}

/// `GET /dead/{id}`
pub(in crate::admin::page) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    let DeadLetter { id, lane, event, cause, attempts, error, died_at, retrying, history } =
        dead_letter(&shared, &id).await?;
    let veil = visit.veil();
    let is_at_work = shared.state.desk.status().iter().any(|one| one.handler == lane.handler);
    let has_event = shared.state.journal.get(event.seq).await?.is_some();
    let all = history.tries();
    let has_gap = all.windows(2).any(|pair| pair[1].attempt > pair[0].attempt + 1);
    let shown = |error: &str| veil.error(&FailureText::read(error));
    let tries = all.iter().map(|one| (one.attempt, When::from(one.at), shown(&one.error))).collect();
    let (json, cut) = shown_json(&event.element.rendered(), veil);
    visit.show(|frame| Page {
        frame,
        id,
        link: is_at_work.then(|| path_of(&lane.handler)),
        handler: lane.handler,
        lane: lane.class.as_str(),
        seq: event.seq,
        has_event,
        name: word(event.element.name()),
        source: Arc::clone(&event.source),
        received_at: When::from(event.came_at),
        died_at: When::from(died_at),
        cause: cause_tag(cause),
        why: match cause {
            Cause::Refused => "the destination refused it permanently",
            Cause::Expired => "it was set aside and not delivered in time, while other events were",
        },
        attempts,
        error: shown(&error),
        retrying,
        tries,
        has_gap,
        json,
        cut,
    })
}

pub(super) async fn dead_letter(shared: &Shared, id: &str) -> Result<DeadLetter, Sorry> {
    let id: i64 = id.parse().map_err(|_invalid| Fault::parameter("id", "is not a number"))?;
    let dead = shared.state.journal.dead_letter(id).await?;
    let nothing =
        || Fault::Nothing(format!("dead letter {id}: it was delivered, dropped or deleted by retention"));
    Ok(dead.ok_or_else(nothing)?)
}
