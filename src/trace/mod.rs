//! OpenTelemetry spans of requests and deliveries. They are exported if the binary has the feature `otel` and a URL is
//! set.
//!
//! All spans are created here, with `tracing`, under [`TARGET`]. Only the exporter listens to that target; without an
//! exporter, a span costs one read of an atomic. Spans contain names from the configuration, ids of requests, numbers,
//! outcomes and error classes, but nothing of the payloads. The span of a request ends before its events are delivered.
//! The field `seq` links it to the spans of the deliveries.

#[cfg(feature = "otel")]
mod export;

#[cfg(feature = "otel")]
pub use export::{Exporter, ExporterError};

use tracing::{Span, field::Empty, info_span};

/// The target of every span. The log excludes it.
pub const TARGET: &str = "bikhook::spans";

/// Environment variables that enable the export if `[log] otlp` is not set (OpenTelemetry Protocol Exporter,
/// "Configuration Options").
pub const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The span of a request on the public side, from its head to its answer. `source` is empty if no source matched.
pub fn request(id: &dyn std::fmt::Display, source: &str, method: &str) -> Span {
    // The peer can send any word as method, so unknown ones are replaced (OpenTelemetry, "Semantic conventions for
    // HTTP spans").
    let method = if METHODS.contains(&method) { method } else { "_OTHER" };
    let source = (!source.is_empty()).then_some(source);
    info_span!(
        target: TARGET,
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        request_id = %id,
        source,
        http.request.method = method,
        http.response.status_code = Empty,
        seq = Empty,
    )
}

const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "OPTIONS"];

/// Records the status of the answer in the span of a request.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of decompressing and decoding a body. `bytes` is its size as received.
pub fn decode(bytes: usize) -> Span {
    info_span!(target: TARGET, "decode", bytes = whole(bytes as u64))
}

/// The span of appending events to the journal, until they are durable.
pub fn append(events: usize, quarantined: usize) -> Span {
    info_span!(
        target: TARGET,
        "append",
        events = whole(events as u64),
        quarantined = whole(quarantined as u64),
        seq = Empty,
    )
}

/// Records the last seq that a request made durable. `span` is the span of the request or of its append.
pub fn durable(span: &Span, seq: Option<u64>) {
    if let Some(seq) = seq {
        span.record("seq", whole(seq));
    }
}

/// The events of one delivery.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The seq of the first event.
    pub seq: u64,
    pub last_seq: u64,
    pub events: usize,
    /// The highest attempt number among the events.
    pub attempt: u32,
}

/// The span of one delivery to a destination.
pub fn deliver(handler: &str, lane: &str, load: Load) -> Span {
    info_span!(
        target: TARGET,
        "deliver",
        otel.kind = "client",
        otel.status_code = Empty,
        handler,
        lane,
        seq = whole(load.seq),
        last_seq = whole(load.last_seq),
        events = whole(load.events as u64),
        attempt = i64::from(load.attempt),
        outcome = Empty,
        "error.type" = Empty,
    )
}

/// Records the outcome of a delivery, and the error class if the delivery failed.
pub fn delivered(span: &Span, outcome: &str, class: Option<&str>) {
    span.record("outcome", outcome);
    if let Some(class) = class {
        span.record("error.type", class);
        span.record("otel.status_code", "ERROR");
    }
}

/// The `traceparent` of the current span (W3C Trace Context, section 3.2); `None` if there is no current span, or no
/// exporter.
#[cfg(feature = "otel")]
pub fn traceparent() -> Option<String> {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    let flags = span.trace_flags().to_u8();
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
}

/// Always `None`, because a binary without the feature `otel` exports no spans.
#[cfg(not(feature = "otel"))]
pub const fn traceparent() -> Option<String> {
    None
}

/// Converts a number to a signed OpenTelemetry integer. Numbers above `i64::MAX` become `i64::MAX`.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
