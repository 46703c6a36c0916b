//! Decides whether the event or the destination is the cause of a failure.
//!
//! If the destination answered and may accept other events, the failed event is in doubt until other messages show the
//! cause. Meanwhile the lane delivers other messages without a wait:
//!
//! - If another message succeeds, the cause is the event. A refused event becomes a dead letter when it is refused
//!   again; an event that failed in another way is set aside after [`policy::EVENT_TRIES`] tries.
//! - If [`policy::DOUBTS`] messages fail with no success in between, the cause is the destination. The lane waits, and
//!   searches the backlog for a message that is accepted: each search tries more messages. When a search succeeds, the
//!   results do not show why the earlier events failed, so each of them is set aside and tried again.
//! - If no other message shows the cause, a second refusal makes the event a dead letter. An event that failed in
//!   another way is tried again until another message shows the cause; in a replay, it is set aside after
//!   [`policy::EVENT_TRIES`] tries.

use super::{
    super::{
        attempt::{Gravity, Trouble},
        policy,
        window::WindowEntry,
    },
    Lane, WINDOW_BYTES,
};
use crate::{
    clock::Timestamp,
    handler::About,
    journal::{self, Cause, History},
};

/// Length of a truncated error, in characters: see [`policy::WHOLE_ERRORS`].
const CUT_CHARS: usize = 200;
/// Maximum number of events that become dead letters in one [`Lane::turn`] because of [`BelievedRefusals`].
const BELIEVED_EVENTS: usize = 1_000;

/// The failures that an operator believes to be final: events that fail in this way become dead letters, until the next
/// success.
pub(super) struct BelievedRefusals {
    /// The last seq that may become a dead letter.
    pub(super) upto: u64,
    /// The class of the failures, such as `status 422`.
    pub(super) class: String,
    /// The last [`Lane::turn`] stopped at [`WINDOW_BYTES`] or [`BELIEVED_EVENTS`]. The next one continues, once the
    /// dead letters so far are durable.
    continues: bool,
}

impl BelievedRefusals {
    fn holds(&self, seq: u64, trouble: &Trouble) -> bool {
        seq <= self.upto && trouble.is_about_event() && trouble.class == self.class
    }
}

impl Lane {
    /// Handles a failure that the event may have caused. `beside`: other events of the same delivery succeeded. In a
    /// batch, only later events count.
    pub(super) fn event_failed(&mut self, seq: u64, mut trouble: Trouble, beside: bool, now: Timestamp) {
        if self.window.is_skipped(seq) {
            return self.window.remove_skipped(seq);
        }
        let Some(entry) = self.window.get_mut(seq) else { return };
        entry.repetitions += u32::from(trouble.about == About::Repetition);
        if policy::is_delivered(entry.unanswered, entry.repetitions) {
            self.window.remove(seq);
            return self.counted_as_delivered(seq, now);
        }
        let tried = entry.attempts;
        let was_refused = entry.doubt.as_ref().is_some_and(|doubt| doubt.gravity == Gravity::Refused);
        let others = beside || entry.doubted_after.is_some_and(|then| self.condition.successes > then);
        let believed = self.believed.as_ref().is_some_and(|believed| believed.holds(seq, &trouble));
        if believed || (others && trouble.gravity == Gravity::Refused) {
            return self.dead_letter_entry(seq, trouble, now);
        }
        // A replay has an end, so perhaps no message follows that could show the cause.
        let is_alone =
            self.replay.is_some() && self.condition.failures == 0 && self.window.doubted() < policy::DOUBTS;
        if (others || is_alone) && tried + 1 >= policy::EVENT_TRIES {
            return self.set_aside(seq, trouble, now);
        }
        // No other message shows the cause, so a second refusal, after a wait, decides.
        let is_refused_again = was_refused && trouble.gravity == Gravity::Refused;
        if is_refused_again && self.condition.failures == 0 && self.window.doubted() < policy::DOUBTS {
            return self.dead_letter_entry(seq, trouble, now);
        }
        let jitter = self.jitter(seq, tried + 1);
        let wait = match (trouble.gravity, trouble.about) {
            (Gravity::Refused, _) | (_, About::Repetition) => {
                policy::aside_wait_ms(self.settings(), tried + 1, jitter)
            }
            _ => policy::event_wait_ms(self.settings(), tried + 1, jitter),
        };
        if self.window.doubted() >= policy::WHOLE_ERRORS {
            trouble.error = trouble.error.chars().take(CUT_CHARS).collect();
        }
        // Successes of the same delivery count as later than this failure.
        let successes = self.condition.successes - u64::from(beside);
        self.window.failed(seq, successes, now.plus_ms(wait), Some(trouble));
    }

    /// Turns an event of the window into a dead letter.
    pub(super) fn dead_letter_entry(&mut self, seq: u64, trouble: Trouble, now: Timestamp) {
        let Some(entry) = self.window.get(seq) else { return };
        let attempts = entry.attempts + 1;
        // If the body is no longer in memory, the event is tried again, which reads the body.
        let Some(event) = entry.event.clone() else { return self.window.put_back(seq, now) };
        self.window.remove(seq);
        self.dead_letter(event, Cause::Refused, attempts, trouble, History::default(), now);
    }

    /// Counts an event as delivered, because the destination says that it has the event, and an earlier attempt had no
    /// answer.
    pub(super) fn counted_as_delivered(&mut self, seq: u64, now: Timestamp) {
        tracing::info!(
            lane = %self.name(),
            seq,
            "event counted as delivered: the destination reports repeatedly that it has it"
        );
        self.publisher.delivered(1, now);
    }

    /// Marks the destination unwell if [`policy::DOUBTS`] messages are in doubt, with no success in between.
    pub(super) fn doubt_destination(&mut self, now: Timestamp) {
        if self.condition.failures > 0 {
            // The destination did not answer before and now does, so search for a message that it accepts.
            if self.condition.probing && !self.searches() {
                self.condition.probing = false;
                self.condition.about = About::Event;
                self.condition.misconfigured = false;
                self.condition.searches = 0;
                self.condition.wait_until = now;
            }
            return;
        }
        if self.window.doubted() < policy::DOUBTS {
            return;
        }
        let last = self.doubts().nth(policy::DOUBTS - 1);
        let Some(trouble) = last.map(|(.., trouble)| trouble.clone()) else { return };
        self.escalate(&trouble);
        self.condition.about = About::Event;
        self.condition.misconfigured = false;
        self.condition.searches = 1;
        self.wait_for_search(now);
        tracing::warn!(
            lane = %self.name(),
            destination = &*self.context.spec.destination,
            failure = %trouble.class,
            next_try = %self.condition.wait_until,
            "destination accepts no message; the lane waits, searches the backlog and skips no event"
        );
    }

    /// Ends a search in which no message was accepted.
    pub(super) fn search_failed(&mut self, now: Timestamp) {
        self.condition.probing = false;
        self.condition.searches += 1;
        self.wait_for_search(now);
    }

    fn wait_for_search(&mut self, now: Timestamp) {
        self.condition.failures += 1;
        self.condition.search.clear();
        let failures = self.condition.failures;
        let wait = policy::search_wait_ms(self.settings(), failures, self.jitter(0, failures));
        self.condition.wait_until = now.plus_ms(wait);
    }

    /// The events in doubt, by seq. Leaves out an event if the lane has delivered another one since its doubt began.
    pub(super) fn doubts(&self) -> impl Iterator<Item = (u64, &WindowEntry, &Trouble)> {
        self.window.doubts(self.condition.successes)
    }

    /// Returns whether the first event in doubt was refused, or failed in another way that time alone does not resolve.
    pub(super) fn is_refused(&self) -> bool {
        self.doubts().next().is_some_and(|(.., trouble)| trouble.gravity != Gravity::Unwell)
    }

    /// Handles the events in doubt after another message has succeeded.
    pub(super) fn judge_doubts(&mut self, searched: bool, now: Timestamp) {
        if self.window.doubted() == 0 {
            return;
        }
        if searched {
            // The search does not show why these events failed, so try each again without blocking the lane.
            for (seq, trouble) in self.window.waiting_doubts() {
                self.uncount_try(seq);
                self.set_aside(seq, trouble, now);
            }
        }
        // Events that remain in doubt are tried again soon. A repeated refusal makes a dead letter.
        let soon = now.plus_ms(policy::event_wait_ms(self.settings(), 1, 0.0));
        self.window.hurry(soon);
    }

    /// Subtracts the last try of an event in doubt, because the caller then calls a function that counts this try
    /// again.
    fn uncount_try(&mut self, seq: u64) {
        if let Some(entry) = self.window.get_mut(seq) {
            entry.attempts = entry.attempts.saturating_sub(1);
        }
    }

    /// Makes dead letters of the events in doubt whose failure is believed to be final. Each body stays in memory until
    /// its dead letter is durable, so a call stops after [`WINDOW_BYTES`] or [`BELIEVED_EVENTS`]. A later call
    /// continues once those dead letters are durable. Returns whether it made any, or continued a stopped call.
    pub(super) async fn dead_letter_believed(&mut self, now: Timestamp) -> Result<bool, journal::Error> {
        let continues = self.believed.as_ref().is_some_and(|believed| believed.continues);
        if continues && !self.believed_are_durable().await? {
            return Ok(false);
        }
        let Some(believed) = &mut self.believed else { return Ok(false) };
        believed.continues = false;
        let doubts = self.window.waiting_doubts();
        let due: Vec<_> = doubts.into_iter().filter(|(seq, trouble)| believed.holds(*seq, trouble)).collect();
        let (mut events, mut bytes) = (0, 0);
        for (seq, trouble) in due {
            if bytes >= WINDOW_BYTES || events >= BELIEVED_EVENTS {
                if let Some(believed) = &mut self.believed {
                    believed.continues = true;
                }
                return Ok(true);
            }
            if let Some((event, _)) = self.body(seq, now).await {
                events += 1;
                bytes += event.element.raw().len();
                self.uncount_try(seq);
                self.dead_letter_entry(seq, trouble, now);
            }
        }
        if events == 0 && !continues {
            return Ok(false);
        }
        if self.searches() {
            self.condition.failures = 0;
            self.condition.probing = false;
            self.condition.search.clear();
        }
        Ok(true)
    }

    /// Makes the dead letters of the last turn durable. Returns `false` if that fails, for example on a full disk: then
    /// a later turn tries again.
    async fn believed_are_durable(&mut self) -> Result<bool, journal::Error> {
        self.settle().await?;
        let flushed = self.context.journal.flush().await;
        if let Err(error) = &flushed {
            tracing::warn!(
                lane = %self.name(),
                error = error.class(),
                "dead letters of believed refusals could not be stored yet; the lane tries again"
            );
        }
        Ok(flushed.is_ok())
    }

    pub(super) fn believe(&mut self, upto: u64, class: String) {
        tracing::warn!(lane = %self.name(), upto, failure = %class, "refusals believed by an operator");
        self.believed = Some(BelievedRefusals { upto, class, continues: false });
    }

    /// Pauses the handler if the destination says that it is gone and no untried message is left. Returns whether it
    /// paused.
    pub(super) fn gone_for_all(&mut self) -> bool {
        if self.window.doubted() == 0 || !self.in_flight.is_empty() || self.window.untried() > 0 {
            return false;
        }
        let gone = self.doubts().find(|(.., trouble)| trouble.gravity == Gravity::Gone);
        let Some(trouble) = gone.map(|(.., trouble)| trouble.clone()) else { return false };
        self.escalate(&trouble);
        true
    }
}
