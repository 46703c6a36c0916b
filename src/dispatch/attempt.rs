//! One delivery, as a task. A batch that fails because of an event is halved until that event is alone; a probe tries
//! events one by one. An accepted event counts as delivered, even if its batch fails.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{
    HandlerContext, HandlerSpec, RateLimit,
    policy::{DOUBTS, Mode, PROBE_EVENTS},
    status::lane_name,
};
use crate::{
    event::OrderKey,
    handler::{About, Delivery, Failure},
    journal::LaneId,
    trace::{self, Load},
};

/// The result of the delivery of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The destination has the event.
    Delivered,
    /// The event cannot be delivered, whatever the destination would answer.
    Refused(Trouble),
    /// The destination did not accept the event.
    Failed(Trouble),
    /// The event was not tried, because the delivery ended before its turn, or an earlier event of its message failed.
    Untried,
}

impl Outcome {
    fn of(done: Result<(), Failure>) -> Self {
        done.map_or_else(|failure| Self::Failed(Trouble::of(failure)), |()| Self::Delivered)
    }
}

/// A failure of a destination or an event, as dispatch handles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The class of the failure, such as `status 422`; safe for logs.
    pub class: String,
    /// The whole error text, as it is stored; may quote the payload.
    pub error: String,
    /// How long the destination asked to wait before the next delivery.
    pub after: Option<Duration>,
    /// Whether the failure is about the event or about the destination.
    pub about: About,
    /// How serious the failure is.
    pub gravity: Gravity,
}

impl Trouble {
    /// Returns whether the failure is about the event. Then the destination answered, and may accept other events.
    pub(super) const fn is_about_event(&self) -> bool {
        matches!(self.about, About::Event | About::Repetition)
    }

    /// Converts a handler's [`Failure`].
    pub(super) fn of(failure: Failure) -> Self {
        let (class, error, after, about, gravity) = match failure {
            Failure::Retry { class, error, after, about } => (class, error, after, about, Gravity::Unwell),
            Failure::Refuse { class, error } => (class, error, None, About::Event, Gravity::Refused),
            Failure::Misconfigured { class, error, about } => {
                (class, error, None, about, Gravity::Misconfigured)
            }
            // Perhaps the destination is not gone as a whole, but lacks something for the events of this delivery. So
            // other messages are tried before the handler pauses.
            Failure::Gone { class, error } => (class, error, None, About::Event, Gravity::Gone),
        };
        Self { class, error: error.whole(), after, about, gravity }
    }
}

/// How serious a failure is, and whether a retry helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gravity {
    /// The destination most likely recovers by itself, so a retry helps.
    Unwell,
    /// The destination refuses this event, so a retry does not help. If it refuses all other events too, the
    /// destination or the handler's settings must be corrected.
    Refused,
    /// The destination does not match the handler's settings, so a retry does not help until one of them is changed.
    Misconfigured,
    /// The destination says that it is permanently gone. Once no other message is left to try, the handler pauses until
    /// an operator resumes it.
    Gone,
}

/// Resources shared by the deliveries of one lane.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) context: Arc<HandlerContext>,
    /// The lane that delivers, for traces and rate limits.
    pub(super) lane: LaneId,
    /// The rate limit of the lane's replay, in addition to the handler's.
    pub(super) replay_limit: Option<Arc<RateLimit>>,
}

impl Attempt {
    /// Delivers events in order; returns one outcome per event.
    pub(super) async fn run(self, events: Vec<Delivery>, mode: Mode) -> Vec<Outcome> {
        // Wait for the rate before taking a slot, so that a waiting delivery blocks no other.
        for limit in self.context.rate_limit.iter().chain(self.replay_limit.as_deref()) {
            limit.wait(self.lane.class, events.len()).await;
        }
        // Never an error: `self` keeps the semaphore alive, and nobody closes it.
        let _slot = self.context.slots.acquire().await;
        match mode {
            Mode::Batch => self.halving(&events).await,
            Mode::OneByOne => self.one_by_one(&events).await,
        }
    }

    /// Opens the handler if it is not open, and checks its destination. No time limit is set here, because `Deferred`
    /// limits both.
    pub(super) async fn open(self) -> Vec<Outcome> {
        vec![Outcome::of(self.context.spec.handler.look().await)]
    }

    /// Delivers the whole batch. If it fails because of an event, delivers parts of the batch next: see [`Halves`].
    async fn halving(&self, events: &[Delivery]) -> Vec<Outcome> {
        let outcome = self.deliver(events).await;
        if outcome == Outcome::Delivered {
            return vec![outcome; events.len()];
        }
        let mut halves = Halves::of(events);
        halves.ended((0..events.len()).collect(), outcome);
        while let Some(tried) = halves.next() {
            let some: Vec<Delivery> = tried.iter().map(|at| events[*at].clone()).collect();
            let outcome = self.deliver(&some).await;
            halves.ended(tried, outcome);
        }
        halves.outcomes
    }

    /// Delivers each event alone, to find out whether the destination or one of the events fails. Stops after
    /// [`PROBE_EVENTS`] failures without a success. Never tries a later event of a failed message.
    async fn one_by_one(&self, events: &[Delivery]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(events.len());
        let mut failed_messages: HashSet<OrderKey> = HashSet::new();
        let (mut failures, mut successes) = (0, 0);
        for event in events {
            let key = event.order_key();
            let given_up = successes == 0 && failures >= PROBE_EVENTS;
            if given_up || key.is_some_and(|key| failed_messages.contains(&key)) {
                outcomes.push(Outcome::Untried);
                continue;
            }
            let outcome = self.deliver(std::slice::from_ref(event)).await;
            match outcome {
                Outcome::Delivered => successes += 1,
                Outcome::Failed(_) => {
                    failures += 1;
                    failed_messages.extend(key);
                }
                Outcome::Refused(_) | Outcome::Untried => failures += 1,
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn deliver(&self, events: &[Delivery]) -> Outcome {
        events.iter().for_each(Delivery::mark_unsent);
        let outcome = self.deliver_masked(events).await;
        let is_accepted = !events.is_empty() && events.iter().all(Delivery::is_accepted);
        if is_accepted { Outcome::Delivered } else { outcome }
    }

    async fn deliver_masked(&self, events: &[Delivery]) -> Outcome {
        let mask = &self.context.spec.mask;
        if mask.is_empty() {
            return self.hand_over(events).await;
        }
        // If masking makes one event invalid, the whole delivery counts as refused. `Halves` then finds that event.
        let masked: Result<Vec<Delivery>, _> = events.iter().map(|event| event.masked(mask)).collect();
        match masked {
            Ok(masked) => self.hand_over(&masked).await,
            Err(error) => {
                let text = format!("not a valid event after masking: {}", error.detail);
                Outcome::Refused(Trouble::of(Failure::refuse("mask", text)))
            }
        }
    }

    async fn hand_over(&self, events: &[Delivery]) -> Outcome {
        let began = Instant::now();
        let span = self.span(events);
        let HandlerSpec { handler, settings, .. } = &self.context.spec;
        let deliver = AssertUnwindSafe(async { handler.deliver(events).await }).catch_unwind();
        let ended = tokio::time::timeout(*settings.timeout, deliver).instrument(span.clone()).await;
        let done = match ended {
            Ok(Ok(done)) => done,
            // The panic is caught here, so that the results of the batch's earlier deliveries are not lost.
            Ok(Err(_may_quote_the_payload)) => {
                let story = "the handler panicked; the log has the location";
                Err(Failure::retry_about(About::Unanswered, "panic", story))
            }
            Err(_elapsed) => {
                let story = format!("no answer within {} s", settings.timeout.as_secs_f64());
                Err(Failure::retry_about(About::Unanswered, "timeout", story))
            }
        };
        self.context.seconds.observe(began.elapsed().as_secs_f64());
        let outcome = Outcome::of(done);
        let (name, class) = match &outcome {
            Outcome::Failed(trouble) if trouble.gravity == Gravity::Refused => {
                ("refuse", Some(&*trouble.class))
            }
            Outcome::Failed(trouble) => ("retry", Some(&*trouble.class)),
            Outcome::Delivered | Outcome::Refused(_) | Outcome::Untried => ("delivered", None),
        };
        trace::delivered(&span, name, class);
        outcome
    }

    fn span(&self, events: &[Delivery]) -> Span {
        let load = Load {
            seq: events.first().map_or(0, |delivery| delivery.event.seq),
            last_seq: events.last().map_or(0, |delivery| delivery.event.seq),
            events: events.len(),
            attempt: events.iter().map(|delivery| delivery.attempt).max().unwrap_or(0),
        };
        trace::deliver(&self.lane.handler, lane_name(&self.lane), load)
    }
}

/// Divides a batch into parts to deliver, after the batch failed because of an event. The events that may be the cause
/// come first. They are halved, left before right, until one event is alone. The unsent events come last. Later events
/// of a failed message are left out. There are no more parts once the destination fails, or after [`DOUBTS`] failures
/// of single events with no event accepted in between.
struct Halves<'a> {
    events: &'a [Delivery],
    outcomes: Vec<Outcome>,
    /// The parts still to be delivered, each as indexes in order. A stack: the last part is delivered next.
    parts: Vec<Vec<usize>>,
    failed_messages: HashSet<OrderKey>,
    /// Failures of single events since an event was accepted.
    failures: usize,
}

impl<'a> Halves<'a> {
    fn of(events: &'a [Delivery]) -> Self {
        Self {
            events,
            outcomes: vec![Outcome::Untried; events.len()],
            parts: Vec::new(),
            failed_messages: HashSet::new(),
            failures: 0,
        }
    }

    /// The next part to be delivered; it has at least one event.
    fn next(&mut self) -> Option<Vec<usize>> {
        while let Some(mut part) = self.parts.pop() {
            part.retain(|at| {
                self.events[*at].order_key().is_none_or(|key| !self.failed_messages.contains(&key))
            });
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }

    /// Takes the result of the delivery of a part.
    fn ended(&mut self, tried: Vec<usize>, outcome: Outcome) {
        let Partition { accepted, mut failed, unsent } = Partition::of(tried, &outcome, self.events);
        if !accepted.is_empty() {
            self.failures = 0;
        }
        for at in accepted {
            self.outcomes[at] = Outcome::Delivered;
        }
        let (is_of_event, is_failure) = match &outcome {
            Outcome::Refused(_) => (true, false),
            Outcome::Failed(trouble) => (trouble.is_about_event(), true),
            Outcome::Delivered | Outcome::Untried => (false, false),
        };
        if is_of_event {
            self.parts.push(unsent);
            if failed.len() > 1 {
                let right = failed.split_off(failed.len() / 2);
                self.parts.push(right);
                self.parts.push(failed);
                return;
            }
        }
        if is_of_event && is_failure {
            self.failures += 1;
            self.failed_messages.extend(failed.first().and_then(|at| self.events[*at].order_key()));
        }
        for at in failed {
            self.outcomes[at] = outcome.clone();
        }
        if (is_failure && !is_of_event) || self.failures >= DOUBTS {
            self.parts.clear();
        }
    }
}

/// Divides the events of one delivery by their results. Each event is given by its index.
struct Partition {
    /// The destination has these.
    accepted: Vec<usize>,
    /// The failure of the delivery is about these.
    failed: Vec<usize>,
    /// These were not sent, because the delivery failed before their turn.
    unsent: Vec<usize>,
}

impl Partition {
    fn of(tried: Vec<usize>, outcome: &Outcome, events: &[Delivery]) -> Self {
        let is_delivered = *outcome == Outcome::Delivered;
        let (accepted, left): (Vec<usize>, Vec<usize>) =
            tried.into_iter().partition(|at| is_delivered || events[*at].is_accepted());
        // No event is marked as sent if the handler's kind does not mark single events, or if the delivery failed
        // before an event was sent. Then all events in `left` count as failed.
        let is_marked = left.iter().any(|at| events[*at].is_sent());
        let (failed, unsent) = left.into_iter().partition(|at| !is_marked || events[*at].is_sent());
        Self { accepted, failed, unsent }
    }
}
