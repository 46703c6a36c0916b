//! `/dead`: events that handlers do not get unless an operator retries them, and the page of each dead letter.

mod actions;
mod one;

pub(super) use actions::{ask_to_drop, count_matching, counted, drop, retry, retry_matching, to_the_list};
pub(super) use one::one;

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    asked::Asked,
    choice::{Choice, FIELDS},
    events::word,
    frame::{Frame, Visit},
    shown::{Tag, When, counted as number_of},
    sorry::Sorry,
    veil::Veil,
};
use crate::{
    admin::{Shared, chunks::CHUNK, decision::dead::Matching, fault::Fault},
    handler::FailureText,
    journal::{Cause, DeadLetter, DeadQuery},
};

/// Dead letters per page.
const LIMIT: usize = 50;
/// A page ends after reading this many dead letters: each is read with its payload.
const LOOKED_AT: usize = 1_000;
/// The list shows only this many characters of an error.
const ERROR_CHARS: usize = 160;
/// The form's fields in addition to those of a [`Choice`].
const OWN_FIELDS: [&str; 3] = ["handler", "cause", "error"];

struct Row {
    id: i64,
    died_at: When,
    handler: Arc<str>,
    name: String,
    cause: Tag,
    error: String,
    attempts: u32,
    retrying: bool,
}

impl Row {
    fn of(dead: &DeadLetter, veil: Veil) -> Self {
        let text = FailureText::read(&dead.error);
        let mut error: String = veil.error(&text).chars().take(ERROR_CHARS + 1).collect();
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
struct Page {
    frame: Frame,
    /// Handlers that run or have dead letters: the name, whether it is selected, and its number of dead letters.
    handlers: Vec<(Arc<str>, bool, u64)>,
    total: String,
    is_empty: bool,
    causes: [(&'static str, bool); 2],
    choice: Choice,
    error: String,
    rows: Vec<Row>,
    next: Option<String>,
    /// At least one field of the form is set.
    is_chosen: bool,
    fields: Vec<(String, String)>,
}

/// `GET /dead?handler=&cause=&error=&event=&status=&phone=&message=&since=&until=&before=`
pub(super) async fn list(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let asked = &visit.asked;
    let matching = matching(asked)?;
    let (found, next) = page(&shared, &matching, asked.read("before")?, visit.veil()).await?;
    let next = next.map(|next| asked.with("/dead", "before", &next.to_string()));
    let figures = shared.state.journal.figures().await?;
    let total: u64 = figures.dead.iter().map(|(_, dead)| dead).sum();
    let chosen = |name: &str| matching.handler.as_deref() == Some(name);
    let mut handlers: Vec<(Arc<str>, bool, u64)> =
        figures.dead.iter().map(|(name, dead)| (Arc::clone(name), chosen(name), *dead)).collect();
    for lane in shared.state.desk.status() {
        if handlers.iter().all(|(name, ..)| *name != lane.handler) {
            handlers.push((Arc::clone(&lane.handler), chosen(&lane.handler), 0));
        }
    }
    handlers.sort();
    let causes =
        [Cause::Refused, Cause::Expired].map(|cause| (cause.as_str(), matching.cause == Some(cause)));
    let fields = asked.kept(&[&FIELDS[..], &OWN_FIELDS].concat());
    let is_chosen = !fields.is_empty();
    let (choice, error) = (Choice::of(asked), matching.error.unwrap_or_default());
    visit.show(|frame| Page {
        frame,
        handlers,
        total: number_of(total, "dead letter", "dead letters"),
        is_empty: total == 0,
        causes,
        choice,
        error,
        rows: found,
        next,
        is_chosen,
        fields,
    })
}

/// The selection of a request.
fn matching(asked: &Asked) -> Result<Matching, Fault> {
    let cause = asked.text("cause").map(|cause| {
        Cause::from_name(cause).ok_or_else(|| Fault::parameter("cause", "must be refused or expired"))
    });
    Ok(Matching {
        handler: asked.text("handler").map(str::to_owned),
        narrowed: Choice::narrowed(asked)?,
        cause: cause.transpose()?,
        error: asked.text("error").map(str::to_owned),
        ..Matching::default()
    })
}

/// A page of matching dead letters, newest first, and the cursor of the next page.
async fn page(
    shared: &Shared,
    matching: &Matching,
    before: Option<i64>,
    veil: Veil,
) -> Result<(Vec<Row>, Option<i64>), Fault> {
    let (mut rows, mut before, mut looked_at) = (Vec::new(), before, 0);
    while looked_at < LOOKED_AT {
        let query = DeadQuery { handler: matching.handler.clone(), before, limit: CHUNK };
        let chunk = shared.state.journal.dead_letters(query).await?;
        for dead in &chunk {
            if rows.len() == LIMIT {
                return Ok((rows, before));
            }
            before = Some(dead.id);
            if matching.takes(dead) {
                rows.push(Row::of(dead, veil));
            }
        }
        if chunk.len() < CHUNK {
            return Ok((rows, None));
        }
        looked_at += chunk.len();
    }
    Ok((rows, before))
}
