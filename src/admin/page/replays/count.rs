//! Counts the events of a replay, and starts the replay that was counted.

use std::{num::NonZeroU32, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::starts::{Begun, Starts};
use crate::{
    admin::{
        Shared,
        decision::{
            handlers::at_work,
            replays::{Plan, Wish},
        },
        fault::Fault,
        page::{
            asked::Asked,
            choice::{Choice, FIELDS},
            dead,
            form::Posted,
            frame::Frame,
            handlers::path_of,
            shown::{When, count as number, counted, duration},
            sorry::Sorry,
        },
    },
    dispatch::{LaneCondition, Matches},
};

/// The events that a replay would deliver.
#[derive(Template)]
#[template(path = "replay-count.html")]
struct Counted {
    frame: Frame,
    handler: Arc<str>,
    events: String,
    is_something: bool,
    /// Seq of the first event, and when it was received. `last` is the same for the last event.
    first: Option<(u64, Option<When>)>,
    last: Option<(u64, Option<When>)>,
    /// The filled-in fields: label and value.
    asked: Vec<(&'static str, String)>,
    /// Why the replay would not start delivering now.
    waits: Option<String>,
    fields: Vec<(String, String)>,
    /// The link back to the filled-in form.
    back: String,
}

/// `POST /handlers/{name}/replay`: counts the events and delivers nothing. The fields are `of`, `rate`, and those of a
/// [`Choice`].
pub(in crate::admin::page) async fn count(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    let handler = at_work(&shared, &name)?;
    let asked = &posted.fields;
    let mut fields = asked.kept(&FIELDS);
    let own = path_of(&handler);
    if asked.text("of") == Some("dead") {
        fields.push(("handler".to_owned(), handler.to_string()));
        let back = Asked::link(&own, &asked.kept(&[&FIELDS[..], &["of"]].concat()));
        return dead::counted(&shared, posted.visit, &Asked::from(fields), (back, "Change the selection"))
            .await;
    }
    fields.extend(asked.kept(&["rate"]));
    let back = Asked::link(&own, &fields);
    let wish = wish(asked, &handler)?;
    let rate = wish.rate;
    let plan = Plan::of(&shared, wish).await?;
    let matches = match &plan {
        Some(plan) => plan.count(&shared).await?,
        None => Matches::default(),
    };
    // `upto` bounds the replay to the events that were counted, even if more arrive before it starts.
    fields.push(("handler".to_owned(), handler.to_string()));
    fields.extend(plan.map(|plan| ("upto".to_owned(), plan.new.upto.to_string())));
    fields.extend(Starts::number().map(|number| ("start".to_owned(), number.to_string())));
    let first = placed(&shared, matches.first).await?;
    let last = placed(&shared, matches.last).await?;
    let asked = told(asked, rate, matches.events);
    let events = counted(matches.events, "event", "events");
    let (is_something, waits) = (matches.events > 0, waits(&shared, &handler));
    posted.visit.show(|frame| Counted {
        frame,
        handler,
        events,
        is_something,
        first,
        last,
        asked,
        waits: waits.filter(|_| is_something),
        fields,
        back,
    })
}

/// `POST /replays`: the fields are `handler`, `upto`, `rate`, `start` (a unique number that starts at most one replay),
/// and those of a [`Choice`].
pub(in crate::admin::page) async fn start(
    State(shared): State<Arc<Shared>>,
    posted: Posted,
) -> Result<Response, Sorry> {
    let asked = &posted.fields;
    let handler = at_work(&shared, asked.text("handler").unwrap_or_default())?;
    let number: Option<u128> = asked.read("start")?;
    let number = number.ok_or_else(|| Fault::parameter("start", "is missing: count the events again"))?;
    let plan = Plan::of(&shared, wish(asked, &handler)?).await?;
    let plan = plan.ok_or_else(|| Fault::Nothing("event that was received in that time".to_owned()))?;
    // On a double click, the browser aborts the first request. The task finishes anyway, and its replay is remembered.
    let starting = Arc::clone(&shared);
    #[expect(clippy::disallowed_methods, reason = "the task ends when the journal answers")]
    let begun = tokio::spawn(async move { starting.starts.once(number, plan.start(&starting)).await });
    let what = match begun.await.map_err(|_panicked| Fault::Inside)?? {
        Begun::Now(id) => format!("Replay {id} to {handler} was started."),
        Begun::Already(id) => {
            format!("Replay {id} to {handler} was already started: no second replay was started.")
        }
    };
    Ok(posted.says(&shared, "/replays", true, what))
}

fn wish(asked: &Asked, handler: &str) -> Result<Wish, Fault> {
    let (since, until) = Choice::times(asked)?;
    Ok(Wish {
        handler: handler.to_owned(),
        since,
        until,
        upto: asked.read("upto")?,
        chosen: Choice::chosen(asked)?,
        rate: asked.read("rate")?,
    })
}

/// A seq with the time when the event was received; no time if retention has deleted the event since.
async fn placed(shared: &Shared, seq: Option<u64>) -> Result<Option<(u64, Option<When>)>, Sorry> {
    let Some(seq) = seq else { return Ok(None) };
    let event = shared.state.journal.get(seq).await?;
    Ok(Some((seq, event.map(|event| When::from(event.came_at)))))
}

/// The filled-in fields: label and value.
fn told(asked: &Asked, rate: Option<NonZeroU32>, events: u64) -> Vec<(&'static str, String)> {
    let words = [
        ("event", "Event name"),
        ("status", "Status"),
        ("phone", "Phone"),
        ("message", "Message id"),
        ("since", "Received from"),
        ("until", "Received before"),
    ];
    let mut told: Vec<(&'static str, String)> = words
        .into_iter()
        .filter_map(|(name, word)| {
            let text = asked.text(name)?;
            let is_time = ["since", "until"].contains(&name);
            Some((word, if is_time { text.replace('T', " ") } else { text.to_owned() }))
        })
        .collect();
    if let Some(rate) = rate {
        let ms = i64::try_from(events.saturating_mul(1_000) / u64::from(rate.get())).unwrap_or(i64::MAX);
        let (a_second, in_all) = (number(rate.get()), duration(ms));
        told.push(("Rate", format!("at most {a_second} per second: {in_all} or longer")));
    }
    told
}

/// Why a replay to this handler would not start delivering now; `None` if it would.
fn waits(shared: &Shared, handler: &str) -> Option<String> {
    let known = Arc::clone(&shared.state.journal.replays().borrow());
    let before = known.values().any(|one| !one.state.has_ended() && *one.request.handler == *handler);
    let lanes = shared.state.desk.status();
    let own = || lanes.iter().filter(|lane| *lane.handler == *handler);
    let why = if own().any(|lane| lane.state == LaneCondition::Paused) {
        "the handler is paused, and the replay starts when it is resumed"
    } else if own().any(|lane| lane.state != LaneCondition::Running) {
        "a lane of the handler is not running, and the replay starts when it is"
    } else if before {
        "another replay to this handler runs first"
    } else {
        return None;
    };
    Some(format!("It would wait: {why}."))
}
