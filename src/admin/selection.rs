//! Selection of events by time and content, for lists, replays and changes of dead letters.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    clock::Timestamp,
    event::Event,
    handler::{Filter, FilterSettings},
    journal::{Error, EventPage, EventQuery, Journal},
    settings::keys_of,
};

/// A selection of events. Every member that is set must match.
#[derive(Clone, Debug, Default)]
pub struct EventSelection {
    /// Only events received at this time or later.
    pub since: Option<Timestamp>,
    /// Only events received before this time.
    pub until: Option<Timestamp>,
    /// Conditions on the content of an event.
    pub filter: Filter,
}

impl EventSelection {
    /// Returns whether the event matches.
    pub fn matches(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| event.received_at >= since)
            && self.until.is_none_or(|until| event.received_at < until)
            && self.filter.wants(event)
    }
}

/// A selection of events: a JSON object with the same keys as a handler's filter. An event must match every key that is
/// given.
#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "Filter", with = "FilterSettings")]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub(super) struct FilterSelection {
    /// The filter as requested.
    pub(super) settings: FilterSettings,
    /// The compiled filter.
    pub(super) filter: Filter,
}

impl TryFrom<FilterSettings> for FilterSelection {
    type Error = String;

    fn try_from(settings: FilterSettings) -> Result<Self, String> {
        let filter = Filter::new(&settings).map_err(|error| format!("filter: {error}"))?;
        Ok(Self { settings, filter })
    }
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for FilterSelection {
    type Error = String;

    fn try_from(given: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        let known = keys_of::<FilterSettings>();
        if let Some(unknown) = given.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("filter: unknown key {unknown:?}; valid keys: {}", known.join(", ")));
        }
        let settings: FilterSettings =
            serde_json::from_value(given.into()).map_err(|error| format!("filter: {error}"))?;
        Self::try_from(settings)
    }
}

/// Returns whether a list or a tail leaves out the events that bikhook itself creates. They are included only if the
/// request gives a source or an event name, for example the source `bikhook`.
pub fn is_without_own(source: Option<&str>, name: Option<&str>, filter: Option<&Filter>) -> bool {
    source.is_none() && name.is_none() && !filter.is_some_and(Filter::names_events)
}

/// A page of the events that match a filter, while it is being read.
pub struct FilteredPage {
    page: EventPage,
    query: EventQuery,
    reads: usize,
    bytes: usize,
}

/// A page ends after this many reads of the journal.
const READS: usize = 20;
/// A page also ends with the event that brings the payloads on the page to this many bytes in total.
pub(super) const PAGE_BYTES: usize = 4 << 20;
/// Events per read.
const CHUNK: usize = 1_000;

impl FilteredPage {
    /// Starts an empty page with the query's limit.
    pub fn new(query: EventQuery) -> Self {
        let page = EventPage { events: Vec::new(), next: query.before };
        Self { page, query, reads: 0, bytes: 0 }
    }

    /// The query for the next read.
    pub fn reads(&self) -> EventQuery {
        EventQuery { before: self.page.next, limit: CHUNK, ..self.query.clone() }
    }

    /// Adds the events of a read that match the filter. Returns whether the page needs another read.
    pub fn take(&mut self, read: EventPage, filter: &Filter) -> bool {
        self.reads += 1;
        for event in read.events {
            if !filter.wants(&event) {
                continue;
            }
            self.bytes += event.element.raw().len();
            self.page.next = Some(event.seq);
            self.page.events.push(event);
            if self.page.events.len() >= self.query.limit || self.bytes >= PAGE_BYTES {
                return false;
            }
        }
        self.page.next = read.next;
        read.next.is_some() && self.reads < READS
    }

    /// Ends the page and returns it.
    pub fn page(self) -> EventPage {
        self.page
    }
}

/// Reads a page of the events that match a filter.
///
/// # Errors
/// Returns the errors of the journal.
pub(super) async fn read_filtered(
    journal: &dyn Journal,
    query: EventQuery,
    filter: &Filter,
) -> Result<EventPage, Error> {
    let mut sifted = FilteredPage::new(query);
    while sifted.take(journal.events(sifted.reads()).await?, filter) {}
    Ok(sifted.page())
}

/// The highest seq such that all events up to it were received before `time`. The next event, if any, was received at
/// `time` or later.
pub(super) async fn before_all_since(journal: &dyn Journal, time: Timestamp) -> Result<u64, Error> {
    let tip = *journal.tip().borrow();
    Ok(journal.received_from(time).await?.map_or(tip, |first| first - 1))
}

/// The seq of the last event received before `time`, or 0 if there is none.
pub(super) async fn last_before(journal: &dyn Journal, time: Timestamp) -> Result<u64, Error> {
    let query = EventQuery { until: Some(time), limit: 1, ..EventQuery::default() };
    Ok(journal.events(query).await?.events.first().map_or(0, |event| event.seq))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Element;

    /// An event that was received `seq` seconds after the Unix epoch.
    pub(in crate::admin) fn event(seq: u64, name: &str) -> Arc<Event> {
        let element = Element::read(format!("{{\"eventName\":\"{name}\"}}").as_bytes()).unwrap();
        let received_at = Timestamp::from_ms(i64::try_from(seq).unwrap() * 1_000);
        let (source, element) = ("bik".into(), Arc::new(element));
        Arc::new(Event { seq, came_at: received_at, received_at, source, element })
    }

    fn events(seqs: std::ops::Range<u64>) -> Vec<Arc<Event>> {
        let name = |seq: u64| if seq.is_multiple_of(100) { "wanted" } else { "other" };
        seqs.rev().map(|seq| event(seq, name(seq))).collect()
    }

    /// Reads one page from a journal with `stored` events. Returns the page's seqs and its `next`.
    fn sift(stored: u64, before: Option<u64>, limit: usize) -> (Vec<u64>, Option<u64>) {
        let settings =
            FilterSettings { events: Some(vec!["wanted".to_owned()]), ..FilterSettings::default() };
        let filter = Filter::new(&settings).unwrap();
        let mut sifted = FilteredPage::new(EventQuery { before, limit, ..EventQuery::default() });
        loop {
            let query = sifted.reads();
            let end = query.before.unwrap_or(stored + 1);
            let first = end.saturating_sub(query.limit as u64).max(1);
            let read = EventPage { events: events(first..end), next: (first > 1).then_some(first) };
            if !sifted.take(read, &filter) {
                let page = sifted.page();
                return (page.events.iter().map(|event| event.seq).collect(), page.next);
            }
        }
    }

    #[test]
    fn a_page_has_its_limit_and_the_next_page_continues_after_it() {
        assert_eq!(sift(2_500, None, 3), (vec![2_500, 2_400, 2_300], Some(2_300)));
        assert_eq!(sift(2_500, Some(2_300), 2), (vec![2_200, 2_100], Some(2_100)));
        assert_eq!(sift(250, None, 10), (vec![200, 100], None));
        assert_eq!(sift(99, None, 10), (vec![], None));
    }

    #[test]
    fn a_page_ends_after_20_reads() {
        let (seqs, next) = sift(1_000_000, None, 1_000);
        assert_eq!((seqs.len(), next), (200, Some(980_001)));
    }
}
