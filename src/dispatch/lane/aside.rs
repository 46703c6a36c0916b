//! Exceptions beside a lane's own deliveries: events that are set aside, and dead letters that somebody retries.

use std::sync::Arc;

use super::{
    super::{
        attempt::{Gravity, Outcome, Trouble},
        exceptions::AsideTrace,
        policy,
    },
    Lane,
};
use crate::{
    clock::Timestamp,
    event::{Event, OrderKey, excerpt},
    handler::About,
    journal::{ASIDE_ERROR_CHARS, Aside, Cause, DeadAgain, History},
};

impl Lane {
    /// Records the result of a set-aside event.
    pub(super) fn aside_ended(&mut self, event: &Arc<Event>, outcome: Outcome, now: Timestamp) {
        let seq = event.seq;
        let Some((row, mut trace)) = self.aside.get(seq).map(|(row, trace)| (row.clone(), trace)) else {
            return;
        };
        self.redelivered.unsettled += u64::from(seq <= self.redelivered.upto);
        let trouble = match outcome {
            Outcome::Delivered => {
                self.publisher.delivered(1, now);
                self.succeeded(1, now);
                return self.release(seq, now);
            }
            Outcome::Refused(trouble) => {
                return self.dead_letter_aside(event, Cause::Refused, row, trouble, now);
            }
            Outcome::Failed(trouble) => trouble,
            Outcome::Untried => return self.aside.insert(row, trace),
        };
        self.publisher.failed(&trouble.class, now);
        if self.window.is_skipped(seq) {
            self.omit(seq, seq);
            return self.release(seq, now);
        }
        trace.unanswered |= trouble.about == About::Unanswered;
        trace.repetitions += u32::from(trouble.about == About::Repetition);
        if policy::is_delivered(trace.unanswered, trace.repetitions) {
            self.counted_as_delivered(seq, now);
            return self.release(seq, now);
        }
        if !trouble.is_about_event() {
            self.escalate(&trouble);
        }
        self.judge_aside(event, row, trace, trouble, now);
    }

    /// Decides whether a set-aside event that failed again becomes a dead letter or is retried later.
    fn judge_aside(
        &mut self,
        event: &Arc<Event>,
        row: Aside,
        mut trace: AsideTrace,
        trouble: Trouble,
        now: Timestamp,
    ) {
        let (seq, attempts) = (event.seq, row.attempts + 1);
        // The destination answered, and accepts other events: one succeeded since the previous failure of this event,
        // or the destination is well and no event is in doubt (see `doubt`).
        let answers = trouble.is_about_event()
            && (self.condition.successes > trace.failed_after
                || (self.condition.failures == 0 && self.window.doubted() == 0));
        // `doubted` counts every event in doubt, but `doubts` leaves out an event if others succeeded since its doubt
        // began. A pinned event (see `Window::pin`) stays in doubt after such a success, because there was no room to
        // set it aside. So `is_well` can be true while a pinned event is in doubt.
        let is_well =
            trouble.is_about_event() && self.condition.failures == 0 && self.doubts().next().is_none();
        let takes_others = answers || is_well || self.others_succeed_since(trace.failed_at);
        trace.failed_at = now;
        trace.failed_after = self.condition.successes;
        if trouble.gravity == Gravity::Refused && answers {
            return self.dead_letter_aside(event, Cause::Refused, row, trouble, now);
        }
        let jitter = self.jitter(seq, attempts);
        match policy::next_aside_ms(self.settings(), now.ms_since(row.since), attempts, jitter) {
            // An event expires only while the destination accepts others.
            None if takes_others => self.dead_letter_aside(event, Cause::Expired, row, trouble, now),
            None => self.keep_aside(row, trace, trouble, self.settings().aside_max.as_ms(), now),
            Some(wait) => self.keep_aside(row, trace, trouble, wait, now),
        }
    }

    fn dead_letter_aside(
        &mut self,
        event: &Arc<Event>,
        cause: Cause,
        row: Aside,
        trouble: Trouble,
        now: Timestamp,
    ) {
        self.dead_letter(Arc::clone(event), cause, row.attempts + 1, trouble, row.history, now);
        self.release(event.seq, now);
    }

    /// Returns whether the destination accepted another event after `time`. For a replay, deliveries of the handler's
    /// own lanes also count.
    fn others_succeed_since(&self, time: Timestamp) -> bool {
        let live = self.replay.iter().flat_map(|replay| &replay.live);
        self.condition.last_success > time
            || live.filter_map(|lane| lane.borrow().delivered_at).any(|at| at > time)
    }

    fn keep_aside(&mut self, row: Aside, trace: AsideTrace, trouble: Trouble, wait_ms: i64, now: Timestamp) {
        let attempts = row.attempts + 1;
        let history = row.history.and(attempts, now, &trouble.error);
        let next_try = now.plus_ms(wait_ms.max(requested_wait_ms(&trouble)));
        let row = Aside { attempts, error: aside_error(&trouble), history, next_try, ..row };
        self.put_aside(row, trace);
    }

    fn put_aside(&mut self, row: Aside, trace: AsideTrace) {
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, trace);
    }

    /// Removes a set-aside event that is done. The next event of its message becomes due.
    pub(super) fn release(&mut self, seq: u64, now: Timestamp) {
        self.ends.resolved.push(seq);
        self.ends.set_aside.retain(|row| row.seq != seq);
        let key = self.aside.get(seq).and_then(|(row, _)| row.order_key);
        self.ends.set_aside.extend(self.aside.remove(seq, now));
        if let Some(key) = key.filter(|key| !self.aside.holds(*key)) {
            self.window.unhold(key);
        }
    }

    /// Records the result of a retried dead letter.
    pub(super) fn dead_retry_ended(&mut self, id: i64, outcome: Outcome, now: Timestamp) {
        self.redelivered.unsettled += 1;
        let trouble = match outcome {
            Outcome::Delivered => {
                self.publisher.delivered(1, now);
                self.succeeded(1, now);
                self.ends.revived.push(id);
                return self.dead_retry_done(id);
            }
            Outcome::Refused(trouble) | Outcome::Failed(trouble) => trouble,
            Outcome::Untried => return self.dead_retries.put_back(id, now),
        };
        if !trouble.is_about_event() {
            self.escalate(&trouble);
        }
        let failed = self.dead_retries.failed(id, now, &trouble.error);
        let Some((tries, attempts, history)) = failed else { return };
        let rests = trouble.gravity == Gravity::Refused || tries >= policy::DEAD_RETRY_TRIES;
        let wait_requested = requested_wait_ms(&trouble);
        let error = trouble.error;
        self.ends.dead_again.push(DeadAgain { id, attempts, error, history, still_retrying: !rests });
        if rests {
            self.dead_retry_done(id);
        } else {
            let jitter = self.jitter(id.cast_unsigned(), attempts);
            let wait = policy::aside_wait_ms(self.settings(), tries, jitter);
            self.dead_retries.put_back(id, now.plus_ms(wait.max(wait_requested)));
        }
    }

    pub(super) fn dead_retry_done(&mut self, id: i64) {
        // The journal returns a bounded number of dead letters at a time. Once the lane is done with these, it reads
        // the next ones.
        self.reload_dead_retries |= self.dead_retries.remove(id);
    }

    /// Sets aside an event of the window. Later events of its message are also set aside, and wait behind it. If there
    /// is no room, the event stays in the window as failed. A skipped event is removed instead.
    pub(super) fn set_aside(&mut self, seq: u64, trouble: Trouble, now: Timestamp) {
        let successes = self.condition.successes;
        if self.window.is_skipped(seq) || self.aside_is_full() {
            let attempts = self.window.get(seq).map_or(0, |entry| entry.attempts) + 1;
            let not_before = now.plus_ms(self.probe_wait_ms(attempts));
            let error = aside_error(&trouble);
            let doubt = trouble.is_about_event().then_some(Trouble { error, ..trouble });
            return self.window.failed(seq, successes, not_before, doubt);
        }
        let Some(entry) = self.window.remove(seq) else { return };
        let attempts = entry.attempts + 1;
        tracing::warn!(
            lane = %self.name(),
            seq,
            failure = %trouble.class,
            "event set aside after failures; it is retried later, and the lane continues"
        );
        let order_key = entry.key;
        let wait = policy::aside_wait_ms(self.settings(), 1, self.jitter(seq, attempts));
        self.ends.set_aside.extend(order_key.and_then(|key| self.aside.yields(key, seq)));
        let row = Aside {
            seq,
            order_key,
            behind: order_key.is_some_and(|key| self.aside.holds_before(key, seq)),
            attempts,
            since: now,
            next_try: now.plus_ms(wait),
            history: History::default().and(attempts, now, &trouble.error),
            error: aside_error(&trouble),
        };
        let trace = AsideTrace {
            failed_at: now,
            failed_after: successes,
            unanswered: entry.unanswered,
            repetitions: entry.repetitions,
        };
        self.put_aside(row, trace);
        let Some(key) = order_key else { return };
        for later in self.window.take_message(key) {
            self.set_aside_in_order(later, order_key, now);
        }
        // Another event of the message may be in flight. If that event fails, it waits in the window.
        self.window.hold(key);
    }

    /// Sets aside events that the window holds (see `Window::hold`), while there is room. In the window they would stop
    /// the cursor, and a restart would deliver everything after the cursor again.
    pub(super) fn set_aside_held(&mut self, now: Timestamp) {
        let room = self.settings().aside_limit.saturating_sub(self.aside.len());
        if room == 0 {
            return;
        }
        for (seq, key) in self.window.take_held(room) {
            self.set_aside_in_order(seq, Some(key), now);
        }
    }

    /// Sets an event aside to keep the order of its message, not because the event failed. The event queues behind
    /// earlier set-aside events of its message. If a later event of the message is already set aside, for example from
    /// before a restart, that event queues behind this one.
    pub(super) fn set_aside_in_order(&mut self, seq: u64, order_key: Option<OrderKey>, now: Timestamp) {
        let follows = order_key.and_then(|key| self.aside.yields(key, seq));
        let row = Aside {
            seq,
            order_key,
            behind: follows.is_none(),
            attempts: 0,
            since: now,
            next_try: now,
            error: String::new(),
            history: History::default(),
        };
        self.ends.set_aside.extend(follows);
        let unanswered = seq <= self.redelivered.upto;
        self.put_aside(row, AsideTrace { failed_at: now, unanswered, ..AsideTrace::default() });
    }
}

/// The part of the error text that is kept while the event is in memory.
fn aside_error(trouble: &Trouble) -> String {
    excerpt(&trouble.error, ASIDE_ERROR_CHARS).into_owned()
}

/// How long the destination asked to wait, in ms, up to [`policy::LONGEST_REQUESTED_MS`].
pub(super) fn requested_wait_ms(trouble: &Trouble) -> i64 {
    let requested = trouble.after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    requested.min(policy::LONGEST_REQUESTED_MS)
}
