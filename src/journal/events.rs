//! Events, as they are listed.

use std::sync::Arc;

use crate::{clock::Timestamp, event::Event};

/// Which events to list. A page looks at a bounded number of rows: it may hold fewer than `limit` and still have a
/// next one.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only this event name.
    pub name: Option<String>,
    /// Only this source.
    pub source: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// Only what has a lower seq: where the page before ended.
    pub before: Option<u64>,
    /// At most this many; at most 1,000.
    pub limit: usize,
}

/// A page of events, newest first.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// `before` of the next page; `None` after the last.
    pub next: Option<u64>,
}
