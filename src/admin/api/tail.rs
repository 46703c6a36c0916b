//! `GET tail`: new events as server-sent events.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, header::CACHE_CONTROL},
    response::{
        IntoResponse,
        sse::{Event as Line, Sse},
    },
};
use futures_util::{StreamExt, stream};

use super::ApiResult;
use crate::{
    admin::{
        AdminState,
        params::Parameters,
        tail::{EventTail, TailMessage, last_seq},
    },
    event::Event,
};

/// `GET tail?after=&source=&event=&status=&message=&phone=`: events with a seq above `after`, or from now on. A
/// `Last-Event-ID` header overrides `after`.
pub(super) async fn tail(
    State(shared): State<Arc<AdminState>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> ApiResult {
    let after: Option<u64> = parameters.take("after")?;
    let source = parameters.take("source")?;
    let filter = parameters.filter()?.unwrap_or_default();
    parameters.end()?;
    let after = last_seq(&headers)?.or(after);
    let tail = EventTail::new(&shared, source, filter, after)?;
    let batches = stream::unfold(tail, async |mut tail| {
        let lines = match tail.next().await? {
            TailMessage::Events(events) => events.iter().map(|event| line(event)).collect(),
            // A message with an id but no data raises no event in the client. The client sends this id when it
            // reconnects.
            TailMessage::Quiet => vec![Line::default().comment("").id(tail.cursor().to_string())],
        };
        Some((stream::iter(lines.into_iter().map(Ok::<_, Infallible>)), tail))
    });
    // `Sse` sets `no-cache`, which would still allow a stored copy.
    Ok(([(CACHE_CONTROL, "no-store")], Sse::new(batches.flatten())).into_response())
}

fn line(event: &Event) -> Line {
    Line::default().id(event.seq.to_string()).event("event").data(event.to_json_line())
}
