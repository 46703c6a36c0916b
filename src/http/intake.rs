//! [`Intake`]: the public side as a whole. It finds the source of a request, gives every answer a request id, and
//! counts every answer.
//!
//! Each source has one path without patterns, so a map finds it. With a router, a tenth of the time of a request would
//! be spent on finding the source.

use std::{
    collections::HashMap,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::Full;
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    auth::CredentialStatus,
    connection::{Peer, Site},
    problem::{Problem, RequestId, RequestIds, X_REQUEST_ID},
    receive::{other_method, post, probe},
    rules::Sources,
    settings::Settings,
    socket::RequestBody,
    source::{self, Shared, Source},
    tally::{RequestContext, Tally, Totals},
};
use crate::{journal::Journal, metrics::Metrics, trace};

/// The public side: all sources by their paths. Clones share the same state.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<IntakeState>,
}

struct IntakeState {
    ids: RequestIds,
    metrics: Arc<Metrics>,
    by_path: HashMap<String, Arc<Source>>,
    /// Counts requests that match no source, and incomplete or invalid requests that the connection itself answers.
    unmatched: Tally,
    last_totals: Mutex<Totals>,
}

impl Intake {
    /// Builds the public side from its settings.
    pub fn new(
        settings: &Settings,
        sources: &Sources,
        journal: Arc<dyn Journal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = Arc::new(Shared::new(settings, sources.0.len(), journal, &metrics));
        let sources = source::all(sources, &shared, &metrics);
        let inner = IntakeState {
            ids: RequestIds::new(),
            unmatched: Tally::new(&"".into(), &metrics),
            metrics,
            by_path: sources.into_iter().map(|source| (source.path.clone(), source)).collect(),
            last_totals: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Every credential with its last use, sorted by source and name.
    pub fn credentials(&self) -> Vec<CredentialStatus> {
        let mut all: Vec<_> = self.inner.by_path.values().flat_map(|source| source.credentials()).collect();
        all.sort_by(|a, b| (&a.source, &a.name).cmp(&(&b.source, &b.name)));
        all
    }

    /// The names of the sources that need no credential, sorted.
    pub fn open_sources(&self) -> Vec<Arc<str>> {
        let open = self.inner.by_path.values().filter(|source| source.is_open());
        let mut names: Vec<_> = open.map(|source| Arc::clone(&source.name)).collect();
        names.sort();
        names
    }

    /// Logs the counts since the last call, if there are any. To be called once a minute.
    pub fn log_summary(&self) {
        let now = self.inner.totals();
        let mut last_totals = self.inner.last_totals.lock().unwrap_or_else(PoisonError::into_inner);
        let Totals { accepted, duplicates, quarantined, refused } = now.since(*last_totals);
        if now != *last_totals {
            tracing::info!(accepted, duplicates, quarantined, refused, "events received");
        }
        *last_totals = now;
    }
}

impl IntakeState {
    /// The source of a path. A slash at the end is ignored, unless the paths of two sources differ only in that slash.
    fn source(&self, path: &str) -> Option<&Arc<Source>> {
        let other = || match path.strip_suffix('/') {
            Some(without) => self.by_path.get(without),
            None => self.by_path.get(&format!("{path}/")),
        };
        self.by_path.get(path).or_else(other)
    }

    /// Answers a request. `source` is the source of its path, if there is one.
    async fn respond(
        &self,
        source: Option<&Arc<Source>>,
        context: &RequestContext,
        peer: &Peer,
        request: Request<RequestBody>,
    ) -> Response<Full<Bytes>> {
        match (source, request.method()) {
            (Some(source), &Method::POST) => post(source, context, peer, request).await,
            (Some(_), &Method::GET | &Method::HEAD) => probe(),
            (Some(source), _) => other_method(source, context),
            (None, _) => {
                self.unmatched.refused(StatusCode::NOT_FOUND, context, &"no source has this path");
                Problem::new(StatusCode::NOT_FOUND, "no source has this path").into_response(Some(context.id))
            }
        }
    }

    fn totals(&self) -> Totals {
        self.by_path.values().fold(self.unmatched.totals(), |sum, source| sum.plus(source.tally.totals()))
    }
}

impl Site for Intake {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<RequestBody>, peer: &Peer) -> Response<Self::Body> {
        let started = Instant::now();
        let context = RequestContext { id: self.inner.ids.next(), peer: peer.address().ip() };
        let source = self.inner.source(request.uri().path());
        let tally = source.map_or(&self.inner.unmatched, |source| &source.tally);
        let span = trace::request(&context.id, tally.source(), request.method().as_str());
        let answer = self.inner.respond(source, &context, peer, request);
        // The panic's value is dropped, because it may quote the body of the request.
        let answered = AssertUnwindSafe(answer).catch_unwind().instrument(span.clone()).await;
        let mut response = answered.unwrap_or_else(|_panic| panicked(context.id));
        response.headers_mut().insert(X_REQUEST_ID, context.id.to_header());
        trace::answered(&span, response.status().as_u16());
        tally.answered(response.status(), context.id, started.elapsed());
        response
    }

    fn refused(&self, status: StatusCode, peer: SocketAddr) -> Option<RequestId> {
        let context = RequestContext { id: self.inner.ids.next(), peer: peer.ip() };
        self.inner.unmatched.counted(status);
        self.inner.unmatched.refused(status, &context, &"incomplete or invalid request");
        Some(context.id)
    }

    fn opened(&self) {
        self.inner.metrics.connections.inc();
    }

    fn closed(&self) {
        self.inner.metrics.connections.dec();
    }
}

/// Answers 500, because a fault of bikhook is never a 4xx.
fn panicked(id: RequestId) -> Response<Full<Bytes>> {
    tracing::error!(request_id = %id, "request handling panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response(Some(id))
}
