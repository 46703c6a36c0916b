//! What a lane shows of itself: figures for metrics, the API and the command line; no personal data.

use std::sync::Arc;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    clock::Timestamp,
    event::Class,
    journal::LaneId,
    metrics::{Labels, Metrics},
};

/// An error that is longer is cut where it is shown.
const ERROR_CHARS: usize = 500;

/// A lane's figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// The handler's name.
    pub handler: Arc<str>,
    /// The handler's kind.
    pub kind: &'static str,
    /// Where its events go, without secrets: told once for the handler.
    #[serde(skip)]
    pub destination: Arc<str>,
    /// Which of its lanes: `incoming` or `other`.
    pub lane: &'static str,
    /// Everything up to here is delivered, not wanted, set aside or dead.
    pub cursor: u64,
    /// Events between the cursor and the tip.
    pub lag: u64,
    /// When the oldest event that waits was received, or set aside; `None` while none waits.
    pub oldest_at: Option<Timestamp>,
    /// For how long that has waited, in seconds, when the status was asked for; 0 while none waits.
    pub lag_seconds: u64,
    /// Deliveries under way.
    pub in_flight: usize,
    /// Events set aside.
    pub set_aside: usize,
    /// Events that it is done with since the start: delivered, set aside or dead. Of a replay alone.
    #[serde(skip)]
    pub passed: u64,
    /// Events delivered since the start.
    pub delivered: u64,
    /// When the last of these was; `None` where none was.
    pub delivered_at: Option<Timestamp>,
    /// What it is doing.
    pub state: LaneCondition,
    /// Failed probes in a row.
    pub failures: u32,
    /// Since when its deliveries fail; `None` while the destination is well.
    pub unwell_since: Option<Timestamp>,
    /// When it tries again.
    pub next_try: Option<Timestamp>,
    /// What it waits for, in words; `None` while it waits for nothing.
    pub waits_for: Option<String>,
    /// The class of the failures that no success has followed, such as `status 422`: what an operator may believe.
    pub refused: Option<String>,
    /// The class of the last failure.
    pub last_failure: Option<String>,
    /// When that was.
    pub last_failure_at: Option<Timestamp>,
    /// Why the handler could not be opened; `None` once its destination has answered.
    pub open_error: Option<String>,
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneCondition {
    /// Delivering, or with nothing to deliver.
    Running,
    /// Waiting for a destination that is unwell.
    Waiting,
    /// Held back until somebody resumes the handler.
    Paused,
    /// As many events are set aside as may be: it goes on with others, and what fails now stays in its way.
    Full,
    /// The journal cannot be read at its cursor: a person must look.
    Stuck,
    /// It has ended.
    Stopped,
    /// The configuration does not name its handler any more.
    #[serde(rename = "not configured")]
    NotConfigured,
}

impl LaneStatus {
    /// The same, with how long its oldest event has waited by now.
    #[must_use]
    pub fn aged(self, now: Timestamp) -> Self {
        let waited_ms = self.oldest_at.map_or(0, |oldest| now.ms_since(oldest).max(0));
        Self { lag_seconds: waited_ms.unsigned_abs() / 1_000, ..self }
    }

    /// Of a lane that has not begun.
    pub fn new(handler: Arc<str>, kind: &'static str, class: Class) -> Self {
        Self {
            handler,
            kind,
            destination: Arc::default(),
            lane: class.as_str(),
            cursor: 0,
            lag: 0,
            oldest_at: None,
            lag_seconds: 0,
            in_flight: 0,
            set_aside: 0,
            passed: 0,
            delivered: 0,
            delivered_at: None,
            state: LaneCondition::Running,
            failures: 0,
            unwell_since: None,
            next_try: None,
            waits_for: None,
            refused: None,
            last_failure: None,
            last_failure_at: None,
            open_error: None,
        }
    }
}

/// Where a lane's figures go: its status, and the metrics.
pub struct Show {
    /// The status.
    pub status: watch::Sender<LaneStatus>,
    delivered: Counter,
    retries: Counter,
    refusals: Counter,
    lag: Gauge,
    set_aside: Gauge,
    waiting: Gauge,
    full: Gauge,
    paused: Gauge,
}

/// What changes from turn to turn.
pub struct Shown {
    /// Everything up to here is done with.
    pub cursor: u64,
    /// The journal's tip.
    pub tip: u64,
    /// Deliveries under way.
    pub in_flight: usize,
    /// When the oldest event that waits was received, or set aside.
    pub oldest_at: Option<Timestamp>,
    /// Events set aside.
    pub set_aside: usize,
    /// Events that it is done with, of a replay.
    pub passed: u64,
    /// What the lane is doing.
    pub state: LaneCondition,
    /// As many events are set aside as may be.
    pub full: bool,
    /// Failed probes in a row.
    pub failures: u32,
    /// When it tries again.
    pub next_try: Option<Timestamp>,
    /// What it waits for, in words.
    pub waits_for: Option<String>,
    /// The class of the failures that no success has followed.
    pub refused: Option<String>,
}

impl Show {
    /// For a lane of a handler of that kind, which starts at a cursor.
    pub fn new(
        lane: &LaneId,
        kind: &'static str,
        destination: &Arc<str>,
        metrics: &Metrics,
        cursor: u64,
    ) -> Self {
        let mut status = LaneStatus::new(Arc::clone(&lane.handler), kind, lane.class);
        status.cursor = cursor;
        status.destination = Arc::clone(destination);
        let labels = labels(lane);
        let failures = |outcome: &str| {
            let labels = [&*labels, &[("outcome", outcome.into())]].concat();
            metrics.failures.get_or_create_owned(&labels)
        };
        Self {
            status: watch::Sender::new(status),
            delivered: metrics.delivered.get_or_create_owned(&labels),
            retries: failures("retry"),
            refusals: failures("refuse"),
            lag: metrics.lag.get_or_create_owned(&labels),
            set_aside: metrics.set_aside.get_or_create_owned(&labels),
            waiting: metrics.waiting.get_or_create_owned(&labels),
            full: metrics.full.get_or_create_owned(&labels),
            paused: metrics.paused.get_or_create_owned(&labels),
        }
    }

    /// Events were delivered.
    pub fn delivered(&self, events: u64, now: Timestamp) {
        self.delivered.inc_by(events);
        self.status.send_modify(|status| {
            status.delivered += events;
            status.delivered_at = Some(now);
        });
    }

    /// A delivery failed, to be tried again; `class` is safe to show.
    pub fn failed(&self, class: &str, now: Timestamp) {
        self.retries.inc();
        self.last_failure(class, now);
    }

    /// A destination refused an event for good; `class` is safe to show.
    pub fn refused(&self, class: &str, now: Timestamp) {
        self.refusals.inc();
        self.last_failure(class, now);
    }

    /// The handler could not be opened, for this reason; `class` and `error` are safe to show.
    pub fn not_ready(&self, class: &str, error: &str, now: Timestamp) {
        self.last_failure(class, now);
        let error = error.chars().take(ERROR_CHARS).collect();
        self.status.send_modify(|status| status.open_error = Some(error));
    }

    fn last_failure(&self, class: &str, now: Timestamp) {
        self.status.send_modify(|status| {
            status.last_failure = Some(class.to_owned());
            status.last_failure_at = Some(now);
        });
    }

    /// The figures of a turn.
    pub fn publish(&self, shown: Shown) {
        let lag = shown.tip.saturating_sub(shown.cursor);
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.set_aside.set(i64::try_from(shown.set_aside).unwrap_or(i64::MAX));
        let waits =
            !matches!(shown.state, LaneCondition::Running | LaneCondition::Paused | LaneCondition::Full);
        self.waiting.set(i64::from(waits));
        self.full.set(i64::from(shown.full));
        self.paused.set(i64::from(shown.state == LaneCondition::Paused));
        self.status.send_modify(|status| {
            status.cursor = shown.cursor;
            status.lag = lag;
            status.oldest_at = shown.oldest_at;
            status.in_flight = shown.in_flight;
            status.set_aside = shown.set_aside;
            status.passed = shown.passed;
            status.state = shown.state;
            status.failures = shown.failures;
            status.unwell_since = match shown.failures {
                0 => None,
                // The first turn that tells of failures follows the first of them.
                _ => status.unwell_since.or(status.last_failure_at),
            };
            if shown.failures == 0 {
                status.open_error = None;
            }
            status.next_try = shown.next_try;
            status.waits_for = shown.waits_for;
            status.refused = shown.refused;
        });
    }
}

fn labels(lane: &LaneId) -> Labels {
    vec![("handler", Arc::clone(&lane.handler)), ("lane", lane_name(lane).into())]
}

/// What a lane is called where it is measured: replays of one handler are the same there.
pub fn lane_name(lane: &LaneId) -> &'static str {
    match (lane.replay, lane.class) {
        (None, class) => class.as_str(),
        (Some(_), Class::Incoming) => "replay-incoming",
        (Some(_), Class::Other) => "replay-other",
    }
}
