//! TELL: what each request and each delivery took, as spans of OpenTelemetry; behind the feature `otel`.
//!
//! Spans are made here alone, with tracing, under [`TARGET`], which nobody listens to but the exporter: without one a span is
//! a look at an atomic. They carry names of the configuration, numbers, and classes of failures; nothing that was sent. A
//! request ends long before its events are delivered: `seq` joins the two.

#[cfg(feature = "otel")]
mod export;

#[cfg(feature = "otel")]
pub use export::{Exporter, ExporterError};

use tracing::{Span, field::Empty, info_span};

/// The target of every span; the log leaves it out.
pub const TARGET: &str = "bikhook::spans";

/// The variables that ask for an export as `[log] otlp` does (OpenTelemetry Protocol Exporter, "Configuration Options").
pub const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// A request of the public side, from its head to its answer; `source` is empty where none matched.
pub fn request(id: &dyn std::fmt::Display, source: &str, method: &str) -> Span {
    // A method is a word of the peer's (OpenTelemetry, "Semantic conventions for HTTP spans").
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

/// Its answer.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// A body, unpacked and taken apart; `bytes` as they came.
pub fn decode(bytes: usize) -> Span {
    info_span!(target: TARGET, "decode", bytes = whole(bytes as u64))
}

/// Events on their way into the journal, until they are durable.
pub fn append(events: usize, quarantined: usize) -> Span {
    info_span!(
        target: TARGET,
        "append",
        events = whole(events as u64),
        quarantined = whole(quarantined as u64),
        seq = Empty,
    )
}

/// The last seq that a request, or its append, made durable.
pub fn durable(span: &Span, seq: Option<u64>) {
    if let Some(seq) = seq {
        span.record("seq", whole(seq));
    }
}

/// What is delivered at once.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The first event.
    pub seq: u64,
    /// The last one.
    pub last_seq: u64,
    /// How many there are.
    pub events: usize,
    /// Which try it is, of the event that was tried most often.
    pub attempt: u32,
}

/// One delivery to a destination.
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

/// How a delivery ended: with a class of failures where it failed.
pub fn delivered(span: &Span, outcome: &str, class: Option<&str>) {
    span.record("outcome", outcome);
    if let Some(class) = class {
        span.record("error.type", class);
        span.record("otel.status_code", "ERROR");
    }
}

/// `traceparent` of the span that this is called in (W3C Trace Context, section 3.2); `None` where nothing is exported.
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

/// `traceparent` of the span that this is called in: nothing is exported by this binary.
#[cfg(not(feature = "otel"))]
pub const fn traceparent() -> Option<String> {
    None
}

/// OpenTelemetry's numbers have a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
