//! The steps of one `POST`: authenticate → check the rate → wait for admission → read → decompress → decode → append →
//! answer.
//!
//! A request is *admitted* when it holds capacity of `in_flight` and `in_flight_bytes` (`places`).
//!
//! `deadline` is one budget for the work of bikhook itself: waiting for admission and, after the last byte of the body,
//! decompressing, decoding and appending. The time that the sender needs to send the body counts against `body_timeout`
//! instead. When the budget is spent, the sender gets 503, but an append that has begun runs to its end. The appended
//! batch holds the capacity of its request, so the capacity is released when the append has ended.

use std::sync::Arc;

use axum::http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use bytes::Bytes;
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span};

use super::{
    body,
    connection::Peer,
    places::RequestPlace,
    problem::Problem,
    refusal::Refusal,
    socket::RequestBody,
    source::Source,
    tally::RequestContext,
    unpack::{Coding, UnpackError},
};
use crate::{
    event::{self, Decoded, NotJson, Quarantined, Reason},
    journal::{AppendBatch, AppendError, AppendReceipt, JournalState},
    trace,
};

/// A request that reserves more than this many bytes is decompressed and decoded on a blocking thread, not on a runtime
/// thread.
const LARGE: usize = 256 * 1024;

/// Answers `POST` to a source.
pub(super) async fn post(
    source: &Arc<Source>,
    context: &RequestContext,
    peer: &Peer,
    request: Request<RequestBody>,
) -> Response<Full<Bytes>> {
    match receive(source, peer, request).await {
        Ok(receipt) => accepted(&receipt),
        Err(refusal) => {
            source.tally.refused(refusal.status(), context, &refusal);
            refusal.problem().into_response(Some(context.id))
        }
    }
}

/// Answers `GET` and `HEAD` of a source. A sender that checks the URL (BIK T13) learns that it exists, and nothing
/// else.
pub(super) fn probe() -> Response<Full<Bytes>> {
    answer("bikhook receives events here by POST\n", "text/plain; charset=utf-8")
}

/// Answers any method except `GET`, `HEAD` and `POST` with 405.
pub(super) fn other_method(source: &Source, context: &RequestContext) -> Response<Full<Bytes>> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    source.tally.refused(status, context, &"no source accepts this method");
    Problem::new(status, "this URL accepts POST")
        .header(ALLOW, HeaderValue::from_static("GET, HEAD, POST"))
        .into_response(Some(context.id))
}

async fn receive(
    source: &Arc<Source>,
    peer: &Peer,
    request: Request<RequestBody>,
) -> Result<AppendReceipt, Refusal> {
    let settings = &source.shared.settings;
    let (head, body) = request.into_parts();
    source.authenticate(&head.headers, peer.address().ip()).await?;
    peer.authenticated();
    source.pace()?;
    let coding = Coding::of(&head.headers).map_err(|_unknown| Refusal::UnknownCoding)?;
    let room = room_for(coding, &body, settings.body_limit.0)?;
    drop(head); // the request may wait from here on, and a head can be large

    let arrived = Instant::now();
    let place = source.places.take(room, arrived + *settings.deadline).await.ok_or(Refusal::NoPlace)?;
    let waited = arrived.elapsed();

    let packed = timeout_at(Instant::now() + *settings.body_timeout, body::read(body, settings.body_limit.0))
        .await
        .map_err(|_elapsed| Refusal::TooSlow)??;

    let until = Instant::now() + settings.deadline.saturating_sub(waited);
    let body = ArrivedBody { coding, packed, until };
    timeout_at(until, store(source, place, body)).await.map_err(|_elapsed| Refusal::TooLate)?
}

/// A body that arrived in full.
struct ArrivedBody {
    coding: Coding,
    packed: Bytes,
    /// When the budget for decompressing, decoding and appending is spent.
    until: Instant,
}

/// Returns the most memory that the body can take, in bytes. A `Content-Length` above the limit is refused at once.
fn room_for(coding: Coding, body: &RequestBody, limit: u64) -> Result<usize, Refusal> {
    let declared = body::declared(body);
    if declared.is_some_and(|bytes| bytes > limit) {
        return Err(Refusal::TooLarge { limit });
    }
    Ok(usize::try_from(coding.most_bytes(declared, limit)).unwrap_or(usize::MAX))
}

async fn store(
    source: &Arc<Source>,
    place: RequestPlace,
    body: ArrivedBody,
) -> Result<AppendReceipt, Refusal> {
    let (place, read) = unpack_and_decode(source, place, body).await?;
    match read {
        Read::Events(decoded) => {
            source.tally.decoded(&decoded);
            let Decoded { drafts, quarantined, .. } = decoded;
            append(source, place, AppendBatch { drafts, quarantined, ..AppendBatch::default() }).await
        }
        Read::Nothing(bytes, why) => {
            let kept = AppendBatch { quarantined: vec![bytes], ..AppendBatch::default() };
            append(source, place, kept).await?;
            Err(why)
        }
    }
}

/// The result of decompressing and decoding a body that arrived in full.
enum Read {
    Events(Decoded),
    /// The body as a whole is unreadable: it is put into quarantine, and the request is refused.
    Nothing(Quarantined, Refusal),
}

async fn unpack_and_decode(
    source: &Arc<Source>,
    mut place: RequestPlace,
    body: ArrivedBody,
) -> Result<(RequestPlace, Read), Refusal> {
    if place.bytes() <= LARGE {
        let read = read(source, &mut place, &body)?;
        return Ok((place, read));
    }
    let source = Arc::clone(source);
    let request = Span::current();
    let work = tokio::task::spawn_blocking(move || {
        let read = request.in_scope(|| read(&source, &mut place, &body))?;
        Ok((place, read))
    });
    match work.await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels a blocking task.
            Err(_cancelled) => Err(Refusal::NotStored { error: AppendError::Stopped, held_by: None }),
        },
    }
}

fn read(source: &Source, place: &mut RequestPlace, body: &ArrivedBody) -> Result<Read, Refusal> {
    let ArrivedBody { coding, packed, until } = body;
    let _span = trace::decode(packed.len()).entered();
    let limit = source.shared.settings.body_limit;
    if packed.is_empty() {
        return Err(Refusal::Empty);
    }
    match coding.unpack(packed, limit.as_usize(), *until) {
        Ok(body) => {
            place.shrink(body.len());
            let elements = event::elements_limit(limit.0);
            Ok(match event::decode_within(&source.name, &body, elements) {
                Ok(Some(decoded)) => Read::Events(decoded),
                Ok(None) => return Err(Refusal::TooManyElements { limit: elements }),
                // A blank body, like an empty one, is a test of the URL. It contains nothing to quarantine.
                Err(_empty) if body.trim_ascii().is_empty() => return Err(Refusal::Empty),
                Err(NotJson { line, column, detail, quarantined }) => {
                    Read::Nothing(*quarantined, Refusal::NotJson { line, column, detail })
                }
            })
        }
        Err(UnpackError::TooLarge) => Err(Refusal::TooLarge { limit: limit.0 }),
        Err(UnpackError::TooLate) => Err(Refusal::TooLate),
        Err(UnpackError::Broken(error)) => {
            place.shrink(packed.len());
            let kept = Quarantined {
                source: Arc::clone(&source.name),
                bytes: packed.to_vec(),
                reason: Reason::NotJson,
                detail: format!("cannot be decompressed: {error}; these are the compressed bytes"),
            };
            Ok(Read::Nothing(kept, Refusal::InvalidCompression))
        }
    }
}

async fn append(source: &Source, place: RequestPlace, batch: AppendBatch) -> Result<AppendReceipt, Refusal> {
    let journal = &source.shared.journal;
    let batch = AppendBatch { hold: Some(Box::new(place)), ..batch };
    let span = trace::append(batch.drafts.len(), batch.quarantined.len());
    let receipt = journal.append(batch).instrument(span.clone()).await.map_err(|error| {
        let held_by = match &*journal.state().borrow() {
            JournalState::Full { held_by } if error == AppendError::Full => held_by.clone(),
            _ => None,
        };
        Refusal::NotStored { error, held_by }
    })?;
    trace::durable(&span, receipt.seq);
    trace::durable(&Span::current(), receipt.seq);
    source.tally.stored(&receipt);
    source.silence.record(0);
    Ok(receipt)
}

fn accepted(receipt: &AppendReceipt) -> Response<Full<Bytes>> {
    let AppendReceipt { accepted, duplicates, quarantined, seq, .. } = receipt;
    let seq = seq.map_or_else(|| "null".to_owned(), |seq| seq.to_string());
    let line = format!(
        "{{\"accepted\":{accepted},\"duplicates\":{duplicates},\"quarantined\":{quarantined},\"seq\":{seq}}}\n"
    );
    answer(line, "application/json")
}

fn answer(body: impl Into<Bytes>, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
