//! Exports spans over HTTP as protobuf, in batches, from a separate thread. At most [`SPANS_MAX`] spans wait or are
//! being exported; further ones are dropped and counted.
//!
//! When the queue of the OpenTelemetry SDK is full, the SDK drops spans, and its count of them cannot be read.
//! Therefore [`BoundedProcessor`] counts the spans that wait or are being exported. At the limit, it drops further ones
//! itself. After each export, [`CountedExporter`] subtracts the spans of the batch from the count of
//! [`BoundedProcessor`].

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

/// Maximum number of spans that wait or are being exported.
const SPANS_MAX: usize = 8_192;
/// Timeout for exporting one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long shutdown waits for the export of the last spans.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// The path that spans are posted to, relative to the base URL (OTLP/HTTP, "Request").
const PATH: &str = "/v1/traces";

/// Why the export could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the export of spans cannot start: {0}")]
pub struct ExporterError(String);

impl ExporterError {
    fn of(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

/// A running export. When it is dropped, it exports the remaining spans, for at most one second.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts the export to `base`, a URL such as `http://127.0.0.1:4318`. If `base` is `None`, exports to the URL in
    /// the environment variables [`VARIABLES`]. Returns `None` if no URL is set or `OTEL_SDK_DISABLED` is `true`. Must
    /// not be called on a thread of an async runtime, because the HTTP client is a blocking one.
    ///
    /// # Errors
    /// Returns an [`ExporterError`] if the HTTP client or the exporter cannot be created.
    pub fn start(base: Option<&str>, dropped: Counter) -> Result<Option<Self>, ExporterError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let switched_off =
            variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let url = base.map(str::to_owned).or_else(|| VARIABLES.into_iter().find_map(variable));
        let Some(url) = url.filter(|_| !switched_off) else { return Ok(None) };
        let builder =
            Otlp::builder().with_http().with_http_client(client(&url)?).with_protocol(Protocol::HttpBinary);
        let builder = match base {
            Some(base) => builder.with_endpoint(format!("{}{PATH}", base.trim_end_matches('/'))),
            // The crate `opentelemetry_otlp` reads the `VARIABLES` itself.
            None => builder,
        };
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = CountedExporter {
            inner: builder.build().map_err(ExporterError::of)?,
            waiting: Arc::clone(&waiting),
            dropped: dropped.clone(),
            failing: AtomicBool::new(false),
        };
        let queue = BatchConfigBuilder::default().with_max_queue_size(SPANS_MAX).build();
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(queue).build();
        let named = variable("OTEL_SERVICE_NAME").is_some()
            || variable("OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|attributes| attributes.contains("service.name="));
        let resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if named { resource } else { resource.with_service_name("bikhook") }.build();
        let bounded = BoundedProcessor { inner, waiting, dropped };
        Ok(Some(Self(
            SdkTracerProvider::builder().with_resource(resource).with_span_processor(bounded).build(),
        )))
    }

    /// The `tracing` layer that collects the spans with the target [`TARGET`]. It ignores all other spans, and the log.
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
        if let Err(error) = self.0.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!(error = without_url(&error.to_string()), "last spans were not exported");
        }
    }
}

fn client(url: &str) -> Result<Client, ExporterError> {
    let builder = Client::builder()
        .timeout(EXPORT_TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("bikhook/", env!("CARGO_PKG_VERSION")));
    // Plain HTTP needs no certificates, and loading those of the system fails if they are missing.
    let builder = if url.starts_with("http://") { builder.tls_certs_only([]) } else { builder };
    builder.build().map_err(ExporterError::of)
}

/// Cuts an error text off before the URL, because the URL may contain a token.
fn without_url(error: &str) -> &str {
    error.split(" for url (").next().unwrap_or_default()
}

/// Queues a span if fewer than [`SPANS_MAX`] spans wait or are being exported; otherwise drops and counts it.
#[derive(Debug)]
struct BoundedProcessor {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Relaxed) < SPANS_MAX {
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

/// Exports batches. Then subtracts their spans from the count of waiting ones; if the export failed, also counts them
/// as dropped.
#[derive(Debug)]
struct CountedExporter {
    inner: Otlp,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
    /// Whether the last export failed. If several exports in a row fail, only the first failure is logged. The first
    /// success after a failure is logged.
    failing: AtomicBool,
}

impl SpanExporter for CountedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.inner.export(batch).await;
        self.waiting.fetch_sub(spans, Relaxed);
        match &exported {
            Ok(()) => {
                if self.failing.swap(false, Relaxed) {
                    tracing::info!("export of spans works again");
                }
            }
            Err(error) => {
                self.dropped.inc_by(spans as u64);
                if !self.failing.swap(true, Relaxed) {
                    tracing::warn!(error = without_url(&error.to_string()), "export of spans failed");
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
