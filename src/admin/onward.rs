//! Events oldest first: for who takes all of them out of a journal, or follows it.
//!
//! They are read by claim, as a lane reads them: a seq counts as passed once everything up to it has been looked at, so
//! that no event is stepped over.

use std::sync::Arc;

use super::narrow::Narrowed;
use crate::{
    event::Event,
    journal::{Claim, EventPage},
};

/// Claims of both classes after which a page ends with what it has …
const CLAIMS: usize = 20;
/// … and bytes of payload that it holds.
const PAGE_BYTES: usize = 4 << 20;
/// Events of a class that are claimed at once.
pub const CHUNK: usize = 1_000;

/// Which events, after which seq.
#[derive(Clone, Debug, Default)]
pub struct OnwardQuery {
    /// Only what has a higher seq: where the page before ended.
    pub after: u64,
    /// Only what has a lower seq. Whoever narrows down by `until` bounds it by that, too: a page does not end by a time, since
    /// a correction of the clock lets times fall.
    pub before: Option<u64>,
    /// Only this event name.
    pub name: Option<String>,
    /// Only this source.
    pub source: Option<String>,
    /// What else narrows them down.
    pub narrowed: Narrowed,
    /// At most this many.
    pub limit: usize,
}

/// A page of events, oldest first, as it grows by what is claimed.
pub struct Onward {
    query: OnwardQuery,
    events: Vec<Arc<Event>>,
    /// Everything up to here was looked at.
    through: u64,
    /// There is nothing behind it now.
    ended: bool,
    claims: usize,
    bytes: usize,
}

impl Onward {
    /// An empty one.
    pub const fn new(query: OnwardQuery) -> Self {
        let through = query.after;
        Self { query, events: Vec::new(), through, ended: false, claims: 0, bytes: 0 }
    }

    /// After which seq both classes are to be claimed next, [`CHUNK`] events of each; `None` where the page is full, or
    /// there is nothing more.
    pub fn reads(&self) -> Option<u64> {
        let full = self.events.len() >= self.query.limit || self.bytes >= PAGE_BYTES || self.claims >= CLAIMS;
        (!full && !self.ended).then_some(self.through)
    }

    /// Takes what was claimed of both classes.
    pub fn take(&mut self, Claim { events, through }: Claim) {
        self.claims += 1;
        let after = self.through;
        for event in events {
            if self.query.is_over_at(&event) {
                self.ended = true;
                return;
            }
            self.through = event.seq;
            if !self.query.takes(&event) {
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

    /// The page; its `next` is `after` of the following one.
    pub fn page(self) -> EventPage {
        EventPage { events: self.events, next: (!self.ended).then_some(self.through) }
    }
}

impl OnwardQuery {
    /// Neither this event is meant nor any behind it.
    fn is_over_at(&self, event: &Event) -> bool {
        self.before.is_some_and(|before| event.seq >= before)
    }

    fn takes(&self, event: &Event) -> bool {
        self.name.as_ref().is_none_or(|name| name == event.element.name())
            && self.source.as_ref().is_none_or(|source| **source == *event.source)
            && self.narrowed.takes(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        event::{Class, Element},
    };

    /// Every third is from a customer; each came in the second of its seq.
    fn event(seq: u64) -> Arc<Event> {
        let name = if seq.is_multiple_of(3) { "incoming-message" } else { "message-status-update" };
        let element = Element::read(format!("{{\"eventName\":\"{name}\"}}").as_bytes()).unwrap();
        let received_at = Timestamp::from_ms(i64::try_from(seq).unwrap() * 1_000);
        Arc::new(Event {
            seq,
            came_at: received_at,
            received_at,
            source: "bik".into(),
            element: Arc::new(element),
        })
    }

    /// A page out of as many events, claimed a few at a time.
    fn page(stored: u64, query: OnwardQuery) -> (Vec<u64>, Option<u64>) {
        let mut onward = Onward::new(query);
        while let Some(after) = onward.reads() {
            onward.take(Claim::of_all(Class::ALL.map(|class| {
                let of_class = (after + 1..=stored).map(event).filter(|event| event.element.class() == class);
                let events: Vec<_> = of_class.take(10).collect();
                let through = events.last().filter(|_| events.len() == 10).map_or(stored, |event| event.seq);
                Claim { events, through }
            })));
        }
        let page = onward.page();
        (page.events.iter().map(|event| event.seq).collect(), page.next)
    }

    #[test]
    fn pages_have_every_event_of_both_classes_once_and_in_order() {
        let (mut seen, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let (seqs, next) = page(500, OnwardQuery { after: from, limit: 7, ..OnwardQuery::default() });
            seen.extend(seqs);
            after = next;
        }
        assert_eq!(seen, (1..=500).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_ends_at_the_time_or_the_seq_that_is_asked_for_and_after_it_has_looked_at_many() {
        let narrowed = Narrowed { until: Some(Timestamp::from_ms(6_000)), ..Narrowed::default() };
        let query = OnwardQuery { after: 2, before: Some(8), limit: 100, narrowed, ..OnwardQuery::default() };
        assert_eq!(page(500, query), (vec![3, 4, 5], None));
        let between = OnwardQuery { after: 2, before: Some(5), limit: 100, ..OnwardQuery::default() };
        assert_eq!(page(500, between), (vec![3, 4], None));
        let nothing = OnwardQuery { name: Some("other".to_owned()), limit: 5, ..OnwardQuery::default() };
        let (seqs, next) = page(10_000, nothing);
        assert!(seqs.is_empty() && next.is_some_and(|next| next < 1_000), "{next:?}");
        assert_eq!(page(0, OnwardQuery { limit: 5, ..OnwardQuery::default() }), (vec![], None));
    }
}
