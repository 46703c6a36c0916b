//! All metrics, under stable names. Labels have a limited number of values. Sources, credentials, handlers and the
//! classes of failed messages come from the configuration, all other values from the code.

mod process;
mod silence;

pub use silence::Silence;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

use process::ProcessMetrics;

/// Label names and values, in the order in which they are shown.
pub type Labels = Vec<(&'static str, Arc<str>)>;
/// A family of counters, by labels.
type Counters = Family<Labels, Counter>;
/// A family of integer gauges, by labels.
type Gauges = Family<Labels, Gauge>;
/// A family of floating-point gauges, by labels.
type Floats = Family<Labels, Gauge<f64, AtomicU64>>;
/// A family of histograms, by labels.
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Declares [`Metrics`] from a table of metrics, and registers them in the order of the table. A row has the field, its
/// type, the name, the help, and a constructor if the type's default does not fit. The help, and a doc comment if there
/// is one, document the field.
macro_rules! metrics {
    (@new $type:ty) => { <$type>::default() };
    (@new $type:ty, $new:expr) => { $new };
    ($($(#[$doc:meta])* $field:ident: $type:ty = $name:literal, $help:literal $(, $new:expr)?;)*) => {
        /// Every metric of one receiver. Nothing is global, so one process can have several instances.
        pub struct Metrics {
            registry: Registry,
            /// Metrics of the process, without the prefix `bikhook`.
            process: Registry,
            $(#[doc = concat!($help, ".")] $(#[$doc])* pub $field: $type,)*
        }

        impl Metrics {
            fn register(mut registry: Registry, process: Registry) -> Self {
                Self {
                    $($field: registered(&mut registry, $name, $help, metrics!(@new $type $(, $new)?)),)*
                    registry,
                    process,
                }
            }
        }
    };
}

metrics! {
    // Intake.
    /// `source` is empty if none matched.
    requests: Counters = "http_requests", "Answers on the public side, by source and status";
    request_seconds: Histogram = "http_request_seconds",
        "Seconds from the head of a request to its answer, on the public side", seconds();
    in_flight: Gauge = "http_in_flight", "Requests in progress that count towards the concurrency limits";
    connections: Gauge = "http_connections", "Open connections on the public side";
    authenticated: Counters = "authenticated", "Accepted authentications, by source, credential and form";
    /// The reasons: missing, wrong, expired, other_form.
    authentication_failures: Counters = "authentication_failures",
        "Refused authentications, by source and reason";
    /// By `source`.
    silence: Family<Labels, Silence> = "source_silence_seconds",
        "Seconds since the source last received something; since the start if nothing is known";
    /// The results: accepted, duplicate, quarantined, conflict.
    events: Counters = "events", "Events, by source and result";
    /// By `source`.
    repaired: Counters = "events_repaired",
        "Elements with trailing commas, which only the tolerant parser could read";
    /// By `source`.
    field_warnings: Counters = "event_field_warnings", "Optional fields of an event that have a wrong type";

    // The journal and its clock.
    commits: Counter = "journal_commits", "Commits of the journal";
    commit_seconds: Histogram = "journal_commit_seconds",
        "Seconds per commit of the journal, including the sync", seconds();
    group_events: Histogram = "journal_group_events",
        "Events per commit group", Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0]);
    keys: Gauge = "journal_keys", "Keys in the deduplication window";
    keys_limit: Gauge = "journal_keys_limit",
        "Maximum number of keys in the deduplication window; beyond it the oldest are evicted early";
    window_seconds: Gauge = "journal_window_seconds", "How far back duplicates are recognised, in seconds";
    wal_bytes: Gauge = "journal_wal_bytes", "Size of the write-ahead log in bytes";
    room_bytes: Gauge = "journal_room_bytes",
        "Available space on the journal's disk in bytes, including the reserve";
    journal_ready: Gauge = "journal_ready", "1 while the journal can store, else 0";
    clock_trusted: Gauge = "clock_trusted", "1 while the wall clock is trusted, 0 after a jump";
    clock_offset_seconds: Gauge = "clock_offset_seconds", "Wall clock minus trusted clock, in seconds";
    deletion_behind_seconds: Gauge = "journal_deletion_behind_seconds",
        "How far deletion by age is behind the trusted clock, in seconds";
    tip: Gauge = "journal_tip", "Highest durable seq";
    quarantine: Gauge = "quarantine_entries", "Entries in quarantine";

    // Delivery.
    delivered: Counters = "delivered_events", "Events delivered, by handler and lane";
    /// The outcome `retry` counts failed deliveries, including the last one before an event becomes a dead letter. It
    /// does not count deliveries in which the destination refused an event for good. The outcome `refuse` counts events
    /// that became dead letters.
    failures: Counters = "delivery_failures", "Failed deliveries, by handler, lane and outcome";
    delivery_seconds: Histograms = "delivery_seconds",
        "Seconds per delivery of a batch or a single event, by handler",
        Histograms::new_with_constructor(delivery_seconds);
    /// By `handler` and `lane`.
    lag: Gauges = "lane_lag_events", "Events between the cursor of a lane and the tip of the journal";
    /// By `handler` and `lane`. In the lane `incoming`, this is how long a customer's message has waited.
    lag_seconds: Gauges = "lane_lag_seconds",
        "How long the oldest undelivered event of a lane has waited, in seconds";
    set_aside: Gauges = "lane_set_aside", "Events set aside, by handler and lane";
    dead_letters: Gauges = "dead_letters", "Dead letters, by handler";
    /// By `handler` and `lane`. The value is also 1 while the lane cannot use the journal, and after the lane has
    /// stopped.
    waiting: Gauges = "lane_waiting", "1 while a lane waits for its unwell destination";
    /// By `handler` and `lane`.
    full: Gauges = "lane_full", "1 while a lane has as many events set aside as aside_limit allows";
    /// By `handler` and `lane`. The lanes of a replay are also paused while the replay is paused.
    paused: Gauges = "lane_paused", "1 while the handler of a lane is paused";

    // Insight.
    insight_lag: Gauge = "insight_lag_events", "Events that insight has not processed yet";
    insight_failed: Gauge = "insight_failed", "1 if insight is enabled and could not be opened, else 0";
    customers_waiting: Gauge = "customers_waiting",
        "Customers who have waited for an answer for at most 24 hours; a broadcast is not an answer";
    customers_missed: Gauge = "customers_missed",
        "Customers who have waited for an answer for more than 24 hours";
    customer_waiting_seconds: Gauge = "customer_waiting_seconds",
        "How long the longest-waiting customer who is not missed has waited, in seconds";
    /// The step `incoming` counts messages from customers. `all` counts every outgoing message, even if no channel has
    /// accepted it yet. The other steps count the outgoing messages that were sent, delivered, read, played, failed or
    /// deleted.
    recent_messages: Gauges = "recent_messages",
        "Messages first seen in this clock hour or the previous one, by category and step";
    recent_failures: Gauges = "recent_message_failures",
        "Failed messages first seen in this clock hour or the previous one, by category and class of the reason";
    /// By `category` and `quantile`. NaN if no message was delivered.
    recent_delivery_seconds: Floats = "recent_message_delivery_seconds",
        "Seconds from sent to delivered of messages first seen in this clock hour or the previous one";

    // Export of spans, and the page.
    spans_dropped: Counter = "trace_spans_dropped",
        "Spans that were not exported, because too many were waiting or the export failed";
    reveals: Counter = "page_reveals", "Number of times that the page was asked to show hidden data";
}

impl Metrics {
    /// Registers all metrics with their initial values.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("bikhook");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the running binary", Info::new(version));
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessMetrics::new()));
        Arc::new(Self::register(registry, process))
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

fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5])
}
