//! All metrics, under stable names. Labels have a limited number of values: sources, credentials and handlers of the
//! configuration, and enums of the code.

mod process;
mod silence;

pub use silence::Silence;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use process::Process;

/// Label names and values, in the order in which they are shown.
pub type Labels = Vec<(&'static str, Arc<str>)>;
/// A family of counters, by labels.
pub type Counters = Family<Labels, Counter>;
/// A family of integer gauges, by labels.
pub type Gauges = Family<Labels, Gauge>;
/// A family of floating-point gauges, by labels.
pub type Floats = Family<Labels, Gauge<f64, AtomicU64>>;
/// A family of histograms, by labels.
pub type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Every metric of one receiver. Nothing is global, so one process can have several instances.
pub struct Metrics {
    registry: Registry,
    /// Metrics of the process, without the prefix `bikhook`.
    process: Registry,
    /// Answers on the public side, by `source` (empty if none matched) and `status`.
    pub requests: Counters,
    /// Seconds from the head of a request to its answer, on the public side.
    pub request_seconds: Histogram,
    /// Requests in progress that hold a place in the concurrency limits.
    pub in_flight: Gauge,
    /// Open connections on the public side.
    pub connections: Gauge,
    /// Successful authentications, by `source`, `credential` and `form`.
    pub authenticated: Counters,
    /// Failed authentications, by `source` and `reason`: missing, wrong, expired, other_form.
    pub authentication_failures: Counters,
    /// Seconds since something arrived, by `source`.
    pub silence: Family<Labels, Silence>,
    /// Events, by `source` and `result`: accepted, duplicate, quarantined, conflict.
    pub events: Counters,
    /// Elements that only the second, tolerant parser could read, by `source`.
    pub repaired: Counters,
    /// Optional fields of a wrong type, by `source`.
    pub field_warnings: Counters,
    /// Number of commits of the journal.
    pub commits: Counter,
    /// Seconds per commit, including the sync.
    pub commit_seconds: Histogram,
    /// Number of events per commit group.
    pub group_events: Histogram,
    /// Keys in the deduplication window.
    pub keys: Gauge,
    /// Maximum number of keys in the window. Beyond it the oldest are evicted early.
    pub keys_limit: Gauge,
    /// How far back the deduplication window reaches, in seconds.
    pub window_seconds: Gauge,
    /// Size of the write-ahead log in bytes.
    pub wal_bytes: Gauge,
    /// Available space on the journal's disk in bytes, including the reserve.
    pub room_bytes: Gauge,
    /// 1 while the journal can store, else 0.
    pub journal_ready: Gauge,
    /// 1 while the wall clock is trusted, else 0.
    pub clock_trusted: Gauge,
    /// Wall clock minus trusted clock, in seconds.
    pub clock_offset_seconds: Gauge,
    /// How far deletion by age is behind the trusted clock, in seconds.
    pub deletion_behind_seconds: Gauge,
    /// The highest durable seq of the journal.
    pub tip: Gauge,
    /// Number of entries in quarantine.
    pub quarantine: Gauge,
    /// Events delivered, by `handler` and `lane`.
    pub delivered: Counters,
    /// Failed deliveries, by `handler`, `lane` and `outcome`: retry, refuse.
    pub failures: Counters,
    /// Seconds per delivery of a batch or a single event, by `handler`.
    pub delivery_seconds: Histograms,
    /// Events between the cursor and the tip, by `handler` and `lane`.
    pub lag: Gauges,
    /// How long the oldest undelivered event of a lane has waited, in seconds, by `handler` and `lane`. In the lane
    /// `incoming` that is how long a customer's message has waited.
    pub lag_seconds: Gauges,
    /// Events set aside, by `handler` and `lane`.
    pub set_aside: Gauges,
    /// Number of dead letters, by `handler`.
    pub dead_letters: Gauges,
    /// 1 while a lane waits for its unwell destination, by `handler` and `lane`.
    pub waiting: Gauges,
    /// 1 while a lane has as many events set aside as `aside_limit` allows, by `handler` and `lane`.
    pub full: Gauges,
    /// 1 while the handler of a lane is paused, by `handler` and `lane`.
    pub paused: Gauges,
    /// Number of events that insight has not processed yet.
    pub insight_lag: Gauge,
    /// 1 if insight is enabled and could not be opened, else 0.
    pub insight_failed: Gauge,
    /// Customers who wrote in the last 24 hours and got no answer. A broadcast is not an answer.
    pub customers_waiting: Gauge,
    /// How long the longest-waiting customer has waited, in seconds.
    pub customer_waiting_seconds: Gauge,
    /// Messages first seen in this clock hour or the previous one, by `category` and `step`. The step `all` counts
    /// every outgoing message, even if no channel has accepted it yet; the other steps count how many got that far.
    pub recent_messages: Gauges,
    /// Failed ones among the messages of `recent_messages`, by `category` and `class` of the reason.
    pub recent_failures: Gauges,
    /// Seconds from sent to delivered of the messages of `recent_messages`, by `category` and `quantile`. NaN if none
    /// was delivered.
    pub recent_delivery_seconds: Floats,
    /// Spans that were not exported: too many were waiting, or the export failed.
    pub spans_dropped: Counter,
    /// How often somebody asked the page to show personal data.
    pub reveals: Counter,
}

impl Metrics {
    /// Registers all metrics with their initial values.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("bikhook");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the running binary", Info::new(version));
        let mut process = Registry::default();
        process.register_collector(Box::new(Process::new()));
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let seconds = || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        Arc::new(Self {
            requests: register!(
                "http_requests",
                "Answers on the public side, by source and status",
                Counters::default()
            ),
            request_seconds: register!(
                "http_request_seconds",
                "Seconds from the head of a request to its answer, on the public side",
                seconds()
            ),
            in_flight: register!(
                "http_in_flight",
                "Requests in progress that hold a place in the concurrency limits",
                Gauge::default()
            ),
            connections: register!(
                "http_connections",
                "Open connections on the public side",
                Gauge::default()
            ),
            authenticated: register!(
                "authenticated",
                "Accepted authentications, by source, credential and form",
                Counters::default()
            ),
            authentication_failures: register!(
                "authentication_failures",
                "Refused authentications, by source and reason",
                Counters::default()
            ),
            silence: register!(
                "source_silence_seconds",
                "Seconds since the source last received something; since the start if nothing is known",
                Family::default()
            ),
            events: register!("events", "Events, by source and result", Counters::default()),
            repaired: register!(
                "events_repaired",
                "Elements with trailing commas, which only the tolerant parser could read",
                Counters::default()
            ),
            field_warnings: register!(
                "event_field_warnings",
                "Optional fields of an event that have a wrong type",
                Counters::default()
            ),
            commits: register!("journal_commits", "Commits of the journal", Counter::default()),
            commit_seconds: register!(
                "journal_commit_seconds",
                "Seconds per commit of the journal, including the sync",
                seconds()
            ),
            group_events: register!(
                "journal_group_events",
                "Events per commit group",
                Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0])
            ),
            keys: register!("journal_keys", "Keys in the deduplication window", Gauge::default()),
            keys_limit: register!(
                "journal_keys_limit",
                "Maximum number of keys in the deduplication window; beyond it the oldest are evicted early",
                Gauge::default()
            ),
            window_seconds: register!(
                "journal_window_seconds",
                "How far back duplicates are recognised, in seconds",
                Gauge::default()
            ),
            wal_bytes: register!(
                "journal_wal_bytes",
                "Size of the write-ahead log in bytes",
                Gauge::default()
            ),
            room_bytes: register!(
                "journal_room_bytes",
                "Available space on the journal's disk in bytes, including the reserve",
                Gauge::default()
            ),
            journal_ready: register!(
                "journal_ready",
                "1 while the journal can store, else 0",
                Gauge::default()
            ),
            clock_trusted: register!(
                "clock_trusted",
                "1 while the wall clock is trusted, 0 after a jump",
                Gauge::default()
            ),
            clock_offset_seconds: register!(
                "clock_offset_seconds",
                "Wall clock minus trusted clock, in seconds",
                Gauge::default()
            ),
            deletion_behind_seconds: register!(
                "journal_deletion_behind_seconds",
                "How far deletion by age is behind the trusted clock, in seconds",
                Gauge::default()
            ),
            tip: register!("journal_tip", "Highest durable seq", Gauge::default()),
            quarantine: register!("quarantine_entries", "Entries in quarantine", Gauge::default()),
            delivered: register!(
                "delivered_events",
                "Events delivered, by handler and lane",
                Counters::default()
            ),
            failures: register!(
                "delivery_failures",
                "Failed deliveries, by handler, lane and outcome",
                Counters::default()
            ),
            delivery_seconds: register!(
                "delivery_seconds",
                "Seconds per delivery of a batch or a single event, by handler",
                Histograms::new_with_constructor(delivery_seconds)
            ),
            lag: register!(
                "lane_lag_events",
                "Events between the cursor of a lane and the tip of the journal",
                Gauges::default()
            ),
            lag_seconds: register!(
                "lane_lag_seconds",
                "How long the oldest undelivered event of a lane has waited, in seconds",
                Gauges::default()
            ),
            set_aside: register!(
                "lane_set_aside",
                "Events set aside, by handler and lane",
                Gauges::default()
            ),
            dead_letters: register!("dead_letters", "Dead letters, by handler", Gauges::default()),
            waiting: register!(
                "lane_waiting",
                "1 while a lane waits for its unwell destination",
                Gauges::default()
            ),
            full: register!(
                "lane_full",
                "1 while a lane has as many events set aside as aside_limit allows",
                Gauges::default()
            ),
            paused: register!("lane_paused", "1 while the handler of a lane is paused", Gauges::default()),
            insight_lag: register!(
                "insight_lag_events",
                "Events that insight has not processed yet",
                Gauge::default()
            ),
            insight_failed: register!(
                "insight_failed",
                "1 if insight is enabled and could not be opened, else 0",
                Gauge::default()
            ),
            customers_waiting: register!(
                "customers_waiting",
                "Customers who wrote in the last 24 hours and got no answer; a broadcast is not an answer",
                Gauge::default()
            ),
            customer_waiting_seconds: register!(
                "customer_waiting_seconds",
                "How long the longest-waiting customer has waited, in seconds",
                Gauge::default()
            ),
            recent_messages: register!(
                "recent_messages",
                "Messages first seen in this clock hour or the previous one, by category and step",
                Gauges::default()
            ),
            recent_failures: register!(
                "recent_message_failures",
                "Failed messages first seen in this clock hour or the previous one, by category and class of the reason",
                Gauges::default()
            ),
            recent_delivery_seconds: register!(
                "recent_message_delivery_seconds",
                "Seconds from sent to delivered of messages first seen in this clock hour or the previous one",
                Floats::default()
            ),
            spans_dropped: register!(
                "trace_spans_dropped",
                "Spans that were not exported, because too many were waiting or the export failed",
                Counter::default()
            ),
            reveals: register!(
                "page_reveals",
                "How often somebody asked the page to show personal data",
                Counter::default()
            ),
            registry,
            process,
        })
    }

    /// Renders all metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode_eof(&mut text);
        text
    }
}

/// The buckets go beyond the timeout of a delivery, 15 s by default.
fn delivery_seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0])
}
