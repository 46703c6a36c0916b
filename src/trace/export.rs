//! Spans go out over HTTP as protobuf, from a thread of their own, in batches; more than [`MOST`] at once are counted instead.
//!
//! The library's own queue drops what it has no room for and does not count it, so it never gets that far: who is handed a
//! span counts it in, and who has exported it counts it out.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter,
        SpanProcessor,
    },
};
use prometheus_client::metrics::counter::Counter;
use reqwest::{blocking::Client, redirect::Policy};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    registry::LookupSpan,
};

use super::{TARGET, VARIABLES};

/// Spans that wait, or are on their way.
const MOST: usize = 8_192;
/// How long the receiver of spans has for a batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);
/// Where a base URL takes spans (OTLP/HTTP, "Request").
const PATH: &str = "/v1/traces";

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be exported: {0}")]
pub struct ExporterError(String);

impl ExporterError {
    fn of(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

/// An export that was started: dropped, it sees to it that the last spans go out.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts an export to a base URL, as `http://127.0.0.1:4318`; without one to that of the standard variables. `None` where
    /// these name none either, or switch it off. Must not be called on a thread of a runtime.
    ///
    /// # Errors
    /// [`ExporterError`].
    pub fn start(base: Option<&str>, dropped: Counter) -> Result<Option<Self>, ExporterError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let switched_off =
            variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some(url) = base.map(str::to_owned).or_else(|| VARIABLES.into_iter().find_map(variable)) else {
            return Ok(None);
        };
        if switched_off {
            return Ok(None);
        }
        let builder =
            Otlp::builder().with_http().with_http_client(client(&url)?).with_protocol(Protocol::HttpBinary);
        let builder = match base {
            Some(base) => builder.with_endpoint(format!("{}{PATH}", base.trim_end_matches('/'))),
            // What each of them means, the library knows.
            None => builder,
        };
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Counted {
            inner: builder.build().map_err(ExporterError::of)?,
            waiting: Arc::clone(&waiting),
            dropped: dropped.clone(),
            failing: AtomicBool::new(false),
        };
        let queue = BatchConfigBuilder::default().with_max_queue_size(MOST).build();
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(queue).build();
        let named = variable("OTEL_SERVICE_NAME").is_some()
            || variable("OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|attributes| attributes.contains("service.name="));
        let resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if named { resource } else { resource.with_service_name("bikhook") }.build();
        let bounded = Bounded { inner, waiting, dropped };
        Ok(Some(Self(
            SdkTracerProvider::builder().with_resource(resource).with_span_processor(bounded).build(),
        )))
    }

    /// Takes the spans of this program, and nothing else.
    pub fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let layer: OpenTelemetryLayer<S, SdkTracer> = OpenTelemetryLayer::new(self.0.tracer("bikhook"));
        layer
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
            .boxed()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(error = without_url(&error.to_string()), "the last spans were not exported");
        }
    }
}

fn client(url: &str) -> Result<Client, ExporterError> {
    let builder = Client::builder()
        .timeout(PATIENCE)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("bikhook/", env!("CARGO_PKG_VERSION")));
    // The system's certificates may be missing where nobody needs them.
    let builder = if url.starts_with("http://") { builder.tls_certs_only([]) } else { builder };
    builder.build().map_err(ExporterError::of)
}

/// A URL may hold a token.
fn without_url(error: &str) -> &str {
    error.split(" for url (").next().unwrap_or_default()
}

/// Hands on what there is room for.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Relaxed) < MOST {
            self.inner.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Relaxed);
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what went out, and what did not.
#[derive(Debug)]
struct Counted {
    inner: Otlp,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
    /// The log tells of the first failure in a row, and of its end.
    failing: AtomicBool,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.inner.export(batch).await;
        self.waiting.fetch_sub(spans, Relaxed);
        match &exported {
            Ok(()) => {
                if self.failing.swap(false, Relaxed) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                self.dropped.inc_by(spans as u64);
                if !self.failing.swap(true, Relaxed) {
                    tracing::warn!(error = without_url(&error.to_string()), "spans cannot be exported");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
