//! A receiver of OpenTelemetry spans (OTLP over HTTP, protobuf) that keeps what it gets, or hangs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1,
};
use prost::Message;
use tokio::runtime::Runtime;

/// A parsed span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub name: String,
    /// Trace, span, and its parent, in hexadecimal digits.
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
}

/// The receiver.
pub struct Collector {
    pub address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    _runtime: Runtime,
}

impl Collector {
    pub fn new() -> Self {
        Self::answering(true)
    }

    /// A receiver that accepts connections and never answers.
    pub fn hanging() -> Self {
        Self::answering(false)
    }

    fn answering(answers: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let take = async move |State(spans): State<Arc<Mutex<Vec<Span>>>>, head: HeaderMap, body: Bytes| {
            if !answers {
                std::future::pending::<()>().await;
            }
            assert_eq!(head["content-type"], "application/x-protobuf");
            spans.lock().unwrap().extend(read(body));
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, spans, _runtime: runtime }
    }

    /// The received spans with this name.
    pub fn spans(&self, name: &str) -> Vec<Span> {
        self.all().into_iter().filter(|span| span.name == name).collect()
    }

    pub fn all(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

fn read(body: Bytes) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let told = attributes(resource.resource.unwrap().attributes);
        assert_eq!(told["service.name"], "bikhook");
        let scopes = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(scopes.map(|span: v1::Span| Span {
            name: span.name,
            trace: hexadecimal(&span.trace_id),
            id: hexadecimal(&span.span_id),
            parent: hexadecimal(&span.parent_span_id),
            failed: span.status.is_some_and(|status| status.code() == v1::status::StatusCode::Error),
            attributes: attributes(span.attributes),
        }));
    }
    spans
}

fn attributes(attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|one| (one.key, text(one.value.unwrap().value.unwrap()))).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
