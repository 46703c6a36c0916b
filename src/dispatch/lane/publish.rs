//! The status that a lane publishes: its state, and what it waits for.

use super::{super::status::LaneCondition, Lane};
use crate::{clock::Timestamp, plural::counted};

impl Lane {
    pub(super) fn publish(&mut self, now: Timestamp, state: Option<LaneCondition>) {
        let undecided = self.undecided();
        let waits = self.condition.failures > 0 || undecided.is_some();
        let full = self.aside_is_full();
        self.log_full(full);
        let state = state.unwrap_or(match (self.is_paused(), waits, full) {
            (true, ..) => LaneCondition::Paused,
            (_, true, _) => LaneCondition::Waiting,
            (_, _, true) => LaneCondition::Full,
            _ => LaneCondition::Running,
        });
        let tip = self.end().min(*self.tip.borrow());
        let oldest_at = self.window.oldest_at().into_iter().chain(self.aside.oldest_at()).min();
        let next_try = if state == LaneCondition::Waiting { self.next_try(now) } else { None };
        let refused = self.doubted_class();
        let waits_for = self.waits_for(state, refused.as_deref().unwrap_or_default());
        self.publisher.publish(full, |status| {
            status.cursor = self.window.done_to();
            status.lag = tip.saturating_sub(status.cursor);
            status.oldest_at = oldest_at;
            status.in_flight = self.in_flight.len() - usize::from(self.opening.is_some());
            status.set_aside = self.aside.len();
            status.passed = self.claimed.saturating_sub(self.window.len() as u64);
            status.state = state;
            status.failures = self.condition.failures.max(undecided.unwrap_or_default());
            status.next_try = next_try;
            status.waits_for = waits_for;
            status.refused = refused;
        });
    }

    /// Logs an ERROR when the limit for set-aside events is reached. Logs the next ERROR only after a tenth of the
    /// limit was free again.
    fn log_full(&mut self, full: bool) {
        // A tenth of the limit must be free. If one free place were enough, a change by one event could log again.
        let has_room = self.aside.len() * 10 <= self.settings().aside_limit * 9;
        if full && !self.logged_full {
            self.logged_full = true;
            tracing::error!(
                lane = %self.name(),
                set_aside = self.aside.len(),
                destination = &*self.context.spec.destination,
                "number of set-aside events reached `aside_limit`; events that fail now stay in the lane"
            );
        } else if !full && has_room && self.logged_full {
            self.logged_full = false;
            tracing::info!(
                lane = %self.name(),
                set_aside = self.aside.len(),
                "number of set-aside events is below `aside_limit` again"
            );
        }
    }

    /// How often the events in doubt have failed so far: the highest count among them. `None` if no event is in doubt,
    /// while a delivery is in flight, or while another event is ready.
    fn undecided(&self) -> Option<u32> {
        if self.window.doubted() == 0 || !self.in_flight.is_empty() || self.window.ready() > 0 {
            return None;
        }
        self.doubts().map(|(_, entry, _)| entry.attempts).max()
    }

    /// The failure class of the event in doubt with the highest seq, such as `status 422`.
    fn doubted_class(&self) -> Option<String> {
        if self.window.doubted() == 0 {
            return None;
        }
        self.doubts().last().map(|(_, _, trouble)| trouble.class.clone())
    }

    /// The time of the next try, while the lane waits.
    fn next_try(&self, now: Timestamp) -> Option<Timestamp> {
        let at = match self.condition.failures {
            0 => self.window.next_due(now)?,
            _ => self.condition.wait_until,
        };
        (at > now).then_some(at)
    }

    /// Says for an operator what the lane waits for. `class`: see [`Self::doubted_class`].
    fn waits_for(&self, state: LaneCondition, class: &str) -> Option<String> {
        let doubted = || counted(self.window.doubted() as u64, "event", "events");
        let set_aside = || counted(self.aside.len() as u64, "event is", "events are");
        let is_unwell = self.condition.failures > 0;
        Some(match state {
            LaneCondition::Waiting if is_unwell && !self.searches() && self.condition.misconfigured => {
                "the destination does not match the handler's settings: correct one of them; the lane keeps probing"
                    .to_owned()
            }
            LaneCondition::Waiting if is_unwell && !self.searches() => {
                "the destination accepts no events; each probe tries another message".to_owned()
            }
            LaneCondition::Waiting if is_unwell => format!(
                "{} failed ({class}) and none was accepted; each search tries more of the backlog",
                doubted()
            ),
            LaneCondition::Waiting => format!(
                "{} failed ({class}); the next message shows whether the destination is the cause",
                doubted()
            ),
            LaneCondition::Full if self.is_far_ahead() => format!(
                "{} set aside, the maximum of aside_limit; a failed event waits in the lane for room, and the lane \
                 only probes",
                set_aside()
            ),
            LaneCondition::Full => format!(
                "{} set aside, the maximum of aside_limit; events that fail now stay in the lane",
                set_aside()
            ),
            _ => return None,
        })
    }
}
