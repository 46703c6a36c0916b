//! `GET tail`: new events as server-sent events.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, State},
    http::{header::CACHE_CONTROL, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event as Line, Sse},
    },
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    events::SOURCE,
    operation::{Answer, OperationTypes, RequestPart},
    schemas::Schemas,
};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, TakeParameters, UrlQuery},
        tail::{EventTail, TailMessage, last_seq},
    },
    event::Event,
    handler::Filter,
};

/// The parameters of `GET tail`.
pub(super) struct TailQuery {
    after: Option<u64>,
    source: Option<String>,
    filter: Filter,
}

impl TakeParameters for TailQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let after = "Start after this seq; without it, start with the next event that is stored.";
        Ok(Self {
            after: query.take("after", after)?,
            source: query.take("source", SOURCE)?,
            filter: query.filter()?.unwrap_or_default(),
        })
    }
}

/// The header `Last-Event-ID`, which overrides `after`.
pub(super) struct LastEventId(Option<u64>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RequestError> {
        last_seq(&parts.headers).map(Self)
    }
}

impl RequestPart for LastEventId {
    fn describe(operation: &mut OperationTypes<'_>) {
        operation.parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The last `id` that a reconnecting client received. It overrides `after`.",
            "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        }));
    }
}

/// A stream of server-sent events.
pub(super) struct EventStream(Response);

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answer for EventStream {
    fn describe(_schemas: &mut Schemas) -> Value {
        json!({
            "description": "A stream of server-sent events. Keep-alives have only an `id`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        })
    }
}

/// `GET tail`: streams events with a seq above `after`. Without `after`, streams only events that are stored from now
/// on.
pub(super) async fn tail(
    State(shared): State<Arc<AdminState>>,
    LastEventId(last): LastEventId,
    Parameters(TailQuery { after, source, filter }): Parameters<TailQuery>,
) -> Result<EventStream, RequestError> {
    let after = last.or(after);
    let tail = EventTail::new(&shared, source, filter, after)?;
    let batches = stream::unfold(tail, async |mut tail| {
        let lines = match tail.next().await? {
            TailMessage::Events(events) => events.iter().map(|event| line(event)).collect(),
            // This line has an id but no data, so it triggers no event in the client. When the client reconnects, it
            // sends this id.
            TailMessage::Quiet => vec![Line::default().comment("").id(tail.cursor().to_string())],
        };
        Some((stream::iter(lines.into_iter().map(Ok::<_, Infallible>)), tail))
    });
    // `Sse` sets `no-cache`, which would still allow a stored copy.
    let stream = ([(CACHE_CONTROL, "no-store")], Sse::new(batches.flatten()));
    Ok(EventStream(stream.into_response()))
}

fn line(event: &Event) -> Line {
    Line::default().id(event.seq.to_string()).event("event").data(event.to_json_line())
}
