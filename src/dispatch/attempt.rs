//! One delivery, as a task: a batch that is refused is halved until the bad event is alone; a probe goes one by one.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use prometheus_client::metrics::histogram::Histogram;
use tokio::{sync::Semaphore, time::Instant};
use tracing::{Instrument, Span};

use super::{
    pace::Pace,
    policy::{Mode, PROBE_EVENTS, REFUSALS_BELIEVED},
    status::lane_name,
};
use crate::{
    event::OrderKey,
    handler::{Delivery, Failure, Handler, Mask},
    journal::LaneId,
    trace::{self, Load},
};

/// How one event's delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it.
    Delivered,
    /// The destination will never take it, and is believed.
    Refused(String),
    /// The destination did not take it now.
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
    /// Who can help.
    pub gravity: Gravity,
}

impl Trouble {
    fn of(failure: Failure) -> Self {
        let (class, error, after, gravity) = match failure {
            Failure::Retry { class, error, after } => (class, error, after, Gravity::Unwell),
            Failure::Gone { class, error } => (class, error, None, Gravity::Gone),
            Failure::Misconfigured { class, error } | Failure::Refuse { class, error } => {
                (class, error, None, Gravity::Misconfigured)
            }
        };
        Self { class, error, after, gravity }
    }
}

/// Who can help where a destination does not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// Time, most likely.
    Unwell,
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
    /// Refusals in a row without a success.
    pub refusals: Arc<AtomicU32>,
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

    /// The whole batch; where it is refused, its halves, left before right, until the refused event is alone.
    async fn halving(&self, events: &[Delivery]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(events.len());
        let mut parts = vec![events];
        while let Some(part) = parts.pop() {
            match self.deliver(part).await {
                Outcome::Refused(_) if part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.push(right);
                    parts.push(left);
                }
                Outcome::Failed(trouble) => {
                    outcomes.extend(part.iter().map(|_| Outcome::Failed(trouble.clone())));
                    break;
                }
                outcome => outcomes.extend(part.iter().map(|_| outcome.clone())),
            }
        }
        outcomes.resize(events.len(), Outcome::Untried);
        outcomes
    }

    /// Each event by itself: is it the destination, or one of these? Gives up after some failures without a success;
    /// never tries a later event of a message whose earlier one failed.
    async fn one_by_one(&self, events: &[Delivery]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(events.len());
        let mut failed_messages: HashSet<OrderKey> = HashSet::new();
        let (mut failures, mut successes) = (0, 0);
        for event in events {
            let key = event.event.order_key();
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
                Err(Failure::retry("panic", "the handler panicked; the log says where"))
            }
            Err(_elapsed) => {
                Err(Failure::retry("timeout", format!("no answer within {} s", self.timeout.as_secs_f64())))
            }
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
            Ok(()) => {
                self.refusals.store(0, Relaxed);
                Outcome::Delivered
            }
            Err(Failure::Retry { class, error, after }) => {
                Outcome::Failed(Trouble { class, error, after, gravity: Gravity::Unwell })
            }
            Err(Failure::Misconfigured { class, error }) => {
                Outcome::Failed(Trouble { class, error, after: None, gravity: Gravity::Misconfigured })
            }
            Err(Failure::Gone { class, error }) => {
                Outcome::Failed(Trouble { class, error, after: None, gravity: Gravity::Gone })
            }
            Err(Failure::Refuse { class, error }) => self.believe(events.len(), class, error),
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

    /// A destination that refuses everything is set up wrongly: that must not turn a backlog into dead letters.
    fn believe(&self, events: usize, class: String, error: String) -> Outcome {
        if events > 1 {
            return Outcome::Refused(error);
        }
        let in_a_row = self.refusals.fetch_add(1, Relaxed) + 1;
        if in_a_row <= REFUSALS_BELIEVED {
            return Outcome::Refused(error);
        }
        Outcome::Failed(Trouble {
            class: format!("refuses everything ({class})"),
            error,
            after: None,
            gravity: Gravity::Misconfigured,
        })
    }
}
