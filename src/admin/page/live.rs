//! `/tail`: new events as they arrive. The page starts with the newest events, and its script receives rows for the
//! later ones.
//!
//! The browser's client for server-sent events reconnects by itself, and sends the id of the last event that it
//! received. It does not tell the script why a request was rejected. Therefore "too many tails" is sent as an event,
//! and so is the end of a stream that shows personal data.

use std::{convert::Infallible, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event as Line, Sse},
    },
};
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use super::{
    choice::Choice,
    events::Row,
    frame::{Frame, Visit},
    shown::counted,
    sorry::Sorry,
    veil::Veil,
};
use crate::{
    admin::{
        Shared,
        fault::Fault,
        narrow::sifted,
        tail::{News, Tail, last_seq},
    },
    clock::{Clock, Timestamp},
    event::Event,
    journal::EventQuery,
};

/// Events on the page at the start.
const LIMIT: usize = 50;
/// The minimum time between rows, to limit how often the browser redraws. A stream that is behind sends without this
/// delay.
const PACE: Duration = Duration::from_millis(200);
/// The maximum duration of a stream that shows personal data. The page then reconnects, and by that time the operator
/// may have masked the data.
const UNVEILED: Duration = Duration::from_secs(30);
/// A stream that is further behind than this skips events: the page keeps few rows, and shows what happens now.
const BEHIND_MAX: u64 = 5_000;

#[derive(Template)]
#[template(path = "tail.html")]
struct Page {
    frame: Frame,
    choice: Choice,
    source: String,
    /// Neither a filter nor a source is set.
    is_any: bool,
    rows: Vec<Row>,
    /// Older events were not all searched.
    is_cut: bool,
    /// The URL of the stream of later rows.
    stream: String,
}

/// `GET /tail?event=&status=&source=&phone=&message=`
pub(super) async fn page(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let asked = &visit.asked;
    let source = asked.text("source").map(str::to_owned);
    let filter = Choice::filter(asked)?;
    let is_any = source.is_none() && filter.is_none();
    let journal = &*shared.state.journal;
    // Events that arrive while the page is built come through the stream.
    let tip = *journal.tip().borrow();
    let query =
        EventQuery { source: source.clone(), before: Some(tip + 1), limit: LIMIT, ..EventQuery::default() };
    let newest = match filter {
        Some(filter) => sifted(journal, query, &filter).await?,
        None => journal.events(query).await?,
    };
    let veil = visit.veil();
    let rows = newest.events.iter().map(|event| Row::of(event, veil)).collect();
    let stream = asked.with("/tail/rows", "after", &tip.to_string());
    let (choice, source, is_cut) = (Choice::of(asked), source.unwrap_or_default(), newest.next.is_some());
    visit.show(|frame| Page { frame, choice, source, is_any, rows, is_cut, stream })
}

/// Rows of new events, newest first.
#[derive(Template)]
#[template(path = "live-rows.html")]
struct Rows {
    rows: Vec<Row>,
    /// The number of older events that were skipped.
    passed_over: Option<String>,
}

/// `GET /tail/rows?after=&…`: the stream of the page. A `Last-Event-ID` header overrides `after`. The stream has the
/// events `rows` (HTML), `quiet` (nothing arrived for a while), `again` (the stream ends, and the page reconnects at
/// once) and `full` (why there is no place for another tail).
pub(super) async fn rows(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    visit: Visit,
) -> Result<Response, Sorry> {
    let asked = &visit.asked;
    let source = asked.text("source").map(str::to_owned);
    let filter = Choice::filter(asked)?.unwrap_or_default();
    let after = last_seq(&headers)?.or(asked.read("after")?);
    let tail = match Tail::new(&shared, source, filter, after) {
        Ok(tail) => tail,
        Err(full @ Fault::Crowded { .. }) => {
            let line = Line::default().event("full").data(full.to_string());
            return Ok(told(stream::iter([Ok(line)])));
        }
        Err(fault) => return Err(fault.into()),
    };
    let shown_until = shared.seal.shown_until(&visit.browser, &headers, shared.state.journal.clock().now());
    let clock = shared.state.journal.clock().clone();
    let now = Instant::now();
    let live =
        Live { clock, tail, shown_until, again_at: shown_until.map(|_| now + UNVEILED), ready_at: now };
    Ok(told(stream::unfold(Some(live), async |live| {
        let mut live = live?;
        if live.again_at.is_some_and(|at| at <= Instant::now()) {
            // The stream ends here, so its place is free when the page reconnects.
            return Some((Ok(live.blank().event("again").data("-")), None));
        }
        Some((Ok(live.line().await?), Some(live)))
    })))
}

/// The stream as a response. `Sse` sets `no-cache`, which would still allow a stored copy.
fn told(lines: impl Stream<Item = Result<Line, Infallible>> + Send + 'static) -> Response {
    ([(CACHE_CONTROL, "no-store")], Sse::new(lines)).into_response()
}

/// The stream of one page.
struct Live {
    clock: Clock,
    tail: Tail,
    /// Personal data is shown until this time.
    shown_until: Option<Timestamp>,
    /// When a stream that shows personal data ends, so that its page reconnects; `None` for other streams.
    again_at: Option<Instant>,
    /// The next rows are sent at this time or later.
    ready_at: Instant,
}

impl Live {
    /// A line with the id from which the browser continues after a reconnect.
    fn blank(&self) -> Line {
        Line::default().id(self.tail.cursor().to_string())
    }

    async fn line(&mut self) -> Option<Line> {
        sleep_until(self.ready_at).await;
        let passed_over = self.tail.catch_up(BEHIND_MAX);
        let news = self.tail.news().await?;
        if !self.tail.is_behind() {
            self.ready_at = Instant::now() + PACE;
        }
        let line = self.blank();
        match news {
            News::Quiet if passed_over == 0 => Some(line.event("quiet").data("-")),
            News::Quiet => self.rows(line, &[], passed_over),
            News::Events(events) => self.rows(line, &events, passed_over),
        }
    }

    fn rows(&self, line: Line, events: &[Arc<Event>], passed_over: u64) -> Option<Line> {
        let veil = Veil { lifted: self.shown_until.is_some_and(|until| self.clock.now() < until) };
        let rows = events.iter().rev().map(|event| Row::of(event, veil)).collect();
        let passed_over = (passed_over > 0).then(|| counted(passed_over, "event", "events"));
        let html = Rows { rows, passed_over }.render();
        let html = html.inspect_err(|error| tracing::warn!(%error, "tail ended: rows could not be rendered"));
        Some(line.event("rows").data(html.ok()?))
    }
}
