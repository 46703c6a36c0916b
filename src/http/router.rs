//! [`Intake`]: the public side as a whole. Gives every answer a request id and counts it.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, StatusCode},
    routing,
};
use bytes::Bytes;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_http::{
    body::UnsyncBoxBody,
    catch_panic::{CatchPanic, ResponseForPanic},
};
use tracing::Instrument;

use super::{
    auth::CredentialStatus,
    connection::Site,
    problem::{Problem, RequestId, RequestIds, X_REQUEST_ID},
    receive::{other_method, post, probe},
    rules::{self, Unservable},
    settings::{Settings, SourceSettings},
    source::{self, Shared, Source},
    tally::{Tally, Totals, Visit},
};
use crate::{journal::Journal, metrics::Metrics, trace};

/// The public side: all sources and the routes to them. Clones share the same state.
#[derive(Clone)]
pub struct Intake {
    router: Router,
    inner: Arc<Inner>,
}

struct Inner {
    ids: RequestIds,
    metrics: Arc<Metrics>,
    by_path: HashMap<String, Arc<Source>>,
    /// Counts requests that match no source.
    nowhere: Tally,
    summed_up: Mutex<Totals>,
}

impl Intake {
    /// Builds the public side from its settings.
    ///
    /// # Errors
    /// Returns [`Unservable`] for the first setting that cannot be served.
    pub fn new(
        settings: &Settings,
        sources: &BTreeMap<String, SourceSettings>,
        journal: Arc<dyn Journal>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Unservable> {
        let by_name = sources.iter().map(|(name, source)| (name.as_str(), source));
        let wrong = [rules::check_http(settings), rules::check_sources(by_name)].concat();
        if let Some(wrong) = wrong.into_iter().next() {
            return Err(wrong);
        }
        let shared = Arc::new(Shared::new(settings, sources.len(), journal, &metrics));
        let sources = source::all(sources, &shared, &metrics);
        let inner = Arc::new(Inner {
            ids: RequestIds::new(),
            nowhere: Tally::new(&"".into(), &metrics),
            metrics,
            by_path: sources.iter().map(|source| (source.path.clone(), Arc::clone(source))).collect(),
            summed_up: Mutex::default(),
        });
        Ok(Self { router: router(&sources, &inner), inner })
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

    /// Logs the totals since the last call, if anything changed. To be called once a minute.
    pub fn log_summary(&self) {
        let now = self.inner.totals();
        let mut summed_up = self.inner.summed_up.lock().unwrap_or_else(PoisonError::into_inner);
        let Totals { accepted, duplicates, quarantined, refused } = now.since(*summed_up);
        if now != *summed_up {
            tracing::info!(accepted, duplicates, quarantined, refused, "received");
        }
        *summed_up = now;
    }
}

impl Inner {
    fn tally(&self, path: &str) -> &Tally {
        self.by_path.get(path).map_or(&self.nowhere, |source| &source.tally)
    }

    fn totals(&self) -> Totals {
        self.by_path.values().fold(self.nowhere.totals(), |sum, source| sum.plus(source.tally.totals()))
    }
}

fn router(sources: &[Arc<Source>], inner: &Arc<Inner>) -> Router {
    let inner = Arc::clone(inner);
    // A path is literal here, even if it begins with `:` or `*`. `rules` rejects the braces of patterns.
    let empty = Router::new().without_v07_checks();
    let routed = sources.iter().fold(empty, |router, source| {
        let methods = routing::post(post).get(probe).fallback(other_method);
        router.route(&source.path, methods.with_state(Arc::clone(source)))
    });
    routed.fallback(async move |request: Request| {
        let visit = Visit::of(&request);
        inner.nowhere.refused(StatusCode::NOT_FOUND, &visit, &"no source has this path");
        Problem::new(StatusCode::NOT_FOUND, "nothing is here").into_response(visit.id)
    })
}

impl Site for Intake {
    type Body = UnsyncBoxBody<Bytes, tower::BoxError>;

    async fn answer(&self, mut request: axum::http::Request<Body>) -> Response<Self::Body> {
        let started = Instant::now();
        let id = self.inner.ids.next();
        let tally = self.inner.tally(request.uri().path());
        request.extensions_mut().insert(id);
        let span = trace::request(&id, tally.source(), request.method().as_str());
        let answer = CatchPanic::custom(self.router.clone(), OnPanic { id }).oneshot(request);
        let answered = answer.instrument(span.clone()).await;
        let mut response = answered.unwrap_or_else(|never: Infallible| match never {});
        response.headers_mut().insert(X_REQUEST_ID, id.to_header());
        trace::answered(&span, response.status().as_u16());
        tally.answered(response.status(), id, started.elapsed());
        response
    }

    fn refused(&self, status: StatusCode, peer: SocketAddr) -> Option<RequestId> {
        let id = self.inner.ids.next();
        self.inner.nowhere.counted(status);
        let visit = Visit { id: Some(id), peer: Some(peer.ip()) };
        self.inner.nowhere.refused(status, &visit, &"it was no whole request");
        Some(id)
    }

    fn opened(&self) {
        self.inner.metrics.connections.inc();
    }

    fn closed(&self) {
        self.inner.metrics.connections.dec();
    }
}

/// Answers 500 when a handler panics: a fault of bikhook is never a 4xx.
#[derive(Clone)]
struct OnPanic {
    id: RequestId,
}

impl ResponseForPanic for OnPanic {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _may_quote_the_payload: Box<dyn Any + Send>) -> Response<Body> {
        tracing::error!(request_id = %self.id, "a request made its handler panic");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the receiver")
            .into_response(Some(self.id))
    }
}
