//! Events as they come: server-sent events.
//!
//! They are read from the journal, after the seq that was told last, so whoever comes back with `Last-Event-ID` misses
//! nothing and gets nothing twice. One whose peer does not read waits, and holds no more than a batch.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event as Line, Sse},
    },
};
use futures_util::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};

use crate::{
    admin::{Shared, fault::Fault, question::Parameters},
    event::Event,
    handler::Filter,
    journal::{Claim, Journal},
};

/// Tails at once.
const TAILS: usize = 32;
/// Events of a class that are read at once.
const BATCH: usize = 64;
/// Something is sent at least so often: whoever listens learns that it is still there, and we that somebody is.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The places of those who listen.
pub(in crate::admin) fn tails() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(TAILS))
}

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
    let last = match headers.get(LAST_EVENT_ID) {
        Some(id) => Some(seq_of(id.to_str().unwrap_or_default())?),
        None => after,
    };
    let place = Arc::clone(&shared.tails).try_acquire_owned();
    let place = place.map_err(|_full| Fault::Crowded { limit: TAILS })?;
    let tip = shared.state.journal.tip();
    let newest = *tip.borrow();
    let tail = Tail {
        journal: Arc::clone(&shared.state.journal),
        tip,
        stopping: shared.state.stopping.clone(),
        source,
        filter,
        // A journal that was begun anew starts over.
        cursor: last.map_or(newest, |last| last.min(newest)),
        ready: VecDeque::new(),
        quiet_until: Instant::now(),
        _place: place,
    };
    Ok(Sse::new(stream::unfold(tail, Tail::next)).into_response())
}

fn seq_of(id: &str) -> Result<u64, Fault> {
    id.parse().map_err(|_invalid| Fault::parameter("Last-Event-ID", "is not the seq of an event"))
}

/// One who listens.
struct Tail {
    journal: Arc<dyn Journal>,
    tip: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    source: Option<String>,
    filter: Filter,
    /// Everything up to here was told, or is in `ready`, or is not wanted.
    cursor: u64,
    ready: VecDeque<Arc<Event>>,
    quiet_until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    /// The next thing to say; `None` in a stop, and where the journal cannot be read: who listens comes back.
    async fn next(mut self) -> Option<(Result<Line, Infallible>, Self)> {
        loop {
            if *self.stopping.borrow_and_update() {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                let line = Line::default().id(event.seq.to_string()).event("event");
                let line = line.data(event.to_json_line());
                self.quiet_until = Instant::now() + KEEP_ALIVE;
                return Some((Ok(line), self));
            }
            let newest = *self.tip.borrow_and_update();
            if self.quiet_until <= Instant::now() {
                // The first tells where it begins, and each how far it is: an id without data is no event, and is
                // what a client comes back with.
                let line = Line::default().comment("").id(self.cursor.to_string());
                self.quiet_until = Instant::now() + KEEP_ALIVE;
                return Some((Ok(line), self));
            }
            if self.cursor < newest {
                if let Err(error) = self.read().await {
                    tracing::warn!(error = error.class(), "a tail ended: the journal cannot be read");
                    return None;
                }
                continue;
            }
            tokio::select! {
                changed = self.tip.changed() => changed.ok()?,
                changed = self.stopping.changed() => changed.ok()?,
                () = sleep_until(self.quiet_until) => {}
            }
        }
    }

    async fn read(&mut self) -> Result<(), crate::journal::Error> {
        let Claim { mut events, through } = self.journal.claim_all(self.cursor, BATCH).await?;
        events.retain(|event| {
            self.source.as_ref().is_none_or(|source| **source == *event.source) && self.filter.wants(event)
        });
        self.ready.extend(events);
        self.cursor = self.cursor.max(through);
        Ok(())
    }
}
