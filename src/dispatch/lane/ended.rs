//! Takes over the results of deliveries: each event is done, is tried again or set aside, or becomes a dead letter.

use std::sync::Arc;

use tokio::task::JoinError;

use super::{
    super::{
        attempt::{Gravity, Outcome, Trouble},
        policy::{self, Mode},
    },
    InFlight, Lane,
    aside::requested_wait_ms,
};
use crate::{
    clock::Timestamp,
    event::Event,
    handler::{About, Failure},
    journal::{Cause, History, NewDead},
    panics,
};

impl Lane {
    /// Takes over the results of all deliveries that have ended. Returns whether there were any.
    pub(super) fn handle_ended(&mut self, now: Timestamp) -> bool {
        while let Some(joined) = self.deliveries.try_join_next_with_id() {
            self.joined.push(joined);
        }
        let any = !self.joined.is_empty();
        for joined in std::mem::take(&mut self.joined) {
            let (id, outcomes) = match joined {
                Ok((id, outcomes)) => (id, Ok(outcomes)),
                Err(error) => (error.id(), Err(panicked(&error))),
            };
            let Some(in_flight) = self.in_flight.remove(&id) else { continue };
            self.count_in_flight(false);
            match in_flight {
                InFlight::Events { seqs, mode, since } => {
                    // After a panic, no event has a result of its own, so all are handled as a batch.
                    let mode = if outcomes.is_err() { Mode::Batch } else { mode };
                    let outcomes =
                        outcomes.unwrap_or_else(|trouble| vec![Outcome::Failed(trouble); seqs.len()]);
                    let delivered = outcomes.iter().all(|outcome| *outcome == Outcome::Delivered);
                    self.condition.quick =
                        policy::quick(self.condition.quick, delivered, now.ms_since(since));
                    self.events_ended(&seqs, outcomes, mode, now);
                }
                InFlight::Aside(event) => {
                    self.exception_ended = true;
                    self.aside_ended(&event, single(outcomes), now);
                }
                InFlight::DeadRetry(dead) => {
                    self.exception_ended = true;
                    self.dead_retry_ended(dead, single(outcomes), now);
                }
                InFlight::Opening => self.opening_ended(single(outcomes), now),
            }
        }
        any
    }

    /// Handles the outcomes of a batch or a probe.
    fn events_ended(&mut self, seqs: &[u64], outcomes: Vec<Outcome>, mode: Mode, now: Timestamp) {
        // In a batch, an event is the cause of its failure only if a later event was accepted. If only earlier events
        // were accepted, the destination may have become unwell in between.
        let last_accepted = outcomes.iter().rposition(|outcome| *outcome == Outcome::Delivered);
        let mut of_events: Vec<(u64, Trouble, bool)> = Vec::new();
        let mut of_destination: Vec<(u64, Trouble)> = Vec::new();
        let mut delivered = 0;
        // An event was accepted after an event that failed with `Gravity::Misconfigured`, so the destination itself is
        // well.
        let mut accepted_after = false;
        for (at, (seq, outcome)) in seqs.iter().zip(outcomes).enumerate() {
            self.redelivered.unsettled +=
                u64::from(*seq <= self.redelivered.upto && outcome != Outcome::Untried);
            match outcome {
                Outcome::Delivered => {
                    self.window.remove(*seq);
                    delivered += 1;
                    let before = of_destination.last();
                    accepted_after |=
                        before.is_some_and(|(_, trouble)| trouble.gravity == Gravity::Misconfigured);
                }
                Outcome::Refused(trouble) => self.dead_letter_entry(*seq, trouble, now),
                Outcome::Failed(trouble) if trouble.is_about_event() => {
                    let beside = match mode {
                        Mode::Batch => last_accepted.is_some_and(|last| last > at),
                        Mode::OneByOne => last_accepted.is_some(),
                    };
                    of_events.push((*seq, trouble, beside));
                }
                Outcome::Failed(trouble) => of_destination.push((*seq, trouble)),
                Outcome::Untried => self.window.put_back(*seq, Timestamp::default()),
            }
        }
        let first = of_destination.first().map(|(_, trouble)| trouble);
        if let Some(trouble) = first.or_else(|| of_events.first().map(|(_, trouble, _)| trouble)) {
            self.publisher.failed(&trouble.class, now);
        }
        if delivered > 0 {
            self.publisher.delivered(delivered, now);
            self.succeeded(delivered, now);
        }
        if !of_events.is_empty() {
            for (seq, trouble, beside) in of_events {
                self.event_failed(seq, trouble, beside, now);
            }
            self.doubt_destination(now);
        }
        if !of_destination.is_empty() {
            let beside = match mode {
                Mode::Batch => accepted_after,
                Mode::OneByOne => delivered > 0,
            };
            self.destination_failed(of_destination, beside, mode, now);
        }
    }

    /// Handles failures that are reported as failures of the destination. `beside`: the destination accepted other
    /// events of the same delivery, so the failed events are the cause. In a batch, an accepted event counts only if it
    /// comes after an event that failed with [`Gravity::Misconfigured`]. If events were accepted only before the
    /// failures, the destination may have become unwell in between.
    fn destination_failed(
        &mut self,
        mut failed: Vec<(u64, Trouble)>,
        beside: bool,
        mode: Mode,
        now: Timestamp,
    ) {
        let after = failed.iter().filter_map(|(_, trouble)| trouble.after).max();
        let Some((_, trouble)) = failed.first() else { return };
        let trouble = Trouble { after, ..trouble.clone() };
        self.escalate(&trouble);
        for (seq, trouble) in &failed {
            if let Some(entry) = self.window.get_mut(*seq) {
                entry.unanswered |= trouble.about == About::Unanswered;
            }
        }
        failed.retain(|(seq, trouble)| {
            let bad = match mode {
                Mode::Batch => beside && self.was_tried(*seq, policy::EVENT_TRIES - 1),
                Mode::OneByOne => beside || self.fails_while_others_succeed(*seq),
            };
            if bad {
                self.set_aside(*seq, trouble.clone(), now);
            }
            !bad
        });
        if failed.is_empty() && after.is_none() {
            return;
        }
        let not_before = if beside && after.is_none() {
            now.plus_ms(self.probe_wait_ms(1))
        } else {
            self.unwell(&trouble, now)
        };
        for (seq, _) in failed {
            self.window.failed(seq, self.condition.successes, not_before, None);
        }
    }

    /// Returns whether this event has failed at least `times` before.
    fn was_tried(&self, seq: u64, times: u32) -> bool {
        self.window.get(seq).is_some_and(|entry| entry.attempts >= times)
    }

    /// Returns whether this event has failed at least [`policy::BATCH_TRIES`] times before, and a delivery has
    /// succeeded since its previous failure. Successes of other deliveries count, because this event may be the only
    /// one in its delivery.
    fn fails_while_others_succeed(&self, seq: u64) -> bool {
        self.window.get(seq).is_some_and(|entry| {
            entry.attempts >= policy::BATCH_TRIES
                && entry.failed_after.is_some_and(|then| self.condition.successes > then)
        })
    }

    /// Marks the destination unwell. Returns the time of the next probe. A delivery that was in flight at the first
    /// failure does not count as a further failure; otherwise one short outage with many deliveries in flight would
    /// cause a wait of minutes. Such a delivery changes the wait only if the destination requested a longer one.
    pub(super) fn unwell(&mut self, trouble: &Trouble, now: Timestamp) -> Timestamp {
        let known = self.condition.failures > 0 && !std::mem::take(&mut self.condition.probing);
        let requested = now.plus_ms(requested_wait_ms(trouble));
        if known {
            self.condition.wait_until = self.condition.wait_until.max(requested);
            return self.condition.wait_until;
        }
        self.condition.failures += 1;
        self.condition.about = About::Destination;
        self.condition.misconfigured = trouble.gravity == Gravity::Misconfigured;
        self.condition.search.clear();
        self.condition.wait_until = now.plus_ms(self.probe_wait_ms(self.condition.failures)).max(requested);
        if self.condition.failures == 1 || self.condition.failures.is_power_of_two() {
            tracing::warn!(
                lane = %self.name(),
                destination = &*self.context.spec.destination,
                failure = %trouble.class,
                failures = self.condition.failures,
                next_try = %self.condition.wait_until,
                "the destination is unwell; the lane waits and skips no event"
            );
        }
        self.condition.wait_until
    }

    /// Logs an ERROR if a retry does not help until the destination or the settings are corrected. If the destination
    /// is permanently gone, the handler pauses.
    pub(super) fn escalate(&mut self, trouble: &Trouble) {
        let first = self.condition.failures == 0;
        let what = match trouble.gravity {
            Gravity::Misconfigured if first => {
                "destination does not match the handler's settings; correct one of them"
            }
            Gravity::Refused if first => {
                "destination refuses every event; check the destination and the handler's settings"
            }
            Gravity::Gone if self.gone.is_none() => {
                self.gone = Some(format!("the destination is gone for good ({})", trouble.class));
                // After a resume, every event is tried immediately.
                self.window.forget_waits();
                "handler paused: its destination says that it is gone for good; resume the handler after the repair"
            }
            Gravity::Unwell | Gravity::Refused | Gravity::Misconfigured | Gravity::Gone => return,
        };
        tracing::error!(
            lane = %self.name(),
            destination = &*self.context.spec.destination,
            failure = %trouble.class,
            "{what}"
        );
    }

    pub(super) fn succeeded(&mut self, events: u64, now: Timestamp) {
        let searched = self.condition.failures > 0 && self.searches();
        if self.condition.failures > 0 {
            tracing::info!(lane = %self.name(), "destination recovered");
        }
        self.condition.failures = 0;
        self.condition.probing = false;
        self.condition.search.clear();
        self.condition.last_success = now;
        self.condition.successes += events;
        self.believed = None;
        self.judge_doubts(searched, now);
    }

    /// Turns an event into a dead letter. `history`: its earlier failed tries.
    pub(super) fn dead_letter(
        &mut self,
        event: Arc<Event>,
        cause: Cause,
        attempts: u32,
        trouble: Trouble,
        history: History,
        now: Timestamp,
    ) {
        tracing::warn!(lane = %self.name(), seq = event.seq, cause = cause.as_str(), "event became a dead letter");
        self.publisher.refused(&trouble.class, now);
        let history = history.and(attempts, now, &trouble.error);
        self.ends.dead.push(NewDead { event, cause, attempts, error: trouble.error, at: now, history });
    }
}

fn single(outcomes: Result<Vec<Outcome>, Trouble>) -> Outcome {
    match outcomes {
        Ok(outcomes) => outcomes.into_iter().next().unwrap_or(Outcome::Untried),
        Err(trouble) => Outcome::Failed(trouble),
    }
}

/// The failure of a delivery task that panicked outside the handler.
fn panicked(error: &JoinError) -> Trouble {
    let text = format!("the delivery task ended: {}", panics::why_ended(error));
    Trouble::of(Failure::retry_about(About::Unanswered, "panic", text))
}
