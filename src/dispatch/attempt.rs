//! One delivery, as a task: a batch that is refused is halved until the bad event is alone; a probe goes one by one.

use std::{collections::HashSet, ops::Range, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use prometheus_client::metrics::histogram::Histogram;
use tokio::{sync::Semaphore, time::Instant};
use tracing::{Instrument, Span};

use super::{
    pace::Pace,
    policy::{DOUBTS, Mode, PROBE_EVENTS},
    status::lane_name,
};
use crate::{
    event::OrderKey,
    handler::{About, Delivery, Failure, Handler, Mask},
    journal::LaneId,
    trace::{self, Load},
};

/// How one event's delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it.
    Delivered,
    /// It cannot be delivered, whatever the destination would say.
    Refused(String),
    /// The destination did not take it.
    Failed(Trouble),
    /// It was not its turn: something before it failed.
    Untried,
}

/// Why a destination did not take something now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Safe for logs.
    pub class: String,
    /// The whole story; may quote the payload.
    pub error: String,
    /// How long the destination asked to be left alone.
    pub after: Option<Duration>,
    /// Whether the event or the destination is in question.
    pub about: About,
    /// Who can help.
    pub gravity: Gravity,
}

impl Trouble {
    /// Whether the destination answered, and may take other events.
    pub const fn is_about_event(&self) -> bool {
        matches!(self.about, About::Event | About::Repetition)
    }

    /// A failure that is not a success, as dispatch sees it.
    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Retry { class, error, after, about } => {
                Self { class, error, after, about, gravity: Gravity::Unwell }
            }
            Failure::Refuse { class, error } => {
                Self { class, error, after: None, about: About::Event, gravity: Gravity::Refused }
            }
            Failure::Misconfigured { class, error, about } => {
                Self { class, error, after: None, about, gravity: Gravity::Misconfigured }
            }
            // One resource that is gone is not the whole destination.
            Failure::Gone { class, error } => {
                Self { class, error, after: None, about: About::Event, gravity: Gravity::Gone }
            }
        }
    }
}

/// Who can help where a destination does not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// Time, most likely.
    Unwell,
    /// Nobody, where others are taken: the destination will never take this event. A person, where none is.
    Refused,
    /// A person: it is not as the settings say.
    Misconfigured,
    /// Nobody: it is gone for good. The handler pauses.
    Gone,
}

/// What deliveries of one lane share.
#[derive(Clone)]
pub struct Attempt {
    /// The destination.
    pub handler: Arc<dyn Handler>,
    /// What the destination is not to see.
    pub mask: Arc<Mask>,
    /// Places of the whole handler, shared by its lanes.
    pub slots: Arc<Semaphore>,
    /// Which lane it is.
    pub lane: LaneId,
    /// How fast it may deliver.
    pub paces: Vec<Arc<Pace>>,
    /// Longer counts as failed.
    pub timeout: Duration,
    /// How long deliveries take.
    pub seconds: Histogram,
}

impl Attempt {
    /// Delivers events, in order; one outcome for each.
    pub async fn run(self, events: Vec<Delivery>, mode: Mode) -> Vec<Outcome> {
        // Before the place is taken: what waits for its time keeps nobody from a place.
        for pace in &self.paces {
            pace.wait(self.lane.class, events.len()).await;
        }
        // Closed never: the semaphore lives as long as this clone of it.
        let _slot = self.slots.acquire().await;
        match mode {
            Mode::Batch => self.halving(&events).await,
            Mode::OneByOne => self.one_by_one(&events).await,
        }
    }

    /// Opens the handler where it is not open, and looks at its destination; in the time that the handler has for it.
    pub async fn look(self) -> Vec<Outcome> {
        let looked = self.handler.look().await;
        vec![looked.map_or_else(|failure| Outcome::Failed(Trouble::of(failure)), |()| Outcome::Delivered)]
    }

    /// The whole batch; where the answer is about one of its events, its halves, left before right, until that is alone.
    /// Later events of its message are left out. Gives up where many fail one after the other.
    async fn halving(&self, events: &[Delivery]) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Untried; events.len()];
        let mut failed_messages: HashSet<OrderKey> = HashSet::new();
        let mut failures = 0;
        let all = 0..events.len();
        let mut parts: Vec<Range<usize>> = Vec::from([all]);
        while let Some(part) = parts.pop() {
            let blocked =
                |at: &usize| events[*at].order_key().is_some_and(|key| failed_messages.contains(&key));
            let tried: Vec<usize> = part.filter(|at| !blocked(at)).collect();
            let (Some(first), Some(last)) = (tried.first(), tried.last()) else { continue };
            let whole = *first..last + 1;
            let outcome = if tried.len() == whole.len() {
                self.deliver(&events[whole.clone()]).await
            } else {
                let some: Vec<Delivery> = tried.iter().map(|at| events[*at].clone()).collect();
                self.deliver(&some).await
            };
            let is_of_one = match &outcome {
                Outcome::Refused(_) => true,
                Outcome::Failed(trouble) => trouble.is_about_event(),
                Outcome::Delivered | Outcome::Untried => false,
            };
            if is_of_one && tried.len() > 1 {
                let middle = tried[tried.len() / 2];
                parts.push(middle..whole.end);
                parts.push(whole.start..middle);
                continue;
            }
            let is_of_destination = matches!(outcome, Outcome::Failed(_)) && !is_of_one;
            match outcome {
                Outcome::Delivered => failures = 0,
                Outcome::Failed(_) if is_of_one => {
                    failures += 1;
                    failed_messages.extend(events[*first].order_key());
                }
                _ => {}
            }
            for at in tried {
                outcomes[at] = outcome.clone();
            }
            if is_of_destination || failures >= DOUBTS {
                break;
            }
        }
        outcomes
    }

    /// Each event by itself: is it the destination, or one of these? Gives up after some failures without a success;
    /// never tries a later event of a message whose earlier one failed.
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
                _ => {
                    failures += 1;
                    if matches!(outcome, Outcome::Failed(_)) {
                        failed_messages.extend(key);
                    }
                }
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn deliver(&self, events: &[Delivery]) -> Outcome {
        if self.mask.is_empty() {
            return self.hand_over(events).await;
        }
        // An event that its mask leaves no event is delivered to nobody.
        let masked: Result<Vec<Delivery>, _> = events.iter().map(|event| event.masked(&self.mask)).collect();
        match masked {
            Ok(masked) => self.hand_over(&masked).await,
            Err(error) => Outcome::Refused(format!("masked, it is no event: {}", error.detail)),
        }
    }

    async fn hand_over(&self, events: &[Delivery]) -> Outcome {
        let began = Instant::now();
        let span = self.span(events);
        let deliver = AssertUnwindSafe(async { self.handler.deliver(events).await }).catch_unwind();
        let ended = tokio::time::timeout(self.timeout, deliver).instrument(span.clone()).await;
        let done = match ended {
            Ok(Ok(done)) => done,
            // Caught here, it is this delivery's and not that of others of the batch.
            Ok(Err(_may_quote_the_payload)) => {
                let story = "the handler panicked; the log says where";
                Err(Failure::retry_about(About::Unanswered, "panic", story))
            }
            Err(_elapsed) => Err(Failure::retry_about(
                About::Unanswered,
                "timeout",
                format!("no answer within {} s", self.timeout.as_secs_f64()),
            )),
        };
        self.seconds.observe(began.elapsed().as_secs_f64());
        let (outcome, class) = match &done {
            Ok(()) => ("delivered", None),
            Err(Failure::Refuse { class, .. }) => ("refuse", Some(&**class)),
            Err(
                Failure::Retry { class, .. }
                | Failure::Misconfigured { class, .. }
                | Failure::Gone { class, .. },
            ) => ("retry", Some(&**class)),
        };
        trace::delivered(&span, outcome, class);
        match done {
            Ok(()) => Outcome::Delivered,
            Err(failure) => Outcome::Failed(Trouble::of(failure)),
        }
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
