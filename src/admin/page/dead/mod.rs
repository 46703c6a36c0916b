//! `/dead`: events that handlers do not get unless an operator retries them, and the page of each dead letter.

mod actions;
mod one;

pub(super) use actions::{
    ask_to_drop, confirm_retry, count_matching, drop, retry, retry_matching, to_the_list,
};
pub(super) use one::one;

use std::sync::Arc;

use askama::Template;

use super::{
    super::redaction::Redaction,
    error_page::PageResult,
    events::word,
    form_fields::{FormFields, SELECTION},
    format::{Tag, When, quantity},
    frame::Frame,
    visit::PageVisit,
};
use crate::{
    admin::{chunks::CHUNK, decision::dead::DeadFilter, error::RequestError},
    journal::{Cause, DeadLetter, DeadQuery, Journal},
};

/// Dead letters per page.
const LIMIT: usize = 50;
/// A page ends once this many dead letters have been read, even if few of them match. Reading them is slow, because
/// each contains a copy of its event.
const LOOKED_AT: usize = 1_000;
/// The list shows only this many characters of an error.
const ERROR_CHARS: usize = 160;
/// The fields of the form on `/dead`, in addition to [`SELECTION`].
const OWN_FIELDS: [&str; 3] = ["handler", "cause", "error"];

struct DeadTableRow {
    id: i64,
    died_at: When,
    handler: Arc<str>,
    name: String,
    cause: Tag,
    error: String,
    attempts: u32,
    retrying: bool,
}

impl DeadTableRow {
    fn of(dead: &DeadLetter, redaction: Redaction) -> Self {
        let mut error: String = redaction.error(&dead.error).chars().take(ERROR_CHARS + 1).collect();
        if error.chars().count() > ERROR_CHARS {
            error.pop();
            error.push('…');
        }
        Self {
            id: dead.id,
            died_at: When::from(dead.died_at),
            handler: Arc::clone(&dead.lane.handler),
            name: word(dead.event.element.name()),
            cause: cause_tag(dead.cause),
            error,
            attempts: dead.attempts,
            retrying: dead.retrying,
        }
    }
}

fn cause_tag(cause: Cause) -> Tag {
    Tag::new(if cause == Cause::Refused { "bad" } else { "warn" }, cause.as_str())
}

#[derive(Template)]
#[template(path = "dead.html")]
struct DeadListPage {
    frame: Frame,
    /// Handlers that are configured or have dead letters: the name, and the number of dead letters.
    handlers: Vec<(Arc<str>, u64)>,
    total: String,
    is_empty: bool,
    causes: [&'static str; 2],
    rows: Vec<DeadTableRow>,
    next: Option<String>,
    /// The fields of the form that are set.
    fields: Vec<(String, String)>,
}

/// `GET /dead?handler=&cause=&error=&event=&status=&phone=&message=&since=&until=&before=`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let (form, journal) = (visit.form(), visit.journal());
    let (rows, next) = page(journal, &filter(form)?, form.read("before")?, visit.redaction()).await?;
    let next = next.map(|next| form.older("/dead", next));
    let mut handlers = journal.figures().await?.dead;
    let total: u64 = handlers.iter().map(|(_, dead)| dead).sum();
    for lane in visit.shared.parts.desk.status() {
        if handlers.iter().all(|(name, _)| *name != lane.handler) {
            handlers.push((lane.handler, 0));
        }
    }
    handlers.sort();
    let fields = list_fields(form);
    visit.show(|frame| DeadListPage {
        frame,
        handlers,
        total: quantity(total, "dead letter", "dead letters"),
        is_empty: total == 0,
        causes: [Cause::Refused, Cause::Expired].map(Cause::as_str),
        rows,
        next,
        fields,
    })
}

/// The given fields of the form on `/dead`.
fn list_fields(form: &FormFields) -> Vec<(String, String)> {
    form.kept(&[&SELECTION[..], &OWN_FIELDS].concat())
}

/// The filter for the dead letters that a form selects.
fn filter(form: &FormFields) -> Result<DeadFilter, RequestError> {
    let cause = form.text("cause").map(|cause| {
        Cause::from_name(cause).ok_or_else(|| RequestError::parameter("cause", "must be refused or expired"))
    });
    Ok(DeadFilter {
        handler: form.text("handler").map(str::to_owned),
        events: form.events()?,
        cause: cause.transpose()?,
        error: form.text("error").map(str::to_owned),
        ..DeadFilter::default()
    })
}

/// A page of matching dead letters, newest first, and the `before` of the next page.
async fn page(
    journal: &dyn Journal,
    filter: &DeadFilter,
    before: Option<i64>,
    redaction: Redaction,
) -> Result<(Vec<DeadTableRow>, Option<i64>), RequestError> {
    let (mut rows, mut before, mut looked_at) = (Vec::new(), before, 0);
    while looked_at < LOOKED_AT {
        let query = DeadQuery { handler: filter.handler.clone(), before, limit: CHUNK };
        let chunk = journal.dead_letters(query).await?;
        for dead in &chunk {
            if rows.len() == LIMIT {
                return Ok((rows, before));
            }
            before = Some(dead.id);
            if filter.matches(dead) {
                rows.push(DeadTableRow::of(dead, redaction));
            }
        }
        if chunk.len() < CHUNK {
            return Ok((rows, None));
        }
        looked_at += chunk.len();
    }
    Ok((rows, before))
}
