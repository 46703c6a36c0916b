//! `/events`: received events, newest first, and the page of each event.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;

use super::{
    super::redaction::Redaction,
    error_page::{ErrorPage, PageResult},
    format::{Tag, When, duration, quantity},
    frame::Frame,
    json::indented,
    visit::{PageVisit, download},
};
use crate::{
    admin::{
        error::RequestError,
        params::parse_number,
        selection::{is_without_own, read_filtered},
    },
    clock::Timestamp,
    event::{Event, View, WORD_CHARS, excerpt, joined},
    insight::ask,
    journal::{DeliveryState, EventQuery, HandlerProgress},
};

/// Events per page.
const LIMIT: usize = 50;
/// An element longer than this, in bytes, is cut on the page. Its raw bytes can be downloaded in full.
const SHOWN_BYTES: usize = 256 * 1024;

/// Shortens a value from an event for display.
pub(super) fn word(text: &str) -> String {
    excerpt(text, WORD_CHARS).into_owned()
}

pub(super) struct EventTableRow {
    pub(super) seq: u64,
    pub(super) at: When,
    pub(super) name: String,
    pub(super) statuses: Vec<Tag>,
    pub(super) source: Arc<str>,
    pub(super) channel: String,
    pub(super) owner: String,
    pub(super) address: String,
}

impl EventTableRow {
    pub(super) fn of(event: &Event, redaction: Redaction) -> Self {
        let view = event.element.view();
        let channels = view.channels().take(10).map(|channel| word(channel.as_str()));
        let owners = view.owners().take(10).map(|owner| word(owner.as_str()));
        let addresses = view.addresses().take(3).map(|address| word(&redaction.address(address)));
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
struct EventListPage {
    frame: Frame,
    rows: Vec<EventTableRow>,
    next: Option<String>,
}

/// `GET /events?event=&status=&source=&phone=&message=&since=&until=&before=`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let (form, journal) = (visit.form(), visit.journal());
    let (since, until) = form.times()?;
    let (source, filter) = (form.text("source"), form.filter()?);
    let query = EventQuery {
        name: None,
        without_own: is_without_own(source, None, filter.as_ref()),
        source: source.map(str::to_owned),
        since,
        until,
        before: form.read("before")?,
        limit: LIMIT,
    };
    let page = match filter {
        Some(filter) => read_filtered(journal, query, &filter).await?,
        None => journal.events(query).await?,
    };
    let redaction = visit.redaction();
    let rows = page.events.iter().map(|event| EventTableRow::of(event, redaction)).collect();
    let next = page.next.map(|next| form.older("/events", next));
    visit.show(|frame| EventListPage { frame, rows, next })
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventDetailPage {
    frame: Frame,
    row: EventTableRow,
    /// BIK's id of the event.
    id: Option<String>,
    store: Option<String>,
    /// The creation times in the event, in BIK's own notation.
    creation_times: Vec<String>,
    size: String,
    json: String,
    /// The element was cut.
    cut: bool,
    messages: Vec<MessageLink>,
    progress: Vec<ProgressTableRow>,
    newest: u64,
}

/// A message that the event mentions.
struct MessageLink {
    text: String,
    /// The id of the message in insight; `None` if insight is not available, or does not have the message.
    number: Option<i64>,
}

/// The state of an event at one handler, in the handler's lane for this event.
struct ProgressTableRow {
    handler: Arc<str>,
    lane: &'static str,
    tag: Tag,
    /// Who skipped the event or dropped its dead letter; `None` otherwise.
    by: Option<Arc<str>>,
    /// The id of the dead letter that the event became; `None` if the event is no dead letter.
    dead: Option<i64>,
    /// When the event got its state, and how long after the receipt; `None` if the journal does not have the time.
    at: Option<(When, String)>,
}

impl ProgressTableRow {
    fn of(progress: HandlerProgress, event: &Event) -> Self {
        let HandlerProgress { handler, class, state, by, at, dead, .. } = progress;
        let tag = match state {
            DeliveryState::Waiting => Tag::new("warn", "not yet"),
            DeliveryState::Delivered => Tag::new("ok", "delivered"),
            DeliveryState::NotWanted => Tag::new("", "not wanted"),
            DeliveryState::BeforeStart => Tag::new("", "before its start"),
            DeliveryState::SetAside => Tag::new("warn", "set aside"),
            DeliveryState::Dead => Tag::new("bad", "dead letter"),
            DeliveryState::Skipped => Tag::new("bad", "skipped"),
            DeliveryState::Dropped => Tag::new("bad", "dead letter dropped"),
            DeliveryState::Expired => Tag::new("bad", "dead letter expired"),
        };
        let after = |at: Timestamp| duration(at.ms_since(event.came_at).max(0));
        Self { handler, lane: class.as_str(), tag, by, dead, at: at.map(|at| (When::from(at), after(at))) }
    }
}

/// `GET /events/{seq}`
pub(super) async fn one(Path(seq): Path<String>, visit: PageVisit) -> PageResult {
    let event = event(&visit, &seq).await?;
    let redaction = visit.redaction();
    let (json, cut) = shown_json(&event.element.rendered(), redaction);
    let ids: Vec<String> = event.element.view().message_ids().take(50).map(str::to_owned).collect();
    let messages = messages(&visit, &event.source, ids).await?;
    let lanes = visit.shared.handler_progress(&event).await?;
    let progress = lanes.into_iter().map(|progress| ProgressTableRow::of(progress, &event)).collect();
    let view = event.element.view();
    let (store, creation_times) = (view.store_id().map(word), creation_times(&view));
    let row = EventTableRow::of(&event, redaction);
    // The id of an event of envelope B ("BIK Subscribed Events") may end with a phone number, so it is masked.
    let is_subscribed = matches!(view, View::Subscribed(_));
    let id = event.element.id().map(|id| if is_subscribed { word(&redaction.address(id)) } else { word(id) });
    let size = quantity(event.element.raw().len() as u64, "byte", "bytes");
    let newest = *visit.journal().tip().borrow();
    visit.show(|frame| EventDetailPage {
        frame,
        row,
        id,
        store,
        creation_times,
        size,
        json,
        cut,
        messages,
        progress,
        newest,
    })
}

/// A rendered element, formatted for display, and whether it was cut.
pub(super) fn shown_json(rendered: &str, redaction: Redaction) -> (String, bool) {
    let end = rendered.floor_char_boundary(SHOWN_BYTES);
    let (json, cut) = indented(&rendered[..end], redaction);
    (json, cut || end < rendered.len())
}

/// `GET /events/{seq}/bytes`: the raw bytes of the event as a file download.
pub(super) async fn bytes(Path(seq): Path<String>, visit: PageVisit) -> PageResult {
    visit.check_revealed()?;
    let event = event(&visit, &seq).await?;
    Ok(download(&format!("event-{}.json", event.seq), event.element.raw().as_bytes().to_vec()))
}

async fn event(visit: &PageVisit, seq: &str) -> Result<Arc<Event>, ErrorPage> {
    let seq: u64 = parse_number("seq", seq)?;
    let was_stored = (1..=*visit.journal().tip().borrow()).contains(&seq);
    let missing = || {
        let reason = if was_stored { "retention deleted it" } else { "it was never stored" };
        RequestError::NotFound(format!("event {seq}: {reason}"))
    };
    Ok(visit.journal().get(seq).await?.ok_or_else(missing)?)
}

/// Links to the messages with these ids. A message without a [`MessageLink::number`] has no page, so it is shown
/// without a link.
async fn messages(
    visit: &PageVisit,
    source: &Arc<str>,
    ids: Vec<String>,
) -> Result<Vec<MessageLink>, ErrorPage> {
    let unknown = |id: &String| MessageLink { text: word(&visit.redaction().id(id)), number: None };
    let Ok(insight) = visit.insight() else { return Ok(ids.iter().map(unknown).collect()) };
    let (classes, source) = (insight.failures().clone(), Arc::clone(source));
    let links = insight.ask(move |connection| {
        let mut found = Vec::new();
        for id in ids {
            let all = ask::timeline(connection, &id, &classes)?;
            let number = all.iter().map(|one| &one.message).find(|message| message.source == source);
            found.push((number.map(|message| message.id), id));
        }
        Ok(found)
    });
    let link = |(number, id): (Option<i64>, String)| MessageLink { number, ..unknown(&id) };
    Ok(links.await?.into_iter().map(link).collect())
}

fn creation_times(view: &View<'_>) -> Vec<String> {
    let mut all: Vec<String> =
        view.facts().filter_map(|fact| fact.created_at).map(|at| word(&at.text)).collect();
    all.dedup();
    all.truncate(10);
    all
}
