//! A handler that is not open, or whose destination has not answered since the start: the lane opens it before it delivers
//! anything, also where it has nothing to deliver, so that trouble is shown.

use super::{super::attempt::Outcome, Carried, Lane};
use crate::{clock::Timestamp, handler::Readiness};

impl Lane {
    /// Opens the handler when it is time to. `None` where deliveries may start, else whether the opening was started. A
    /// destination that failed is probed by a delivery where the handler is open and there is one.
    pub(super) fn start_look(&mut self, now: Timestamp) -> Option<bool> {
        let readiness = self.parts.handler.readiness();
        if readiness == Readiness::Ready || self.parts.replay.is_some() {
            return None;
        }
        if self.look.is_some() {
            return Some(false);
        }
        let failed = self.condition.failures > 0;
        if failed && (now < self.condition.wait_until || !self.carried.is_empty()) {
            return Some(false);
        }
        if failed && readiness == Readiness::Unchecked && self.window.len() > 0 {
            return None;
        }
        self.condition.probing = true;
        let task = self.deliveries.spawn(self.attempt.clone().look());
        self.carried.insert(task.id(), Carried::Look);
        self.look = Some(task);
        Some(true)
    }

    /// The handler was opened and looked at, or could not be.
    pub(super) fn look_ended(&mut self, outcome: Outcome, now: Timestamp) {
        self.look = None;
        match outcome {
            Outcome::Failed(trouble) => {
                self.show.not_ready(&trouble.class, &trouble.error, now);
                self.unwell(&trouble, now);
            }
            _ => {
                self.condition.failures = 0;
                self.condition.probing = false;
            }
        }
    }

    /// A stop does not wait for a destination that is being opened.
    pub(super) fn give_up_look(&mut self) {
        if let Some(look) = self.look.take() {
            look.abort();
            self.carried.remove(&look.id());
        }
    }
}
