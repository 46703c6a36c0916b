//! Events.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{json, list as listing, number, octets};
use crate::{
    admin::{Shared, fault::Fault, narrow::sifted, question::Parameters, rows},
    journal::EventQuery,
};

/// `GET events?name=&source=&since=&until=&event=&status=&message=&phone=&before=&limit=&raw=`: of these, `event` (with * and
/// ?), `status`, `message` and `phone` may be repeated.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    mut parameters: Parameters,
) -> Result<Response, Fault> {
    let query = EventQuery {
        name: parameters.take("name")?,
        source: parameters.take("source")?,
        since: parameters.take("since")?,
        until: parameters.take("until")?,
        before: parameters.take("before")?,
        limit: parameters.limit()?,
    };
    let raw = parameters.flag("raw")?;
    let filter = parameters.filter()?;
    parameters.end()?;
    let journal = &*shared.state.journal;
    let page = match filter {
        None => journal.events(query).await?,
        Some(filter) => sifted(journal, query, &filter).await?,
    };
    let mut rows = String::new();
    for event in &page.events {
        if !rows.is_empty() {
            rows.push(',');
        }
        rows::push_event(&mut rows, event, raw).map_err(|_never| Fault::Inside)?;
    }
    Ok(listing("events", &rows, page.next))
}

/// `GET events/{seq}?raw=`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(seq): Path<String>,
    mut parameters: Parameters,
) -> Result<Response, Fault> {
    let seq = number("seq", &seq)?;
    let raw = parameters.flag("raw")?;
    parameters.end()?;
    let event = shared.state.journal.get(seq).await?.ok_or_else(|| Fault::Nothing(format!("event {seq}")))?;
    Ok(if raw { octets(event.element.raw().as_bytes().to_vec()) } else { json(event.to_json_line()) })
}
