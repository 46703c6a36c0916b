//! Events as they come, for whoever listens: the API's tail, and the page's.
//!
//! They are read from the journal by claim, after the seq that was told last, so whoever comes back with that seq misses
//! nothing and gets nothing twice. One whose peer does not read waits, and holds no more than a batch.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};

use super::{Shared, fault::Fault};
use crate::{
    event::Event,
    handler::Filter,
    journal::{Claim, Error, Journal},
};

/// Tails at once.
const TAILS: usize = 32;
/// Events of a class that are read at once.
const BATCH: usize = 64;
/// Something is told at least so often: whoever listens learns that it is still there, and we that somebody is.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The places of those who listen.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(TAILS))
}

/// The seq that a client goes on after, by its `Last-Event-ID`.
pub(super) fn last_seq(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let seq = |id: &str| {
        id.parse().map_err(|_invalid| Fault::parameter("Last-Event-ID", "is not the seq of an event"))
    };
    headers.get(LAST_EVENT_ID).map(|id| seq(id.to_str().unwrap_or_default())).transpose()
}

/// One who listens.
pub(super) struct Tail {
    journal: Arc<dyn Journal>,
    tip: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    source: Option<String>,
    filter: Filter,
    /// Everything up to here was told, or is not wanted.
    cursor: u64,
    quiet_until: Instant,
    _place: OwnedSemaphorePermit,
}

/// What there is to tell.
pub(super) enum News {
    /// Events, in order of seq: at least one.
    Events(Vec<Arc<Event>>),
    /// Nothing that is wanted. The first news of a tail is always this.
    Quiet,
}

impl Tail {
    /// One that begins after that seq, or now.
    ///
    /// # Errors
    /// [`Fault::Crowded`]: as many listen as may.
    pub(super) fn new(
        shared: &Shared,
        source: Option<String>,
        filter: Filter,
        after: Option<u64>,
    ) -> Result<Self, Fault> {
        let place = Arc::clone(&shared.tails).try_acquire_owned();
        let place = place.map_err(|_full| Fault::Crowded { limit: TAILS })?;
        let tip = shared.state.journal.tip();
        let newest = *tip.borrow();
        Ok(Self {
            journal: Arc::clone(&shared.state.journal),
            tip,
            stopping: shared.state.stopping.clone(),
            source,
            filter,
            // A journal that was begun anew starts over.
            cursor: after.map_or(newest, |after| after.min(newest)),
            quiet_until: Instant::now(),
            _place: place,
        })
    }

    /// Everything up to this seq was told, or is not wanted: where to go on after.
    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// There is something that it has not looked at.
    pub(super) fn is_behind(&self) -> bool {
        self.cursor < *self.tip.borrow()
    }

    /// Lets go of what is further behind than so many: how many it passes over.
    pub(super) fn catch_up(&mut self, most: u64) -> u64 {
        let behind = self.tip.borrow().saturating_sub(self.cursor);
        let passed_over = behind.saturating_sub(most);
        self.cursor += passed_over;
        passed_over
    }

    /// Waits for what there is to tell; `None` in a stop, and where the journal cannot be read: who listens comes back.
    pub(super) async fn news(&mut self) -> Option<News> {
        loop {
            if *self.stopping.borrow_and_update() {
                return None;
            }
            // Each tells how far it is: also one that finds nothing is not to look at all of it again.
            if self.quiet_until <= Instant::now() {
                return Some(self.told(News::Quiet));
            }
            let newest = *self.tip.borrow_and_update();
            if self.cursor < newest {
                match self.read().await {
                    Ok(events) if events.is_empty() => continue,
                    Ok(events) => return Some(self.told(News::Events(events))),
                    Err(error) => {
                        tracing::warn!(error = error.class(), "a tail ended: the journal cannot be read");
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

    fn told(&mut self, news: News) -> News {
        self.quiet_until = Instant::now() + KEEP_ALIVE;
        news
    }

    async fn read(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        let Claim { mut events, through } = self.journal.claim_all(self.cursor, BATCH).await?;
        events.retain(|event| {
            self.source.as_ref().is_none_or(|source| **source == *event.source) && self.filter.wants(event)
        });
        self.cursor = self.cursor.max(through);
        Ok(events)
    }
}
