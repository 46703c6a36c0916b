//! List and read events.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    answers::{JsonText, Octets},
    operation::Answer,
    schemas::Schemas,
};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        forward_feed::{self, ForwardPage},
        params::{Parameters, Segment, TakeParameters, UrlQuery},
        selection::{before_all_since, is_without_own, last_before, read_filtered},
        wire::{EventList, EventWithLanes, push_event},
    },
    handler::Filter,
    journal::{EventPage, EventQuery, Journal},
};

/// The parameters of `GET events`. With `after`, the list has the events with a higher seq, oldest first.
pub(super) struct EventListQuery {
    query: EventQuery,
    after: Option<u64>,
    raw: bool,
    filter: Option<Filter>,
}

impl TakeParameters for EventListQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let mut list = Self {
            query: EventQuery {
                name: query.take("name", "The complete event name.")?,
                source: query.take("source", SOURCE)?,
                without_own: false,
                since: query.since()?,
                until: query.until()?,
                before: query.before()?,
                limit: query.limit()?,
            },
            after: query.take("after", AFTER)?,
            raw: query.flag("raw", "1: include the stored bytes of each event as `raw`.")?,
            filter: query.filter()?,
        };
        let (source, name) = (list.query.source.as_deref(), list.query.name.as_deref());
        list.query.without_own = is_without_own(source, name, list.filter.as_ref());
        Ok(list)
    }
}

pub(super) const SOURCE: &str = "The name of the source. bikhook's own notices of dead letters have the source \
     `bikhook`, and are left out unless a source or an event name is given.";
const AFTER: &str =
    "Only events with a higher seq, oldest first; `next` is then the `after` of the following page.";

/// `GET events`
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    Parameters(EventListQuery { query, after, raw, filter }): Parameters<EventListQuery>,
) -> Result<JsonText<EventList>, RequestError> {
    let journal = &*shared.parts.journal;
    let page = match (after, filter) {
        (Some(after), filter) => oldest_first(journal, after, query, filter.unwrap_or_default()).await?,
        (None, None) => journal.events(query).await?,
        (None, Some(filter)) => read_filtered(journal, query, &filter).await?,
    };
    let mut rows = String::new();
    for event in &page.events {
        if !rows.is_empty() {
            rows.push(',');
        }
        push_event(&mut rows, event, raw).map_err(|_never| RequestError::Internal)?;
    }
    let next = page.next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    // The rows are JSON already, and are not parsed again.
    Ok(JsonText::new(format!("{{\"events\":[{rows}],\"next\":{next}}}")))
}

async fn oldest_first(
    journal: &dyn Journal,
    mut after: u64,
    mut query: EventQuery,
    filter: Filter,
) -> Result<EventPage, RequestError> {
    if let Some(since) = query.since {
        after = after.max(before_all_since(journal, since).await?);
    }
    if let Some(until) = query.until {
        let end = last_before(journal, until).await? + 1;
        query.before = Some(end.min(query.before.unwrap_or(end)));
    }
    let mut page = ForwardPage::new(after, query, filter);
    while let Some(after) = page.reads() {
        page.take(journal.claim_all(after, forward_feed::CHUNK).await?);
    }
    Ok(page.page())
}

/// The parameter of `GET events/{seq}`.
pub(super) struct RawFlag(bool);

impl TakeParameters for RawFlag {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        query.flag("raw", "1: return only the stored bytes of the event.").map(Self)
    }
}

/// The answer to `GET events/{seq}`: the event, or its bytes.
pub(super) enum OneEvent {
    Json(JsonText<EventWithLanes>),
    Raw(Octets),
}

impl IntoResponse for OneEvent {
    fn into_response(self) -> Response {
        match self {
            Self::Json(event) => event.into_response(),
            Self::Raw(bytes) => bytes.into_response(),
        }
    }
}

impl Answer for OneEvent {
    fn describe(schemas: &mut Schemas) -> Value {
        let mut answer = schemas.json_answer::<EventWithLanes>();
        answer["description"] = "The event with its lanes; with `raw=1`, its stored bytes.".into();
        answer["content"][Octets::MEDIA_TYPE] = json!({});
        answer
    }
}

/// `GET events/{seq}`: the event with its `lanes`; with `raw`, only its bytes.
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(seq): Segment<u64>,
    Parameters(RawFlag(raw)): Parameters<RawFlag>,
) -> Result<OneEvent, RequestError> {
    let event =
        shared.parts.journal.get(seq).await?.ok_or_else(|| RequestError::NotFound(format!("event {seq}")))?;
    if raw {
        return Ok(OneEvent::Raw(Octets(event.element.raw().as_bytes().to_vec())));
    }
    let lanes = shared.handler_progress(&event).await?;
    let mut line = String::from("{");
    event.push_json_fields(&mut line);
    line.push_str(",\"lanes\":");
    line.push_str(&serde_json::to_string(&lanes).map_err(|_never| RequestError::Internal)?);
    line.push('}');
    Ok(OneEvent::Json(JsonText::new(line)))
}
