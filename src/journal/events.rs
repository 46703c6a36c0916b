//! Listing of stored events.

use std::sync::Arc;

use crate::{clock::Timestamp, event::Event};

/// Filter and position of a page of events. For each page, at most a fixed number of rows is read. So a page may have
/// fewer than `limit` events although more pages follow.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only events with this `eventName`.
    pub name: Option<String>,
    pub source: Option<String>,
    /// Leaves out the events that bikhook itself creates.
    pub without_own: bool,
    /// Only events received at this time or later.
    pub since: Option<Timestamp>,
    /// Only events received before this time.
    pub until: Option<Timestamp>,
    /// Only events with a seq below this one. For a next page, this is [`EventPage::next`] of the previous page.
    pub before: Option<u64>,
    /// Maximum number of events, clamped to 1..=1,000.
    pub limit: usize,
}

/// A page of events, newest first.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<Arc<Event>>,
    /// The `before` value of the next page; `None` on the last page.
    pub next: Option<u64>,
}
