//! A configured handler, and what its lanes share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Semaphore;

use super::{RateLimit, Settings};
use crate::{
    handler::{Filter, Handler, Mask},
    journal::Journal,
    metrics::Metrics,
};

/// A configured handler.
pub struct HandlerSpec {
    /// The name of the handler.
    pub name: Arc<str>,
    /// The handler's kind, for its status.
    pub kind: &'static str,
    /// Where events go, without secrets; for the status and the log.
    pub destination: Arc<str>,
    /// The handler that delivers to the destination.
    pub handler: Arc<dyn Handler>,
    /// Selects the events that the handler gets.
    pub filter: Filter,
    /// The parts of an event that the destination must not see.
    pub mask: Mask,
    /// Maximum number of events in a delivery.
    pub batch: usize,
    /// Maximum number of deliveries in flight, over both lanes and all replays.
    pub concurrency: usize,
    /// The handler's settings for waits and limits.
    pub settings: Settings,
}

/// A handler with everything that its lanes and its replays share.
pub struct HandlerContext {
    /// The handler as configured, except that the rate also limits `batch`.
    pub spec: HandlerSpec,
    /// The handler's concurrency slots.
    pub slots: Arc<Semaphore>,
    /// Limits the events of all lanes; `None`: no limit.
    pub(super) rate_limit: Option<RateLimit>,
    /// Delivery times, in seconds.
    pub(super) seconds: Histogram,
    /// The journal that events are claimed from and settled in.
    pub(super) journal: Arc<dyn Journal>,
    /// The metrics that the lanes update.
    pub(super) metrics: Arc<Metrics>,
    /// Number of replay lanes, by the name of the lane in metrics. Lanes with the same name use the same gauges.
    pub(super) replay_lanes: Mutex<HashMap<&'static str, usize>>,
}

impl HandlerContext {
    /// Creates the state that the lanes of a handler share. With a `rate`, a batch has at most as many events as the
    /// rate allows in one second. So each batch of the class `other` delays a customer's message by at most one
    /// second.
    pub fn new(mut spec: HandlerSpec, journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Self {
        let rate_limit = spec.settings.rate.map(RateLimit::new);
        if let Some(limit) = &rate_limit {
            spec.batch = spec.batch.min(limit.per_second());
        }
        let labels = vec![("handler", Arc::clone(&spec.name))];
        Self {
            slots: Arc::new(Semaphore::new(spec.concurrency)),
            rate_limit,
            seconds: metrics.delivery_seconds.get_or_create_owned(&labels),
            spec,
            journal,
            metrics,
            replay_lanes: Mutex::default(),
        }
    }
}
