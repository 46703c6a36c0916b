//! `/dead/{id}`: one dead letter with the history of its attempts.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::cause_tag;
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        page::{
            error_page::{ErrorPage, PageResult},
            events::{shown_json, word},
            format::{Tag, When},
            frame::Frame,
            links,
            visit::PageVisit,
        },
        params::parse_number,
    },
    handler::FailureText,
    journal::{Cause, DeadLetter},
};

#[derive(Template)]
#[template(path = "dead-letter.html")]
struct DeadLetterPage {
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
    State(shared): State<Arc<AdminState>>,
    Path(id): Path<String>,
    visit: PageVisit,
) -> PageResult {
    let DeadLetter { id, lane, event, cause, attempts, error, died_at, retrying, history } =
        dead_letter(&shared, &id).await?;
    let redaction = visit.redaction();
    let is_running = shared.parts.desk.status().iter().any(|one| one.handler == lane.handler);
    let has_event = shared.parts.journal.get(event.seq).await?.is_some();
    let all = history.tries();
    let has_gap = all.windows(2).any(|pair| pair[1].attempt > pair[0].attempt + 1);
    let shown = |error: &str| redaction.error(&FailureText::read(error));
    let tries = all.iter().map(|one| (one.attempt, When::from(one.at), shown(&one.error))).collect();
    let (json, cut) = shown_json(&event.element.rendered(), redaction);
    visit.show(|frame| DeadLetterPage {
        frame,
        id,
        link: is_running.then(|| links::handler(&lane.handler)),
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

pub(super) async fn dead_letter(shared: &AdminState, id: &str) -> Result<DeadLetter, ErrorPage> {
    let id: i64 = parse_number("id", id)?;
    let dead = shared.parts.journal.dead_letter(id).await?;
    let missing = || {
        RequestError::NotFound(format!(
            "dead letter {id}: it never existed, or it was delivered, dropped or deleted by retention"
        ))
    };
    Ok(dead.ok_or_else(missing)?)
}
