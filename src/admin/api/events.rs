//! List and read events.

use std::sync::Arc;

use axum::extract::State;

use super::{ApiResult, json, octets};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        forward_feed::{self, ForwardPage, ForwardQuery},
        params::{Parameters, Segment, parse_number},
        selection::{EventSelection, before_all_since, last_before, read_filtered},
        wire::{HandlerProgressRow, push_event},
    },
    handler::Filter,
    journal::{EventPage, EventQuery, Journal},
};

/// `GET events?name=&source=&since=&until=&event=&status=&message=&phone=&before=&limit=&raw=`: `event` (with the
/// wildcards `*` and `?`), `status`, `message` and `phone` may be repeated. With `after=SEQ` the list has the events
/// with a higher seq, oldest first; `next` is then the `after` of the following page.
pub(super) async fn list(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let query = EventQuery {
        name: parameters.take("name")?,
        source: parameters.take("source")?,
        since: parameters.take("since")?,
        until: parameters.take("until")?,
        before: parameters.take("before")?,
        limit: parameters.limit()?,
    };
    let after = parameters.take("after")?;
    let raw = parameters.flag("raw")?;
    let filter = parameters.filter()?;
    parameters.end()?;
    let journal = &*shared.parts.journal;
    let page = match (after, filter) {
        (Some(after), filter) => oldest_first(journal, query, after, filter.unwrap_or_default()).await?,
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
    // The rows are JSON already, and are not parsed again.
    let next = page.next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    Ok(json(format!("{{\"events\":[{rows}],\"next\":{next}}}")))
}

async fn oldest_first(
    journal: &dyn Journal,
    query: EventQuery,
    after: u64,
    filter: Filter,
) -> Result<EventPage, RequestError> {
    let EventQuery { name, source, since, until, before, limit } = query;
    let after = match since {
        Some(since) => after.max(before_all_since(journal, since).await?),
        None => after,
    };
    let before = match until {
        Some(until) => Some((last_before(journal, until).await? + 1).min(before.unwrap_or(u64::MAX))),
        None => before,
    };
    let selection = EventSelection { since, until, filter };
    let mut page = ForwardPage::new(ForwardQuery { after, before, name, source, selection, limit });
    while let Some(after) = page.reads() {
        page.take(journal.claim_all(after, forward_feed::CHUNK).await?);
    }
    Ok(page.page())
}

/// `GET events/{seq}?raw=`: the event with its `lanes`; with `raw`, only its bytes.
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(seq): Segment,
    mut parameters: Parameters,
) -> ApiResult {
    let seq = parse_number("seq", &seq)?;
    let raw = parameters.flag("raw")?;
    parameters.end()?;
    let event =
        shared.parts.journal.get(seq).await?.ok_or_else(|| RequestError::NotFound(format!("event {seq}")))?;
    if raw {
        return Ok(octets(event.element.raw().as_bytes().to_vec()));
    }
    let progress = shared.handler_progress(&event).await?;
    let lanes: Vec<HandlerProgressRow> = progress.into_iter().map(HandlerProgressRow::from).collect();
    let mut line = String::from("{");
    event.push_json_fields(&mut line);
    line.push_str(",\"lanes\":");
    line.push_str(&serde_json::to_string(&lanes).map_err(|_never| RequestError::Internal)?);
    line.push('}');
    Ok(json(line))
}
