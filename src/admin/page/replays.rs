//! `/replays`: how far each is, and what can be asked of it. One is counted first, and then started by what that page holds.

use std::{num::NonZeroU32, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{
    asked::Asked,
    choice::{Choice, FIELDS},
    confirm::Confirm,
    dead,
    form::Posted,
    frame::{Frame, Visit},
    handlers::path_of,
    shown::{Share, Tag, When, count as number, counted, duration},
    sorry::Sorry,
};
use crate::{
    admin::{
        Shared,
        decision::{
            handlers::at_work,
            replays::{self, Plan, Wish},
        },
        fault::Fault,
    },
    dispatch::{LaneCondition, Matches},
    handler::FilterSettings,
    journal::ReplayState,
};

/// A replay in the list.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) handler: Arc<str>,
    /// Its handler's page, where this process has it.
    pub(super) link: Option<String>,
    pub(super) tag: Tag,
    pub(super) waits: Option<String>,
    pub(super) through: Share,
    pub(super) delivered: String,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Which events, and how fast.
    pub(super) chosen: String,
    pub(super) created_at: When,
    pub(super) ended_at: Option<When>,
    pub(super) is_paused: bool,
}

impl Row {
    /// Newest first; of one handler, where it is given.
    pub(super) fn all(shared: &Shared, of: Option<&str>) -> Result<Vec<Self>, Fault> {
        let status = shared.state.desk.status();
        let known = replays::Row::all(shared)?.into_iter().rev();
        let wanted = known.filter(|row| of.is_none_or(|of| *row.handler == *of));
        Ok(wanted
            .map(|row| {
                let is_at_work = status.iter().any(|lane| lane.handler == row.handler);
                Self::new(row, is_at_work)
            })
            .collect())
    }

    fn new(row: replays::Row, is_at_work: bool) -> Self {
        let tag = match row.state {
            ReplayState::Running if row.waits.is_some() => Tag::new("warn", "waits"),
            ReplayState::Running => Tag::new("ok", "running"),
            ReplayState::Paused => Tag::new("warn", "paused"),
            ReplayState::Done => Tag::new("", "done"),
            ReplayState::Cancelled => Tag::new("", "cancelled"),
        };
        let signed = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let through = row.cursor.map_or(0, |cursor| cursor.saturating_sub(row.after));
        let rate = row.rate.map(|rate| format!("at most {} a second", number(rate.get())));
        let settings: Option<FilterSettings> = serde_json::from_str(row.filter.get()).ok();
        let chosen = settings.and_then(|settings| settings.in_words());
        Self {
            id: row.id,
            link: is_at_work.then(|| path_of(&row.handler)),
            handler: row.handler,
            tag,
            waits: row.waits,
            through: Share::new(signed(through), signed(row.upto - row.after), "ok"),
            delivered: row.delivered.map_or_else(|| "–".to_owned(), number),
            first: row.after + 1,
            last: row.upto,
            chosen: chosen.into_iter().chain(rate).collect::<Vec<_>>().join("; "),
            created_at: When::from(row.created_at),
            ended_at: row.ended_at.map(When::from),
            is_paused: row.state == ReplayState::Paused,
        }
    }
}

#[derive(Template)]
#[template(path = "replays.html")]
struct Page {
    frame: Frame,
    replays: Vec<Row>,
    /// Handlers' pages, with their names.
    handlers: Vec<(String, Arc<str>)>,
    /// Some have not ended.
    at_work: bool,
}

/// `GET /replays`
pub(super) async fn list(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let replays = Row::all(&shared, None)?;
    let mut handlers: Vec<(String, Arc<str>)> =
        shared.state.desk.status().into_iter().map(|lane| (path_of(&lane.handler), lane.handler)).collect();
    handlers.dedup();
    let at_work = replays.iter().any(|replay| replay.ended_at.is_none());
    visit.show(|frame| Page { frame, replays, handlers, at_work })
}

/// What a replay would deliver.
#[derive(Template)]
#[template(path = "replay-count.html")]
struct Counted {
    frame: Frame,
    handler: Arc<str>,
    events: String,
    is_something: bool,
    /// The first event and the last, with when they were received.
    first: Option<(u64, Option<When>)>,
    last: Option<(u64, Option<When>)>,
    /// What was asked for.
    asked: Vec<(&'static str, String)>,
    /// Why it would not begin now.
    waits: Option<String>,
    fields: Vec<(String, String)>,
    /// The form, as it was filled in.
    back: String,
}

/// `POST /handlers/{name}/replay`: counts, and delivers nothing. Fields `of`, `rate`, and those of a [`Choice`].
pub(super) async fn count(
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
        return dead::counted(&shared, posted.visit, &Asked::from(fields), (back, "Change it")).await;
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
    // What was counted is what is started, whatever is received meanwhile.
    fields.push(("handler".to_owned(), handler.to_string()));
    fields.extend(plan.map(|plan| ("upto".to_owned(), plan.new.upto.to_string())));
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

/// `POST /replays`: fields `handler`, `upto`, `rate`, and those of a [`Choice`].
pub(super) async fn start(State(shared): State<Arc<Shared>>, posted: Posted) -> Result<Response, Sorry> {
    let asked = &posted.fields;
    let handler = at_work(&shared, asked.text("handler").unwrap_or_default())?;
    let plan = Plan::of(&shared, wish(asked, &handler)?).await?;
    let plan = plan.ok_or_else(|| Fault::Nothing("event that was received in that time".to_owned()))?;
    let id = plan.start(&shared).await?;
    Ok(posted.done(&shared, "/replays", &format!("Replay {id} to {handler} is started.")))
}

/// `POST /replays/{id}/pause`
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    change(&shared, &id, &posted, ReplayState::Paused, "is paused").await
}

/// `POST /replays/{id}/resume`
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    change(&shared, &id, &posted, ReplayState::Running, "goes on").await
}

/// `GET /replays/{id}/cancel`: asks once more.
pub(super) async fn ask_to_cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    let row = replays::Row::one(&shared, read(&id)?)?;
    let id = row.id;
    let has_ended = row.ended_at.is_some();
    let what = if has_ended {
        format!("It is {} already.", row.state.as_str())
    } else {
        "What it has delivered stays delivered; the rest is not delivered by it. It cannot be resumed after that."
            .to_owned()
    };
    visit.show(|frame| Confirm {
        frame,
        title: format!("Cancel replay {id} to {}?", row.handler),
        what: vec![what],
        action: (!has_ended).then(|| format!("/replays/{id}/cancel")),
        fields: Vec::new(),
        button: format!("Cancel replay {id}"),
        for_good: true,
        back: ("/replays".to_owned(), "Leave it"),
    })
}

/// `POST /replays/{id}/cancel`: for good.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    change(&shared, &id, &posted, ReplayState::Cancelled, "is cancelled").await
}

async fn change(
    shared: &Shared,
    id: &str,
    posted: &Posted,
    to: ReplayState,
    done: &str,
) -> Result<Response, Sorry> {
    let id = read(id)?;
    let what = match replays::change(shared, id, to).await {
        Ok(true) => format!("Replay {id} {done}."),
        Ok(false) => format!("Replay {id} was so already."),
        // It ended while somebody looked at it.
        Err(error @ Fault::Nothing(_)) if replays::Row::one(shared, id).is_ok() => {
            format!("Nothing was done: {error}.")
        }
        Err(error) => return Err(error.into()),
    };
    // The page that asks once more is no page to go back to.
    let back = if to == ReplayState::Cancelled { "/replays" } else { posted.back_to() };
    Ok(posted.done(shared, back, &what))
}

fn read(id: &str) -> Result<i64, Fault> {
    id.parse().map_err(|_invalid| Fault::parameter("id", "is not a number"))
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

/// An event, with when it was received; retention may have taken it since.
async fn placed(shared: &Shared, seq: Option<u64>) -> Result<Option<(u64, Option<When>)>, Sorry> {
    let Some(seq) = seq else { return Ok(None) };
    let event = shared.state.journal.get(seq).await?;
    Ok(Some((seq, event.map(|event| When::from(event.received_at)))))
}

/// What was asked for, as it was filled in.
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
        .filter_map(|(name, word)| Some((word, asked.text(name)?.replace('T', " "))))
        .collect();
    if let Some(rate) = rate {
        let ms = i64::try_from(events.saturating_mul(1_000) / u64::from(rate.get())).unwrap_or(i64::MAX);
        let (a_second, in_all) = (number(rate.get()), duration(ms));
        told.push(("Pace", format!("at most {a_second} a second: {in_all} or longer")));
    }
    told
}

/// Why a replay to this handler would not begin now.
fn waits(shared: &Shared, handler: &str) -> Option<String> {
    let known = Arc::clone(&shared.state.journal.replays().borrow());
    let before = known.values().any(|one| !one.state.has_ended() && *one.asked.handler == *handler);
    let lanes = shared.state.desk.status();
    let own = || lanes.iter().filter(|lane| *lane.handler == *handler);
    let why = if own().any(|lane| lane.state == LaneCondition::Paused) {
        "the handler is paused: it begins when that is resumed"
    } else if own().any(|lane| lane.state != LaneCondition::Running) {
        "the handler’s destination is unwell: it begins when that takes events again"
    } else if before {
        "another replay to this handler goes first"
    } else {
        return None;
    };
    Some(format!("It would wait: {why}."))
}
