//! `/events`: received events, newest first, and the page of each event.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::{
    choice::Choice,
    frame::{Frame, Visit},
    json::indented,
    shown::{Tag, When, counted, duration},
    sorry::Sorry,
    veil::Veil,
};
use crate::{
    admin::{Shared, fault::Fault, narrow::sifted},
    clock::Timestamp,
    event::{Event, View, WORD_CHARS, excerpt, joined},
    insight::ask,
    journal::{EventQuery, HandlerProgress},
};

/// Events per page.
const LIMIT: usize = 50;
/// An element longer than this is cut on the page. Its raw bytes can be downloaded in full.
const SHOWN_BYTES: usize = 256 * 1024;

/// Shortens a word from an event for display.
pub(super) fn word(text: &str) -> String {
    excerpt(text, WORD_CHARS).into_owned()
}

pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) at: When,
    pub(super) name: String,
    pub(super) statuses: Vec<Tag>,
    pub(super) source: Arc<str>,
    pub(super) channel: String,
    pub(super) owner: String,
    pub(super) address: String,
}

impl Row {
    pub(super) fn of(event: &Event, veil: Veil) -> Self {
        let view = event.element.view();
        let channels = view.channels().take(10).map(|channel| word(channel.as_str()));
        let owners = view.owners().take(10).map(|owner| word(owner.as_str()));
        let addresses = view.addresses().take(3).map(|address| word(&veil.address(address)));
        Self {
            seq: event.seq,
            at: When::from(event.came_at),
            name: word(event.element.name()),
            statuses: view.statuses().take(10).map(|status| Tag::of_status(&word(status.as_str()))).collect(),
            source: Arc::clone(&event.source),
            channel: joined(channels, ", ").unwrap_or_default(),
            owner: joined(owners, ", ").unwrap_or_default(),
            address: joined(addresses, ", ").unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "events.html")]
struct Page {
    frame: Frame,
    choice: Choice,
    source: String,
    rows: Vec<Row>,
    next: Option<String>,
}

/// `GET /events?event=&status=&source=&phone=&message=&since=&until=&before=`
pub(super) async fn list(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let asked = &visit.asked;
    let source = asked.text("source");
    let (since, until) = Choice::times(asked)?;
    let query = EventQuery {
        name: None,
        source: source.map(str::to_owned),
        since,
        until,
        before: asked.read("before")?,
        limit: LIMIT,
    };
    let journal = &*shared.state.journal;
    let page = match Choice::filter(asked)? {
        Some(filter) => sifted(journal, query, &filter).await?,
        None => journal.events(query).await?,
    };
    let veil = visit.veil();
    let rows = page.events.iter().map(|event| Row::of(event, veil)).collect();
    let next = page.next.map(|next| asked.with("/events", "before", &next.to_string()));
    let (choice, source) = (Choice::of(asked), source.unwrap_or_default().to_owned());
    visit.show(|frame| Page { frame, choice, source, rows, next })
}

#[derive(Template)]
#[template(path = "event.html")]
struct One {
    frame: Frame,
    row: Row,
    /// BIK's id of the event.
    id: Option<String>,
    store: Option<String>,
    /// The creation times in the event, in BIK's own notation.
    made: Vec<String>,
    size: String,
    json: String,
    /// The element was cut.
    cut: bool,
    messages: Vec<Link>,
    stands: Vec<Stand>,
    newest: u64,
}

/// A message that the event mentions.
struct Link {
    text: String,
    /// The id of the message in insight; `None` if insight does not have it.
    number: Option<i64>,
}

/// The state of an event in one lane of a handler: the lane that the event goes through.
struct Stand {
    handler: Arc<str>,
    lane: &'static str,
    tag: Tag,
    /// The id of the dead letter that the event became.
    dead: Option<i64>,
    /// When the lane passed the event, and how long after the receipt; `None` if that time is not stored, or no longer
    /// stored.
    at: Option<(When, String)>,
}

impl Stand {
    fn of(passage: HandlerProgress, event: &Event) -> Self {
        let HandlerProgress { handler, class, passed, at, aside, dead } = passage;
        let tag = match (dead, aside, passed) {
            (Some(_), ..) => Tag::new("bad", "dead letter"),
            (None, true, _) => Tag::new("warn", "set aside"),
            (None, false, true) => Tag::new("ok", "passed"),
            (None, false, false) => Tag::new("warn", "not yet"),
        };
        let after = |at: Timestamp| duration(at.ms_since(event.came_at).max(0));
        Self { handler, lane: class.as_str(), tag, dead, at: at.map(|at| (When::from(at), after(at))) }
    }
}

/// `GET /events/{seq}`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(seq): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    let event = event(&shared, &seq).await?;
    let veil = visit.veil();
    let (json, cut) = shown_json(&event.element.rendered(), veil);
    let ids: Vec<String> = event.element.view().message_ids().take(50).map(str::to_owned).collect();
    let messages = messages(&shared, &event.source, ids, veil).await?;
    let passages = shared.passages(&event).await?;
    let stands = passages.into_iter().map(|passage| Stand::of(passage, &event)).collect();
    let view = event.element.view();
    let (store, made) = (view.store_id().map(word), made(&view));
    let row = Row::of(&event, veil);
    // The id of a subscribed event ends with a phone number or an object's id, so it is masked.
    let is_subscribed = matches!(view, View::Subscribed(_));
    let id = event.element.id().map(|id| if is_subscribed { word(&veil.address(id)) } else { word(id) });
    let size = counted(event.element.raw().len() as u64, "byte", "bytes");
    let newest = *shared.state.journal.tip().borrow();
    visit.show(|frame| One { frame, row, id, store, made, size, json, cut, messages, stands, newest })
}

/// Formats a rendered element for display. Returns whether it was cut.
pub(super) fn shown_json(rendered: &str, veil: Veil) -> (String, bool) {
    let end = rendered.floor_char_boundary(SHOWN_BYTES);
    let (json, cut) = indented(&rendered[..end], veil);
    (json, cut || end < rendered.len())
}

/// `GET /events/{seq}/bytes`: the raw bytes of the event as a file download.
pub(super) async fn bytes(
    State(shared): State<Arc<Shared>>,
    Path(seq): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    if !visit.veil().lifted {
        return Err(Sorry::Veiled);
    }
    let event = event(&shared, &seq).await?;
    let name = format!("attachment; filename=\"event-{}.json\"", event.seq);
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, event.element.raw().as_bytes().to_vec()).into_response())
}

async fn event(shared: &Shared, seq: &str) -> Result<Arc<Event>, Sorry> {
    let nothing = || Fault::Nothing(format!("event {seq}: it was never stored, or retention deleted it"));
    let seq: u64 = seq.parse().map_err(|_invalid| Fault::parameter("seq", "is not a number"))?;
    Ok(shared.state.journal.get(seq).await?.ok_or_else(nothing)?)
}

/// Links to the messages with these ids. A message that insight does not know gets no number.
async fn messages(
    shared: &Shared,
    source: &Arc<str>,
    ids: Vec<String>,
    veil: Veil,
) -> Result<Vec<Link>, Sorry> {
    let unknown = |id: &String| Link { text: word(&veil.id(id)), number: None };
    let Some(insight) = &shared.state.insight else { return Ok(ids.iter().map(unknown).collect()) };
    let (classes, source) = (insight.failures().clone(), Arc::clone(source));
    let asked = insight.ask(move |connection| {
        let mut found = Vec::new();
        for id in ids {
            let all = ask::timeline(connection, &id, &classes)?;
            let number = all.iter().map(|one| &one.message).find(|message| message.source == source);
            found.push((number.map(|message| message.id), id));
        }
        Ok(found)
    });
    let link = |(number, id): (Option<i64>, String)| Link { number, ..unknown(&id) };
    Ok(asked.await?.into_iter().map(link).collect())
}

fn made(view: &View<'_>) -> Vec<String> {
    let mut all: Vec<String> =
        view.facts().filter_map(|fact| fact.created_at).map(|at| word(&at.text)).collect();
    all.dedup();
    all.truncate(10);
    all
}
