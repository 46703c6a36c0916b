//! `/dead`: events that handlers do not get unless an operator retries them, and the page of each dead letter.

mod actions;
mod one;

pub(super) use actions::{
    ask_to_drop, confirm_retry, count_matching, drop, retry, retry_matching, to_the_list,
};
pub(super) use one::one;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::{
    error_page::PageResult,
    events::word,
    form_fields::FormFields,
    format::{Tag, When, quantity},
    frame::Frame,
    redaction::Redaction,
    selection_form::{FIELDS, SelectionForm},
    visit::PageVisit,
};
use crate::{
    admin::{AdminState, chunks::CHUNK, decision::dead::DeadFilter, error::RequestError},
    handler::FailureText,
    journal::{Cause, DeadLetter, DeadQuery},
};

/// Dead letters per page.
const LIMIT: usize = 50;
/// A page ends after reading this many dead letters: each is read with its payload.
const LOOKED_AT: usize = 1_000;
/// The list shows only this many characters of an error.
const ERROR_CHARS: usize = 160;
/// The form's fields in addition to those of a [`SelectionForm`].
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
        let text = FailureText::read(&dead.error);
        let mut error: String = redaction.error(&text).chars().take(ERROR_CHARS + 1).collect();
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
    /// Handlers that run or have dead letters: the name, whether it is selected, and its number of dead letters.
    handlers: Vec<(Arc<str>, bool, u64)>,
    total: String,
    is_empty: bool,
    causes: [(&'static str, bool); 2],
    selection: SelectionForm,
    error: String,
    rows: Vec<DeadTableRow>,
    next: Option<String>,
    /// At least one field of the form is set.
    is_chosen: bool,
    fields: Vec<(String, String)>,
}

/// `GET /dead?handler=&cause=&error=&event=&status=&phone=&message=&since=&until=&before=`
pub(super) async fn list(State(shared): State<Arc<AdminState>>, visit: PageVisit) -> PageResult {
    let form = &visit.form;
    let filter = filter(form)?;
    let (found, next) = page(&shared, &filter, form.read("before")?, visit.redaction()).await?;
    let next = next.map(|next| form.with("/dead", "before", &next.to_string()));
    let figures = shared.parts.journal.figures().await?;
    let total: u64 = figures.dead.iter().map(|(_, dead)| dead).sum();
    let chosen = |name: &str| filter.handler.as_deref() == Some(name);
    let mut handlers: Vec<(Arc<str>, bool, u64)> =
        figures.dead.iter().map(|(name, dead)| (Arc::clone(name), chosen(name), *dead)).collect();
    for lane in shared.parts.desk.status() {
        if handlers.iter().all(|(name, ..)| *name != lane.handler) {
            handlers.push((Arc::clone(&lane.handler), chosen(&lane.handler), 0));
        }
    }
    handlers.sort();
    let causes = [Cause::Refused, Cause::Expired].map(|cause| (cause.as_str(), filter.cause == Some(cause)));
    let fields = form.kept(&[&FIELDS[..], &OWN_FIELDS].concat());
    let is_chosen = !fields.is_empty();
    let (selection, error) = (SelectionForm::of(form), filter.error.unwrap_or_default());
    visit.show(|frame| DeadListPage {
        frame,
        handlers,
        total: quantity(total, "dead letter", "dead letters"),
        is_empty: total == 0,
        causes,
        selection,
        error,
        rows: found,
        next,
        is_chosen,
        fields,
    })
}

/// The selection of a request.
fn filter(form: &FormFields) -> Result<DeadFilter, RequestError> {
    let cause = form.text("cause").map(|cause| {
        Cause::from_name(cause).ok_or_else(|| RequestError::parameter("cause", "must be refused or expired"))
    });
    Ok(DeadFilter {
        handler: form.text("handler").map(str::to_owned),
        events: SelectionForm::events(form)?,
        cause: cause.transpose()?,
        error: form.text("error").map(str::to_owned),
        ..DeadFilter::default()
    })
}

/// A page of matching dead letters, newest first, and the cursor of the next page.
async fn page(
    shared: &AdminState,
    filter: &DeadFilter,
    before: Option<i64>,
    redaction: Redaction,
) -> Result<(Vec<DeadTableRow>, Option<i64>), RequestError> {
    let (mut rows, mut before, mut looked_at) = (Vec::new(), before, 0);
    while looked_at < LOOKED_AT {
        let query = DeadQuery { handler: filter.handler.clone(), before, limit: CHUNK };
        let chunk = shared.parts.journal.dead_letters(query).await?;
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
