//! Opens and checks a handler that is not open, or whose destination has not answered yet. The lane does this before
//! its first delivery, and also if it has nothing to deliver, so that a failure is visible.

use super::{super::attempt::Outcome, InFlight, Lane};
use crate::{clock::Timestamp, handler::Readiness};

impl Lane {
    /// Opens the handler when it is time. Returns `None` if deliveries may start, else whether the opening was started.
    /// After a failure, also returns `None` if the handler is open and an event waits, because the delivery of that
    /// event probes the destination.
    pub(super) fn start_opening(&mut self, now: Timestamp) -> Option<bool> {
        let readiness = self.context.spec.handler.readiness();
        if readiness == Readiness::Ready || self.replay.is_some() {
            return None;
        }
        if self.opening.is_some() {
            return Some(false);
        }
        let failed = self.condition.failures > 0;
        if failed && (now < self.condition.wait_until || !self.in_flight.is_empty()) {
            return Some(false);
        }
        if failed && readiness == Readiness::Unchecked && self.window.len() > 0 {
            return None;
        }
        self.condition.probing = true;
        let task = self.deliveries.spawn(self.attempt.clone().open());
        self.in_flight.insert(task.id(), InFlight::Opening);
        self.opening = Some(task);
        Some(true)
    }

    /// Handles the result of opening and checking the handler.
    pub(super) fn opening_ended(&mut self, outcome: Outcome, now: Timestamp) {
        self.opening = None;
        match outcome {
            Outcome::Failed(trouble) => {
                self.publisher.not_ready(&trouble.class, &trouble.error, now);
                self.unwell(&trouble, now);
            }
            _ => {
                self.condition.failures = 0;
                self.condition.probing = false;
            }
        }
    }

    /// Aborts the opening of the handler, so that a stop does not wait for it.
    pub(super) fn abort_opening(&mut self) {
        if let Some(task) = self.opening.take() {
            task.abort();
            self.in_flight.remove(&task.id());
        }
    }
}
