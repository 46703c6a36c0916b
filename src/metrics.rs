//! What is measured, under stable names. Labels come from closed sets only: sources, credentials and handlers of the
//! configuration, and the enums of the code.

use std::sync::Arc;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Labels, in the order in which they are shown.
pub type Labels = Vec<(&'static str, Arc<str>)>;
/// Counters by label.
pub type Counters = Family<Labels, Counter>;
/// Gauges by label.
pub type Gauges = Family<Labels, Gauge>;

/// Every metric of this process. Two instances can live in one process: nothing is global.
pub struct Metrics {
    registry: Registry,
    /// Answers on the public side, by `source` (empty where none matched) and `status`.
    pub requests: Counters,
    /// Seconds from the head to the answer, on the public side.
    pub request_seconds: Histogram,
    /// Requests under way that hold a place.
    pub in_flight: Gauge,
    /// Open connections on the public side.
    pub connections: Gauge,
    /// Successful authentications, by `source`, `credential` and `form`.
    pub authenticated: Counters,
    /// Events, by `source` and `result`: accepted, duplicate, quarantined, conflict.
    pub events: Counters,
    /// Elements that needed the tolerant second try, by `source`.
    pub repaired: Counters,
    /// Optional fields of a wrong type, by `source`.
    pub field_warnings: Counters,
    /// Commits of the journal.
    pub commits: Counter,
    /// Seconds of a commit, sync included.
    pub commit_seconds: Histogram,
    /// Events in a commit group.
    pub group_events: Histogram,
    /// Keys in the deduplication window.
    pub keys: Gauge,
    /// How far back the deduplication window reaches, in seconds.
    pub window_seconds: Gauge,
    /// Bytes of the write-ahead log.
    pub wal_bytes: Gauge,
    /// Room on the journal's disk, in bytes.
    pub room_bytes: Gauge,
    /// 1 while the journal can store, else 0.
    pub journal_ready: Gauge,
    /// The highest durable sequence number.
    pub tip: Gauge,
    /// Entries in quarantine.
    pub quarantine: Gauge,
    /// Events delivered, by `handler` and `lane`.
    pub delivered: Counters,
    /// Failed deliveries, by `handler`, `lane` and `outcome`: retry, refuse.
    pub failures: Counters,
    /// Events between the cursor and the tip, by `handler` and `lane`.
    pub lag: Gauges,
    /// Seconds that the oldest event of a lane has waited, by `handler` and `lane`: of the lane `incoming`, a customer has.
    pub lag_seconds: Gauges,
    /// Events set aside, by `handler` and `lane`.
    pub set_aside: Gauges,
    /// Dead letters, by `handler`.
    pub dead_letters: Gauges,
    /// 1 while a lane waits for its destination, by `handler` and `lane`.
    pub waiting: Gauges,
    /// 1 while a lane is held back by a pause, by `handler` and `lane`.
    pub paused: Gauges,
    /// Events that insight has not taken in yet.
    pub insight_lag: Gauge,
    /// How often somebody asked the page to show personal data.
    pub reveals: Counter,
}

impl Metrics {
    /// A fresh set, all at zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("bikhook");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let seconds = || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        Arc::new(Self {
            requests: register!("http_requests", "Answers on the public side", Counters::default()),
            request_seconds: register!(
                "http_request_seconds",
                "Seconds from the head to the answer",
                seconds()
            ),
            in_flight: register!("http_in_flight", "Requests under way that hold a place", Gauge::default()),
            connections: register!(
                "http_connections",
                "Open connections on the public side",
                Gauge::default()
            ),
            authenticated: register!("authenticated", "Successful authentications", Counters::default()),
            events: register!("events", "Events, by what became of them", Counters::default()),
            repaired: register!("events_repaired", "Elements with trailing commas", Counters::default()),
            field_warnings: register!(
                "event_field_warnings",
                "Optional fields of a wrong type",
                Counters::default()
            ),
            commits: register!("journal_commits", "Commits of the journal", Counter::default()),
            commit_seconds: register!(
                "journal_commit_seconds",
                "Seconds of a commit, sync included",
                seconds()
            ),
            group_events: register!(
                "journal_group_events",
                "Events in a commit group",
                Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0])
            ),
            keys: register!("journal_keys", "Keys in the deduplication window", Gauge::default()),
            window_seconds: register!(
                "journal_window_seconds",
                "How far back duplicates are recognised",
                Gauge::default()
            ),
            wal_bytes: register!("journal_wal_bytes", "Bytes of the write-ahead log", Gauge::default()),
            room_bytes: register!("journal_room_bytes", "Room on the journal's disk", Gauge::default()),
            journal_ready: register!("journal_ready", "1 while the journal can store", Gauge::default()),
            tip: register!("journal_tip", "The highest durable sequence number", Gauge::default()),
            quarantine: register!("quarantine_entries", "Entries in quarantine", Gauge::default()),
            delivered: register!("delivered_events", "Events delivered", Counters::default()),
            failures: register!("delivery_failures", "Failed deliveries", Counters::default()),
            lag: register!("lane_lag_events", "Events between the cursor and the tip", Gauges::default()),
            lag_seconds: register!(
                "lane_lag_seconds",
                "Seconds that the oldest event which is not delivered has waited",
                Gauges::default()
            ),
            set_aside: register!("lane_set_aside", "Events set aside", Gauges::default()),
            dead_letters: register!("dead_letters", "Dead letters", Gauges::default()),
            waiting: register!("lane_waiting", "1 while a lane waits for its destination", Gauges::default()),
            paused: register!("lane_paused", "1 while a lane is held back by a pause", Gauges::default()),
            insight_lag: register!(
                "insight_lag_events",
                "Events that insight has not taken in yet",
                Gauge::default()
            ),
            reveals: register!(
                "page_reveals",
                "Times that somebody asked the page to show personal data",
                Counter::default()
            ),
            registry,
        })
    }

    /// The Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
