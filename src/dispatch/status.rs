//! The status and metrics that a lane publishes. They hold no personal data.

use std::sync::{Arc, PoisonError};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::HandlerContext;
use crate::{
    clock::Timestamp,
    event::Class,
    journal::LaneId,
    metrics::{Labels, Metrics},
};

/// A longer error is cut to this length, in characters.
const ERROR_CHARS: usize = 500;

/// The status of a lane of a handler.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Lane")]
pub struct LaneStatus {
    pub handler: Arc<str>,
    pub kind: &'static str,
    /// Where events go, without secrets.
    #[serde(skip)]
    pub destination: Arc<str>,
    #[schemars(with = "Class")]
    pub lane: &'static str,
    /// The lane is done with every event up to this seq: each was delivered, filtered out, set aside, skipped, or
    /// became a dead letter. Events before the handler's start count as done.
    pub cursor: u64,
    /// Number of seqs between the cursor and the tip.
    pub lag: u64,
    /// The earlier of two times: when the first claimed event that is not done was received, and when the set-aside
    /// event with the lowest seq was set aside. Null if there is neither event.
    pub oldest_at: Option<Timestamp>,
    /// How long the event of `oldestAt` has waited, in seconds, at the time of the request; 0 if there is none.
    pub lag_seconds: u64,
    pub in_flight: usize,
    pub set_aside: usize,
    /// Number of events that a replay's lane is done with since the start of the process; 0 for a handler's own lane.
    /// Counts only events that the filters of the handler and of the replay both select. They were delivered or set
    /// aside, became dead letters, or are left to the handler's own lane, which has set them aside.
    #[serde(skip)]
    pub passed: u64,
    /// Number of events delivered since the start of the process.
    pub delivered: u64,
    /// When the last event was delivered; null if none was.
    pub delivered_at: Option<Timestamp>,
    pub state: LaneCondition,
    /// Number of failed deliveries or probes in a row.
    pub failures: u32,
    /// When deliveries began to fail; null while the destination is well.
    pub unwell_since: Option<Timestamp>,
    /// When the lane tries again; null unless it waits for a retry.
    pub next_try: Option<Timestamp>,
    /// Why the lane waits, or what happens while it is full, as text; null in any other state.
    pub waits_for: Option<String>,
    /// The class of the failure in doubt, such as `status 422`; null if there is none. A failure is in doubt while it
    /// is not clear whether the event or the destination is the cause. If several failures are in doubt, this is the
    /// failure of the event with the highest seq. The request `POST handlers/{name}/believe` turns the events that
    /// failed with this class into dead letters.
    pub refused: Option<String>,
    pub last_failure: Option<String>,
    pub last_failure_at: Option<Timestamp>,
    /// Why the handler could not be opened; null once its destination has answered. Opening is retried.
    pub open_error: Option<String>,
}

/// The state of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaneCondition {
    /// The lane delivers, or has nothing to deliver.
    #[default]
    Running,
    /// The lane waits, because its destination is unwell or may be.
    Waiting,
    /// The handler is paused until somebody resumes it.
    Paused,
    /// The limit for set-aside events is reached. An event that fails stays in the lane, and the lane delivers a
    /// limited number of events after it.
    Full,
    /// The lane could not read the journal at its cursor, or could not write to it. It tries again; the log has the
    /// error.
    Stuck,
    /// The lane has stopped and does not run again in this process.
    Stopped,
    /// The configuration no longer has the handler of this lane.
    #[serde(rename = "not configured")]
    NotConfigured,
}

impl LaneStatus {
    /// Updates `lag_seconds` to how long the event of `oldest_at` has waited at `now`.
    #[must_use]
    pub fn aged(self, now: Timestamp) -> Self {
        let waited_ms = self.oldest_at.map_or(0, |oldest| now.ms_since(oldest).max(0));
        Self { lag_seconds: waited_ms.unsigned_abs() / 1_000, ..self }
    }

    /// The status of a lane that has not started.
    pub fn new(handler: Arc<str>, kind: &'static str, class: Class) -> Self {
        Self { handler, kind, lane: class.as_str(), ..Self::default() }
    }
}

/// Publishes the figures of a lane: its status and its metrics.
pub(super) struct LanePublisher {
    /// The status, now and as it changes.
    pub(super) status: watch::Sender<LaneStatus>,
    delivered: Counter,
    retries: Counter,
    refusals: Counter,
    lag: Gauge,
    set_aside: Gauge,
    waiting: Gauge,
    full: Gauge,
    paused: Gauge,
    /// `None` for a handler's own lane.
    replay: Option<ReplayGauges>,
}

impl LanePublisher {
    /// Creates the publisher of a lane that starts at `cursor`.
    pub(super) fn new(lane: &LaneId, context: &Arc<HandlerContext>, cursor: u64) -> Self {
        let HandlerContext { spec, metrics, .. } = &**context;
        let mut status = LaneStatus::new(Arc::clone(&lane.handler), spec.kind, lane.class);
        status.cursor = cursor;
        status.destination = Arc::clone(&spec.destination);
        let labels: Labels = vec![("handler", Arc::clone(&lane.handler)), ("lane", lane_name(lane).into())];
        let failures = |outcome: &str| {
            let labels = [&*labels, &[("outcome", outcome.into())]].concat();
            metrics.failures.get_or_create_owned(&labels)
        };
        // Counts this lane as a user of its gauges before they are created. So a lane of an earlier replay that ends
        // now does not remove them: see `ReplayGauges`.
        let replay = lane.replay.map(|_id| ReplayGauges::new(context, lane_name(lane), labels.clone()));
        Self {
            replay,
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

    /// Records events that were delivered.
    pub(super) fn delivered(&self, events: u64, now: Timestamp) {
        self.delivered.inc_by(events);
        self.status.send_modify(|status| {
            status.delivered += events;
            status.delivered_at = Some(now);
        });
    }

    /// Records a failed delivery that may succeed when it is retried. The failure's `class` is safe to show.
    pub(super) fn failed(&self, class: &str, now: Timestamp) {
        self.retries.inc();
        self.last_failure(class, now);
    }

    /// Records an event that became a dead letter. The failure's `class` is safe to show.
    pub(super) fn refused(&self, class: &str, now: Timestamp) {
        self.refusals.inc();
        self.last_failure(class, now);
    }

    /// Records why the handler could not be opened. The failure's `class` and `error` are safe to show.
    pub(super) fn not_ready(&self, class: &str, error: &str, now: Timestamp) {
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

    /// Changes the status with `update` and publishes it. `full`: the limit for set-aside events is reached.
    pub(super) fn publish(&self, full: bool, update: impl FnOnce(&mut LaneStatus)) {
        self.status.send_modify(|status| {
            update(status);
            status.unwell_since = match status.failures {
                0 => None,
                // `last_failure_at` is already set, because a failure is recorded before the status is published.
                _ => status.unwell_since.or(status.last_failure_at),
            };
            if status.failures == 0 {
                status.open_error = None;
            }
            // The lane has ended, and a lane of the next replay may already use the same gauges.
            if self.replay.is_some() && status.state == LaneCondition::Stopped {
                return;
            }
            let waits =
                !matches!(status.state, LaneCondition::Running | LaneCondition::Paused | LaneCondition::Full);
            self.lag.set(i64::try_from(status.lag).unwrap_or(i64::MAX));
            self.set_aside.set(i64::try_from(status.set_aside).unwrap_or(i64::MAX));
            self.waiting.set(i64::from(waits));
            self.full.set(i64::from(full));
            self.paused.set(i64::from(status.state == LaneCondition::Paused));
        });
    }
}

/// Removes the gauges of a replay's lane when the lane ends, because they would keep their last values for ever. While
/// a cancelled replay shuts down, a lane of the next replay may already use the same gauges. So only the last lane with
/// these labels removes them. The counters stay: they count from the start of the process.
struct ReplayGauges {
    context: Arc<HandlerContext>,
    lane: &'static str,
    labels: Labels,
}

impl ReplayGauges {
    fn new(context: &Arc<HandlerContext>, lane: &'static str, labels: Labels) -> Self {
        let mut lanes = context.replay_lanes.lock().unwrap_or_else(PoisonError::into_inner);
        *lanes.entry(lane).or_default() += 1;
        Self { context: Arc::clone(context), lane, labels }
    }
}

impl Drop for ReplayGauges {
    fn drop(&mut self) {
        let mut lanes = self.context.replay_lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = lanes.get_mut(self.lane) else { return };
        *left -= 1;
        if *left == 0 {
            let Metrics { lag, set_aside, waiting, full, paused, .. } = &*self.context.metrics;
            for gauges in [lag, set_aside, waiting, full, paused] {
                gauges.remove(&self.labels);
            }
        }
    }
}

/// The name of a lane in metrics and traces. All replays of a handler share two names.
pub(super) fn lane_name(lane: &LaneId) -> &'static str {
    match (lane.replay, lane.class) {
        (None, class) => class.as_str(),
        (Some(_), Class::Incoming) => "replay-incoming",
        (Some(_), Class::Other) => "replay-other",
    }
}
