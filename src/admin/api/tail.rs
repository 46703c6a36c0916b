//! Events as they come: server-sent events.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event as Line, Sse},
    },
};
use futures_util::{StreamExt, stream};

use crate::{
    admin::{
        Shared,
        fault::Fault,
        question::Parameters,
        tail::{News, Tail, last_seq},
    },
    event::Event,
};

/// `GET tail?after=&source=&event=&status=&message=&phone=`, with `Last-Event-ID` of more weight than `after`: events after
/// that one, or from now on.
pub(super) async fn tail(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Fault> {
    let after: Option<u64> = parameters.take("after")?;
    let source = parameters.take("source")?;
    let filter = parameters.filter()?.unwrap_or_default();
    parameters.end()?;
    let after = last_seq(&headers)?.or(after);
    let tail = Tail::new(&shared, source, filter, after)?;
    let batches = stream::unfold(tail, async |mut tail| {
        let lines = match tail.news().await? {
            News::Events(events) => events.iter().map(|event| line(event)).collect(),
            // An id without data is no event, and is what a client comes back with.
            News::Quiet => vec![Line::default().comment("").id(tail.cursor().to_string())],
        };
        Some((stream::iter(lines.into_iter().map(Ok::<_, Infallible>)), tail))
    });
    // A stream's own `no-cache` would let a copy be kept.
    Ok(([(CACHE_CONTROL, "no-store")], Sse::new(batches.flatten())).into_response())
}

fn line(event: &Event) -> Line {
    Line::default().id(event.seq.to_string()).event("event").data(event.to_json_line())
}
