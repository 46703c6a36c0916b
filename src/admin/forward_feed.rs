//! Events oldest first, for clients that export a whole journal or follow it.
//!
//! Events are read in claims, as a lane reads them. Each claim starts after the highest seq up to which all events have
//! been read, so that no event is skipped.

use std::sync::Arc;

use super::selection::{EventSelection, PAGE_BYTES};
use crate::{
    event::Event,
    handler::Filter,
    journal::{Claim, EventPage, EventQuery},
};

/// A page ends after this many claims. Each claim covers both classes.
const CLAIMS: usize = 20;
/// The maximum number of events of each class in a claim.
pub const CHUNK: usize = 1_000;

/// A page of events, oldest first, while it is being read.
pub struct ForwardPage {
    query: EventQuery,
    selection: EventSelection,
    events: Vec<Arc<Event>>,
    /// All events up to this seq were read.
    through: u64,
    /// No later event can match: the journal has none now, or the query's `before` is reached.
    ended: bool,
    claims: usize,
    bytes: usize,
}

impl ForwardPage {
    /// Starts an empty page of the events with a seq above `after`. From the second page on, `after` is the `next` of
    /// the previous page. A query with `until` must also have `before`, which ends the list. `until` alone cannot end
    /// it, because received times can decrease when the clock is corrected.
    pub fn new(after: u64, query: EventQuery, filter: Filter) -> Self {
        let selection = EventSelection { since: query.since, until: query.until, filter };
        Self { query, selection, events: Vec::new(), through: after, ended: false, claims: 0, bytes: 0 }
    }

    /// The seq after which the next claim starts; `None` if the page is full or no later event can match. A claim has
    /// at most [`CHUNK`] events per class.
    pub fn reads(&self) -> Option<u64> {
        let full = self.events.len() >= self.query.limit || self.bytes >= PAGE_BYTES || self.claims >= CLAIMS;
        (!full && !self.ended).then_some(self.through)
    }

    /// Adds a claim of both classes to the page.
    pub fn take(&mut self, Claim { events, through }: Claim) {
        self.claims += 1;
        let after = self.through;
        for event in events {
            // Neither the event with the seq `before` nor any later one can match.
            if self.query.before.is_some_and(|before| event.seq >= before) {
                self.ended = true;
                return;
            }
            self.through = event.seq;
            if !self.matches(&event) {
                continue;
            }
            self.bytes += event.element.raw().len();
            self.events.push(event);
            if self.events.len() >= self.query.limit || self.bytes >= PAGE_BYTES {
                return;
            }
        }
        self.through = self.through.max(through);
        self.ended = self.through == after;
    }

    /// Ends the page and returns it. Its `next` is the `after` of the following page; `None` if no later event can
    /// match.
    pub fn page(self) -> EventPage {
        EventPage { events: self.events, next: (!self.ended).then_some(self.through) }
    }

    fn matches(&self, event: &Event) -> bool {
        self.query.name.as_ref().is_none_or(|name| name == event.element.name())
            && self.query.source.as_ref().is_none_or(|source| **source == *event.source)
            && !(self.query.without_own && event.is_own())
            && self.selection.matches(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::selection::tests::event, clock::Timestamp, event::Class};

    /// The name of an event. Every third event is from a customer.
    fn name(seq: u64) -> &'static str {
        if seq.is_multiple_of(3) { "incoming-message" } else { "message-status-update" }
    }

    /// Reads one page from a journal with `stored` events, claimed ten per class at a time.
    fn page(stored: u64, after: u64, query: EventQuery) -> (Vec<u64>, Option<u64>) {
        let mut page = ForwardPage::new(after, query, Filter::default());
        while let Some(after) = page.reads() {
            page.take(Claim::of_all(Class::ALL.map(|class| {
                let all = (after + 1..=stored).map(|seq| event(seq, name(seq)));
                let events: Vec<_> = all.filter(|event| event.element.class() == class).take(10).collect();
                let through = events.last().filter(|_| events.len() == 10).map_or(stored, |event| event.seq);
                Claim { events, through }
            })));
        }
        let page = page.page();
        (page.events.iter().map(|event| event.seq).collect(), page.next)
    }

    #[test]
    fn pages_have_every_event_of_both_classes_once_and_in_order() {
        let (mut seen, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let (seqs, next) = page(500, from, EventQuery { limit: 7, ..EventQuery::default() });
            seen.extend(seqs);
            after = next;
        }
        assert_eq!(seen, (1..=500).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_ends_at_until_at_before_and_after_20_claims() {
        let until = Some(Timestamp::from_ms(6_000));
        let query = EventQuery { until, before: Some(8), limit: 100, ..EventQuery::default() };
        assert_eq!(page(500, 2, query), (vec![3, 4, 5], None));
        let between = EventQuery { before: Some(5), limit: 100, ..EventQuery::default() };
        assert_eq!(page(500, 2, between), (vec![3, 4], None));
        let nothing = EventQuery { name: Some("other".to_owned()), limit: 5, ..EventQuery::default() };
        let (seqs, next) = page(10_000, 0, nothing);
        assert!(seqs.is_empty() && next.is_some_and(|next| next < 1_000), "{next:?}");
        assert_eq!(page(0, 0, EventQuery { limit: 5, ..EventQuery::default() }), (vec![], None));
    }
}
