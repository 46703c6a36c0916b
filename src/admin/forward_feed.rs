//! Events oldest first, for clients that export a whole journal or follow it.
//!
//! Events are read by claim, as a lane reads them. A seq counts as passed only after all events up to it have been
//! read, so that no event is skipped.

use std::sync::Arc;

use super::selection::EventSelection;
use crate::{
    event::Event,
    journal::{Claim, EventPage},
};

/// A page ends after this many claims of both classes.
const CLAIMS: usize = 20;
/// A page also ends when it holds this many bytes of payload.
const PAGE_BYTES: usize = 4 << 20;
/// Events claimed at once, per class.
pub const CHUNK: usize = 1_000;

/// A selection of events, and the seq to start after.
#[derive(Clone, Debug, Default)]
pub struct ForwardQuery {
    /// Only events with a higher seq: the `next` of the previous page.
    pub after: u64,
    /// Only events with a lower seq. A caller that selects by `until` must also set this bound: `until` does not end
    /// the list, because received times can decrease when the clock is corrected.
    pub before: Option<u64>,
    pub name: Option<String>,
    pub source: Option<String>,
    /// Further conditions on the time and content.
    pub selection: EventSelection,
    /// The maximum number of events in the page.
    pub limit: usize,
}

/// A page of events, oldest first, while it is being read.
pub struct ForwardPage {
    query: ForwardQuery,
    events: Vec<Arc<Event>>,
    /// All events up to this seq were read.
    through: u64,
    /// There are no events after `through` now.
    ended: bool,
    claims: usize,
    bytes: usize,
}

impl ForwardPage {
    /// Starts an empty page.
    pub const fn new(query: ForwardQuery) -> Self {
        let through = query.after;
        Self { query, events: Vec::new(), through, ended: false, claims: 0, bytes: 0 }
    }

    /// The seq after which to claim next, [`CHUNK`] events per class; `None` if the page is full or there are no more
    /// events.
    pub fn reads(&self) -> Option<u64> {
        let full = self.events.len() >= self.query.limit || self.bytes >= PAGE_BYTES || self.claims >= CLAIMS;
        (!full && !self.ended).then_some(self.through)
    }

    /// Adds a claim of both classes to the page.
    pub fn take(&mut self, Claim { events, through }: Claim) {
        self.claims += 1;
        let after = self.through;
        for event in events {
            if self.query.is_over_at(&event) {
                self.ended = true;
                return;
            }
            self.through = event.seq;
            if !self.query.matches(&event) {
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

    /// Ends the page and returns it. Its `next` is the `after` of the following page.
    pub fn page(self) -> EventPage {
        EventPage { events: self.events, next: (!self.ended).then_some(self.through) }
    }
}

impl ForwardQuery {
    /// Returns whether neither this event nor any later one can match.
    fn is_over_at(&self, event: &Event) -> bool {
        self.before.is_some_and(|before| event.seq >= before)
    }

    fn matches(&self, event: &Event) -> bool {
        self.name.as_ref().is_none_or(|name| name == event.element.name())
            && self.source.as_ref().is_none_or(|source| **source == *event.source)
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
    fn page(stored: u64, query: ForwardQuery) -> (Vec<u64>, Option<u64>) {
        let mut page = ForwardPage::new(query);
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
            let (seqs, next) = page(500, ForwardQuery { after: from, limit: 7, ..ForwardQuery::default() });
            seen.extend(seqs);
            after = next;
        }
        assert_eq!(seen, (1..=500).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_ends_at_until_at_before_and_after_20_claims() {
        let selection =
            EventSelection { until: Some(Timestamp::from_ms(6_000)), ..EventSelection::default() };
        let query =
            ForwardQuery { after: 2, before: Some(8), limit: 100, selection, ..ForwardQuery::default() };
        assert_eq!(page(500, query), (vec![3, 4, 5], None));
        let between = ForwardQuery { after: 2, before: Some(5), limit: 100, ..ForwardQuery::default() };
        assert_eq!(page(500, between), (vec![3, 4], None));
        let nothing = ForwardQuery { name: Some("other".to_owned()), limit: 5, ..ForwardQuery::default() };
        let (seqs, next) = page(10_000, nothing);
        assert!(seqs.is_empty() && next.is_some_and(|next| next < 1_000), "{next:?}");
        assert_eq!(page(0, ForwardQuery { limit: 5, ..ForwardQuery::default() }), (vec![], None));
    }
}
