//! Counts the events that a replay would deliver, and starts the replay once the operator confirms the count.

use std::{num::NonZeroU32, sync::Arc};

use askama::Template;
use axum::extract::Path;

use super::starts::{ReplayStart, Starts};
use crate::{
    admin::{
        decision::{handlers::running_handler, replays::Plan},
        error::RequestError,
        page::{
            dead,
            error_page::{ErrorPage, PageResult},
            form::Posted,
            form_fields::{FormFields, SELECTION},
            format::{When, duration, number, quantity},
            frame::Frame,
            links,
        },
        selection::FilterSelection,
        wire::ReplayRequest,
    },
    dispatch::Matches,
    journal::Journal,
};

/// The events that a replay would deliver.
#[derive(Template)]
#[template(path = "replay-count.html")]
struct ReplayCountPage {
    frame: Frame,
    handler: Arc<str>,
    events: String,
    is_something: bool,
    /// Seq of the first event, and when it was received. `last` is the same for the last event.
    first: Option<(u64, Option<When>)>,
    last: Option<(u64, Option<When>)>,
    /// The filled-in fields: label and value.
    filled_in: Vec<(&'static str, String)>,
    /// Why the replay would not start delivering now.
    waits: Option<String>,
    fields: Vec<(String, String)>,
    /// The link back to the filled-in form.
    back: String,
}

/// `POST /handlers/{name}/replay`: counts the events and delivers nothing. The fields are `of` (`dead` counts only dead
/// letters), `rate`, and [`SELECTION`].
pub(in crate::admin::page) async fn count(Path(name): Path<String>, posted: Posted) -> PageResult {
    let Posted { visit, fields: form } = posted;
    let handler = running_handler(&visit.shared, &name)?;
    let mut fields = form.kept(&SELECTION);
    let own = links::handler(&handler);
    if form.has("of", "dead") {
        fields.push(("handler".to_owned(), handler.to_string()));
        let back = links::with_query(&own, &form.kept(&[&SELECTION[..], &["of"]].concat()));
        let back = (back, "Change the selection");
        return dead::confirm_retry(visit, &FormFields::from(fields), back).await;
    }
    fields.extend(form.kept(&["rate"]));
    let back = links::with_query(&own, &fields);
    let request = request(&form, &handler)?;
    let rate = request.rate;
    let plan = Plan::of(&visit.shared, request, form.read("upto")?).await?;
    let matches = match &plan {
        Some(plan) => plan.count(&visit.shared).await?,
        None => Matches::default(),
    };
    let is_something = matches.events > 0;
    let waits = plan.as_ref().filter(|_| is_something).and_then(|plan| plan.waits(&visit.shared));
    // `upto` bounds the replay to the events that were counted, even if more arrive before it starts.
    fields.push(("handler".to_owned(), handler.to_string()));
    fields.extend(plan.map(|plan| ("upto".to_owned(), plan.new.upto.to_string())));
    fields.extend(Starts::number().map(|number| ("start".to_owned(), number.to_string())));
    let first = seq_with_time(visit.journal(), matches.first).await?;
    let last = seq_with_time(visit.journal(), matches.last).await?;
    let filled_in = filled_in(&form, rate, matches.events);
    let events = quantity(matches.events, "event", "events");
    visit.show(|frame| ReplayCountPage {
        frame,
        handler,
        events,
        is_something,
        first,
        last,
        filled_in,
        waits,
        fields,
        back,
    })
}

/// `POST /replays`: the fields are `handler`, `upto`, `rate`, `start` (a unique number that starts at most one replay),
/// and [`SELECTION`].
pub(in crate::admin::page) async fn start(posted: Posted) -> PageResult {
    let (form, shared) = (&posted.fields, &posted.visit.shared);
    let handler = running_handler(shared, form.value("handler"))?;
    let number: Option<u128> = form.read("start")?;
    let number =
        number.ok_or_else(|| RequestError::parameter("start", "is missing: count the events again"))?;
    let plan = Plan::of(shared, request(form, &handler)?, form.read("upto")?).await?;
    let plan =
        plan.ok_or_else(|| RequestError::NotFound("event that was received in that time".to_owned()))?;
    // On a double click, the browser aborts the first request. The task finishes anyway, and the second request gets
    // the replay that the first one started.
    let starting = Arc::clone(shared);
    #[expect(clippy::disallowed_methods, reason = "the task ends when the journal answers")]
    let start = tokio::spawn(async move { starting.starts.once(number, plan.start(&starting)).await });
    let what = match start.await.map_err(|_panicked| RequestError::Internal)?? {
        ReplayStart::Started(id) => format!("Replay {id} to {handler} was started."),
        ReplayStart::AlreadyStarted(id) => {
            format!("Replay {id} to {handler} was already started: no second replay was started.")
        }
    };
    posted.says("/replays", true, what)
}

fn request(form: &FormFields, handler: &str) -> Result<ReplayRequest<FilterSelection>, RequestError> {
    let (since, until) = form.times()?;
    let (filter, rate) = (form.filter_selection()?, form.read("rate")?);
    Ok(ReplayRequest { handler: handler.to_owned(), since, until, filter, rate, dry_run: false })
}

/// A seq with the time when the event was received; no time if retention has deleted the event since.
async fn seq_with_time(
    journal: &dyn Journal,
    seq: Option<u64>,
) -> Result<Option<(u64, Option<When>)>, ErrorPage> {
    let Some(seq) = seq else { return Ok(None) };
    let event = journal.get(seq).await?;
    Ok(Some((seq, event.map(|event| When::from(event.came_at)))))
}

/// The filled-in fields: label and value.
fn filled_in(form: &FormFields, rate: Option<NonZeroU32>, events: u64) -> Vec<(&'static str, String)> {
    let words = [
        ("event", "Event name"),
        ("status", "Status"),
        ("phone", "Phone"),
        ("message", "Message id"),
        ("since", "Received from"),
        ("until", "Received before"),
    ];
    let mut filled_in: Vec<(&'static str, String)> = words
        .into_iter()
        .filter_map(|(name, word)| {
            let text = form.text(name)?;
            let is_time = ["since", "until"].contains(&name);
            Some((word, if is_time { text.replace('T', " ") } else { text.to_owned() }))
        })
        .collect();
    if let Some(rate) = rate {
        let ms = i64::try_from(events.saturating_mul(1_000) / u64::from(rate.get())).unwrap_or(i64::MAX);
        let (a_second, in_all) = (number(rate.get()), duration(ms));
        filled_in.push(("Rate", format!("at most {a_second} per second: {in_all} or longer")));
    }
    filled_in
}
