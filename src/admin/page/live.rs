//! `/tail`: new events as they arrive. The page starts with the newest events, and its script receives rows for the
//! later ones. A tail is an open stream of events, on this page or in the API.
//!
//! The browser's client for server-sent events reconnects automatically, and sends the id of the last server-sent event
//! that it received. The client does not tell the script why a request was rejected, so "too many tails" is sent as a
//! server-sent event of its own. Another server-sent event marks the end of a stream that shows personal data, so that
//! the page reconnects at once.

use std::{convert::Infallible, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    http::{HeaderMap, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event as Line, Sse},
    },
};
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use super::{
    super::redaction::Redaction, error_page::PageResult, events::EventTableRow, format::quantity,
    frame::Frame, visit::PageVisit,
};
use crate::{
    admin::{
        error::RequestError,
        selection::{is_without_own, read_filtered},
        tail::{EventTail, TailMessage, last_seq},
    },
    clock::{Clock, Timestamp},
    event::Event,
    journal::EventQuery,
};

/// The maximum number of events that the page starts with.
const LIMIT: usize = 50;
/// The minimum time between two messages to the browser, to limit how often it redraws. A stream that has more events
/// to read sends its next message without this delay.
const PACE: Duration = Duration::from_millis(200);
/// A stream that shows personal data ends after this time. If the stream is waiting for its next message to the browser
/// at that moment, it ends after this message. The page then reconnects. If the operator has masked personal data in
/// the meantime, the new stream masks it.
const UNREDACTED: Duration = Duration::from_secs(30);
/// A stream that is more than this many events behind skips the oldest ones, because the page keeps only a few rows and
/// must show current events.
const BEHIND_MAX: u64 = 5_000;

#[derive(Template)]
#[template(path = "tail.html")]
struct TailPage {
    frame: Frame,
    /// Neither a filter nor a source is set.
    is_any: bool,
    rows: Vec<EventTableRow>,
    /// Older events that match may be missing from `rows`, because `rows` or the search has reached its limit.
    is_cut: bool,
    /// The URL of the stream of later rows.
    stream: String,
}

/// `GET /tail?event=&status=&source=&phone=&message=`
pub(super) async fn page(visit: PageVisit) -> PageResult {
    let (form, journal) = (visit.form(), visit.journal());
    let source = form.text("source").map(str::to_owned);
    let filter = form.filter()?;
    let is_any = source.is_none() && filter.is_none();
    // Events that arrive while the page is built come through the stream.
    let tip = *journal.tip().borrow();
    let query = EventQuery {
        without_own: is_without_own(source.as_deref(), None, filter.as_ref()),
        source,
        before: Some(tip + 1),
        limit: LIMIT,
        ..EventQuery::default()
    };
    let newest = match filter {
        Some(filter) => read_filtered(journal, query, &filter).await?,
        None => journal.events(query).await?,
    };
    let redaction = visit.redaction();
    let rows = newest.events.iter().map(|event| EventTableRow::of(event, redaction)).collect();
    let stream = form.with("/tail/rows", "after", &tip.to_string());
    let is_cut = newest.next.is_some();
    visit.show(|frame| TailPage { frame, is_any, rows, is_cut, stream })
}

/// Rows of new events, newest first.
#[derive(Template)]
#[template(path = "live-rows.html")]
struct LiveRows {
    rows: Vec<EventTableRow>,
    /// The number of older events that were skipped.
    skipped: Option<String>,
}

/// `GET /tail/rows?after=&…`: the stream of the page. A `Last-Event-ID` header overrides `after`. The stream has the
/// server-sent events `rows` (HTML), `quiet` (a keep-alive without rows), `again` (the stream ends, and the page
/// reconnects at once) and `full` (the maximum number of tails is open, and the stream ends).
pub(super) async fn rows(headers: HeaderMap, visit: PageVisit) -> PageResult {
    let form = visit.form();
    let source = form.text("source").map(str::to_owned);
    let filter = form.filter()?.unwrap_or_default();
    let after = last_seq(&headers)?.or(form.read("after")?);
    let tail = match EventTail::new(&visit.shared, source, filter, after) {
        Ok(tail) => tail,
        Err(full @ RequestError::TooManyTails(_)) => {
            let line = Line::default().event("full").data(full.to_string());
            return Ok(uncached(stream::iter([Ok(line)])));
        }
        Err(fault) => return Err(fault.into()),
    };
    let shown_until = visit.shared.csrf.shown_until(&visit.browser, &headers, visit.now());
    let clock = visit.journal().clock().clone();
    let now = Instant::now();
    let live = TailStream {
        clock,
        tail,
        shown_until,
        reconnect_at: shown_until.map(|_| now + UNREDACTED),
        ready_at: now,
    };
    Ok(uncached(stream::unfold(Some(live), async |live| {
        let mut live = live?;
        if live.reconnect_at.is_some_and(|at| at <= Instant::now()) {
            // `None` as the next state drops the `TailStream` before the page reconnects. The stream then no longer
            // counts towards the maximum number of tails.
            return Some((Ok(live.blank().event("again").data("-")), None));
        }
        Some((Ok(live.line().await?), Some(live)))
    })))
}

/// The stream as a response. `Sse` sets `no-cache`, which would still allow a stored copy.
fn uncached(lines: impl Stream<Item = Result<Line, Infallible>> + Send + 'static) -> Response {
    ([(CACHE_CONTROL, "no-store")], Sse::new(lines)).into_response()
}

/// The stream of one page.
struct TailStream {
    clock: Clock,
    tail: EventTail,
    /// Personal data is shown until this time.
    shown_until: Option<Timestamp>,
    /// The stream ends after this time ([`UNREDACTED`]); `None` for a stream that does not show personal data.
    reconnect_at: Option<Instant>,
    /// The next message is sent at this time or later.
    ready_at: Instant,
}

impl TailStream {
    /// A server-sent event with only its id, from which the browser continues after a reconnect.
    fn blank(&self) -> Line {
        Line::default().id(self.tail.cursor().to_string())
    }

    async fn line(&mut self) -> Option<Line> {
        sleep_until(self.ready_at).await;
        let skipped = self.tail.catch_up(BEHIND_MAX);
        let message = self.tail.next().await?;
        if !self.tail.is_behind() {
            self.ready_at = Instant::now() + PACE;
        }
        let line = self.blank();
        match message {
            TailMessage::Quiet if skipped == 0 => Some(line.event("quiet").data("-")),
            TailMessage::Quiet => self.rows(line, &[], skipped),
            TailMessage::Events(events) => self.rows(line, &events, skipped),
        }
    }

    fn rows(&self, line: Line, events: &[Arc<Event>], skipped: u64) -> Option<Line> {
        let redaction = Redaction { is_off: self.shown_until.is_some_and(|until| self.clock.now() < until) };
        let rows = events.iter().rev().map(|event| EventTableRow::of(event, redaction)).collect();
        let skipped = (skipped > 0).then(|| quantity(skipped, "event", "events"));
        let html = LiveRows { rows, skipped }.render();
        let html = html.inspect_err(|error| tracing::warn!(%error, "tail ended: rows could not be rendered"));
        Some(line.event("rows").data(html.ok()?))
    }
}
