//! `/dead/{id}`: one dead letter with the history of its attempts.

use askama::Template;
use axum::extract::Path;

use super::cause_tag;
use crate::{
    admin::{
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
    journal::{Cause, DeadLetter, Journal},
};

#[derive(Template)]
#[template(path = "dead-letter.html")]
struct DeadLetterPage {
    frame: Frame,
    /// The link to the handler's page, if the handler is configured.
    link: Option<String>,
    /// The journal still has the event.
    has_event: bool,
    name: String,
    received_at: When,
    died_at: When,
    cause: Tag,
    why: &'static str,
    error: String,
    /// Attempt number, time and error of each kept attempt.
    tries: Vec<(u32, When, String)>,
    /// True if attempts are missing after the first one. The journal keeps only the first and the latest attempts.
    has_gap: bool,
    json: String,
    cut: bool,
    dead: DeadLetter,
}

/// `GET /dead/{id}`
pub(in crate::admin::page) async fn one(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    let dead = dead_letter(visit.journal(), &id).await?;
    let redaction = visit.redaction();
    let link = links::handler_of(&visit.shared.parts.desk.status(), &dead.lane.handler);
    let has_event = visit.journal().get(dead.event.seq).await?.is_some();
    let all = dead.history.tries();
    let has_gap = all.windows(2).any(|pair| pair[1].attempt > pair[0].attempt + 1);
    let tries =
        all.iter().map(|one| (one.attempt, When::from(one.at), redaction.error(&one.error))).collect();
    let (json, cut) = shown_json(&dead.event.element.rendered(), redaction);
    visit.show(|frame| DeadLetterPage {
        frame,
        link,
        has_event,
        name: word(dead.event.element.name()),
        received_at: When::from(dead.event.came_at),
        died_at: When::from(dead.died_at),
        cause: cause_tag(dead.cause),
        why: match dead.cause {
            Cause::Refused => "the destination refused it permanently",
            Cause::Expired => "it was set aside and not delivered in time, while other events were",
        },
        error: redaction.error(&dead.error),
        tries,
        has_gap,
        json,
        cut,
        dead,
    })
}

pub(super) async fn dead_letter(journal: &dyn Journal, id: &str) -> Result<DeadLetter, ErrorPage> {
    let id: i64 = parse_number("id", id)?;
    let dead = journal.dead_letter(id).await?;
    let missing = || {
        RequestError::NotFound(format!(
            "dead letter {id}: it never existed, or it was delivered, dropped or deleted by retention"
        ))
    };
    Ok(dead.ok_or_else(missing)?)
}
