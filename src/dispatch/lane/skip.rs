//! Skips undelivered events by an operator's decision, and counts them.

use std::sync::Arc;

use super::Lane;
use crate::{
    clock::Timestamp,
    journal::{Omission, OmissionCause},
};

/// The result of `Lane::skip`, which skips events below a seq or only counts them. Events that the lane has not claimed
/// yet are skipped too, but `events` and `in_flight` do not count them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneSkip {
    /// Number of events that the lane still has to deliver, set-aside events included. Leaves out events in flight.
    pub(in crate::dispatch) events: u64,
    /// Number of events in flight. Such an event is skipped if its delivery fails.
    pub(in crate::dispatch) in_flight: u64,
    /// The lane had claimed every event up to this seq.
    pub(in crate::dispatch) read_to: u64,
    /// Number of events after `read_to` that an earlier run of the lane set aside or turned into dead letters.
    pub(in crate::dispatch) settled: u64,
}

impl Lane {
    /// Skips every undelivered event below `before`, and records who decided it. Without `by`, only counts them.
    pub(super) fn skip(&mut self, before: u64, by: Option<Arc<str>>, now: Timestamp) -> LaneSkip {
        let read_to = self.window.read_to();
        let (waiting, set_aside) = (self.window.waiting_below(before), self.aside.below(before));
        let in_flight = self.window.in_flight_below(before) + self.aside.in_flight_below(before);
        let settled = self.settled.iter().filter(|seq| **seq > read_to && **seq < before).count();
        let skip = LaneSkip {
            events: (waiting.len() + set_aside.len()) as u64,
            in_flight: in_flight as u64,
            read_to,
            settled: settled as u64,
        };
        let Some(by) = by else { return skip };
        self.skipped_by = Some((by, now));
        let mut skipped = self.window.skip_to(before);
        for seq in set_aside {
            self.release(seq, Timestamp::default());
            skipped.push(seq);
        }
        skipped.sort_unstable();
        for seq in skipped {
            self.omit(seq, seq);
        }
        if read_to + 1 < before {
            self.omit(read_to + 1, before - 1);
        }
        skip
    }

    /// Records that these events are skipped by the latest decision.
    pub(super) fn omit(&mut self, first: u64, last: u64) {
        let Some((by, at)) = &self.skipped_by else { return };
        if let Some(previous) = self.ends.omitted.last_mut()
            && previous.last + 1 == first
            && previous.at == *at
        {
            previous.last = last;
            return;
        }
        let (cause, at, by) = (OmissionCause::Skipped, *at, Arc::clone(by));
        self.ends.omitted.push(Omission { first, last, cause, at, by });
    }
}
