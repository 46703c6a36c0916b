//! The newest events in memory: a lane that has caught up gets its events from here, without reading the file.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    event::{Class, Event},
    journal::Claim,
};

/// Maximum number of events, and of their bytes. The newest event is kept even if it is larger.
const MAX_EVENTS: usize = 8_192;
const MAX_BYTES: usize = 8 << 20;

/// The newest events, limited in number and bytes.
#[derive(Default)]
pub(super) struct Recent(Mutex<RecentEvents>);

#[derive(Default)]
struct RecentEvents {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Recent {
    /// Adds durable events, in order of seq.
    pub(super) fn extend(&self, events: impl IntoIterator<Item = Arc<Event>>) {
        let mut inner = self.inner();
        for event in events {
            inner.bytes += event.element.raw().len();
            inner.events.push_back(event);
        }
        let mut oldest = Vec::new();
        while inner.events.len() > MAX_EVENTS || (inner.bytes > MAX_BYTES && inner.events.len() > 1) {
            if let Some(event) = inner.events.pop_front() {
                inner.bytes -= event.element.raw().len();
                oldest.push(event);
            }
        }
        // Freeing the oldest events takes a while. Unlock first, so that no lane waits for that.
        drop(inner);
    }

    /// The events of a class after `after`, at most `max`; `None` if they have to be read from the file.
    pub(super) fn claim(&self, class: Class, after: u64, max: usize) -> Option<Claim> {
        let inner = self.inner();
        let first = inner.events.front()?.seq;
        let next = after.saturating_add(1);
        if next < first {
            return None;
        }
        let mut claim = Claim { events: Vec::new(), through: after };
        let skip = usize::try_from(next - first).unwrap_or(usize::MAX);
        for event in inner.events.iter().skip(skip) {
            if event.element.class() == class {
                if claim.events.len() == max {
                    break;
                }
                claim.events.push(Arc::clone(event));
            }
            claim.through = event.seq;
        }
        Some(claim)
    }

    fn inner(&self) -> MutexGuard<'_, RecentEvents> {
        // No code under this lock panics half-way through a change, so the events are valid even if the lock is
        // poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
