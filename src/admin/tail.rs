//! Tails: live streams of events for the API and for the page.
//!
//! The cursor of a tail is a seq. The tail claims the events after its cursor, and sends the cursor with each
//! [`TailMessage`]. A client that reconnects with the last cursor that it received gets no event twice and misses none,
//! except those that [`EventTail::catch_up`] skipped. If the client does not read, the tail waits and holds the events
//! of at most one claim.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until},
};

use super::{AdminState, error::RequestError, selection::is_without_own};
use crate::{
    event::Event,
    handler::Filter,
    journal::{Claim, Error, Journal},
};

/// The maximum number of open tails.
pub(super) const TAILS: usize = 32;
/// The maximum number of events of each class in a claim.
const BATCH: usize = 64;
/// The maximum time without a [`TailMessage`]; after it, the tail sends a keep-alive ([`TailMessage::Quiet`]).
/// Keep-alives show the client that the server is alive, and let the server detect clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The seq in `Last-Event-ID`, after which a reconnecting client continues.
pub(super) fn last_seq(headers: &HeaderMap) -> Result<Option<u64>, RequestError> {
    let seq = |id: &str| {
        id.parse().map_err(|_invalid| RequestError::parameter("Last-Event-ID", "is not the seq of an event"))
    };
    headers.get(LAST_EVENT_ID).map(|id| seq(id.to_str().unwrap_or_default())).transpose()
}

/// One live stream of events.
pub(super) struct EventTail {
    journal: Arc<dyn Journal>,
    tip: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    source: Option<String>,
    without_own: bool,
    filter: Filter,
    /// All events up to this seq were sent, filtered out or skipped.
    cursor: u64,
    quiet_until: Instant,
    _place: OwnedSemaphorePermit,
}

/// The next message of a tail.
pub(super) enum TailMessage {
    /// At least one event, in order of seq.
    Events(Vec<Arc<Event>>),
    /// No event matched for [`KEEP_ALIVE`], or the tail has just started: its first message is always `Quiet`.
    Quiet,
}

impl EventTail {
    /// Starts a tail after the seq `after`. If `after` is `None` or higher than the newest seq, the tail starts after
    /// the newest event.
    ///
    /// # Errors
    /// Returns [`RequestError::TooManyTails`] if [`TAILS`] tails are open.
    pub(super) fn new(
        shared: &AdminState,
        source: Option<String>,
        filter: Filter,
        after: Option<u64>,
    ) -> Result<Self, RequestError> {
        let place = Arc::clone(&shared.tails).try_acquire_owned();
        let place = place.map_err(|_full| RequestError::TooManyTails(TAILS))?;
        let tip = shared.parts.journal.tip();
        let newest = *tip.borrow();
        Ok(Self {
            journal: Arc::clone(&shared.parts.journal),
            tip,
            stopping: shared.parts.stopping.clone(),
            without_own: is_without_own(source.as_deref(), None, Some(&filter)),
            source,
            filter,
            // If the journal was recreated, its newest seq may be lower than the client's seq.
            cursor: after.map_or(newest, |after| after.min(newest)),
            quiet_until: Instant::now(),
            _place: place,
        })
    }

    /// The seq after which to continue: all events up to it were sent, filtered out or skipped.
    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Returns whether there are events that the tail has not read.
    pub(super) fn is_behind(&self) -> bool {
        self.cursor < *self.tip.borrow()
    }

    /// Skips events if the tail is more than `most` events behind. Returns how many it skips.
    pub(super) fn catch_up(&mut self, most: u64) -> u64 {
        let behind = self.tip.borrow().saturating_sub(self.cursor);
        let skipped = behind.saturating_sub(most);
        self.cursor += skipped;
        skipped
    }

    /// Waits for the next message. Returns `None` at shutdown and if the journal cannot be read; the client then
    /// reconnects.
    pub(super) async fn next(&mut self) -> Option<TailMessage> {
        loop {
            if *self.stopping.borrow_and_update() {
                return None;
            }
            // A keep-alive carries the cursor. So even a client that got no event for a long time continues from a
            // recent cursor after a reconnect.
            if self.quiet_until <= Instant::now() {
                return Some(self.with_keep_alive(TailMessage::Quiet));
            }
            let newest = *self.tip.borrow_and_update();
            if self.cursor < newest {
                match self.read().await {
                    Ok(events) if events.is_empty() => continue,
                    Ok(events) => return Some(self.with_keep_alive(TailMessage::Events(events))),
                    Err(error) => {
                        tracing::warn!(error = error.class(), "tail ended: the journal cannot be read");
                        return None;
                    }
                }
            }
            tokio::select! {
                changed = self.tip.changed() => changed.ok()?,
                changed = self.stopping.changed() => changed.ok()?,
                () = sleep_until(self.quiet_until) => {}
            }
        }
    }

    fn with_keep_alive(&mut self, message: TailMessage) -> TailMessage {
        self.quiet_until = Instant::now() + KEEP_ALIVE;
        message
    }

    async fn read(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        let Claim { mut events, through } = self.journal.claim_all(self.cursor, BATCH).await?;
        events.retain(|event| {
            self.source.as_ref().is_none_or(|source| **source == *event.source)
                && !(self.without_own && event.is_own())
                && self.filter.wants(event)
        });
        self.cursor = self.cursor.max(through);
        Ok(events)
    }
}
