//! The admin side: the operator's view of a running receiver, on a listener of its own.
//!
//! [`router`] serves health (`/healthz`, `/readyz`), `/metrics`, the JSON API under `/api/v1`, which the command line
//! uses, and the page at `/`. All requests except those that read the health must first pass the checks in `fences`,
//! because the admin side shows personal data, and a foreign web page must not be able to use an operator's browser to
//! read or change anything.

mod api;
mod chunks;
mod decision;
mod error;
mod fences;
pub mod forward_feed;
mod handler_progress;
mod health;
mod message_content;
mod page;
mod params;
mod redaction;
mod scrape;
pub mod selection;
mod settings;
mod tail;
pub(crate) mod wire;

pub use settings::{Credentials, Settings};

use std::{sync::Arc, time::Instant};

use axum::{Router, http::StatusCode, middleware::from_fn_with_state, response::Response, routing::get};
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    dispatch::{DispatchControl, Replayer},
    http::{CredentialStatus, Problem},
    insight::Insight,
    journal::Journal,
    metrics::Metrics,
};
use fences::Fences;

/// The parts of the receiver that the admin side shows and controls.
pub struct ReceiverParts {
    /// `[admin]`, with the actual listen address.
    pub settings: Settings,
    /// The journal with the stored events.
    pub journal: Arc<dyn Journal>,
    /// The configuration of each handler in words, in the order of the configuration.
    pub handlers: Vec<HandlerDescription>,
    /// The lanes of the configured handlers.
    pub desk: Arc<DispatchControl>,
    /// Runs the replays of stored events.
    pub replayer: Arc<Replayer>,
    /// Insight into messages and customers; `None` if insight is disabled or could not be opened.
    pub insight: Option<Arc<Insight>>,
    /// Sources of the public side that require no credentials.
    pub open_sources: Vec<Arc<str>>,
    /// Credentials of the other sources, with their last uses.
    pub credentials: Arc<dyn Fn() -> Vec<CredentialStatus> + Send + Sync>,
    pub metrics: Arc<Metrics>,
    /// True as soon as a shutdown begins.
    pub stopping: watch::Receiver<bool>,
}

/// The configuration of a handler in words.
#[derive(Clone, Debug)]
pub struct HandlerDescription {
    pub handler: Arc<str>,
    /// The handler's filter as configured, in words; `None` if it has none.
    pub wants: Option<String>,
    /// The parts of events that are masked for the handler's destination; `None` if nothing is masked.
    pub masks: Option<String>,
    /// True for a handler that receives only dead-letter notices of other handlers.
    pub dead_letters: bool,
}

/// The state that all routes share.
struct AdminState {
    parts: ReceiverParts,
    started: Instant,
    /// The permits for tails (live streams of events), one per open tail.
    tails: Arc<Semaphore>,
    /// Signs the page's forms and notices, and the permission to see personal data.
    csrf: page::CsrfKey,
    /// The most recent forms that have started a replay.
    starts: page::Starts,
}

/// Builds the router of the admin side. The listener, not the router, limits connections and request heads.
pub fn router(parts: ReceiverParts) -> Router {
    let fences = Arc::new(Fences::new(&parts.settings));
    let shared = Arc::new(AdminState {
        parts,
        started: Instant::now(),
        tails: Arc::new(Semaphore::new(tail::TAILS)),
        csrf: page::CsrfKey::new(),
        starts: page::Starts::new(),
    });
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(scrape::metrics))
        .nest("/api/v1", api::router())
        .merge(page::routes())
        .fallback(page::not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(fences, fences::pass))
        .with_state(shared)
}

/// The answer to a method that the path does not support. The router adds `Allow`.
async fn method_not_allowed() -> Response {
    let detail = "method not allowed: the Allow header lists the methods of this path";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response(None)
}

/// The answer after a panic. The panic's text may quote personal data, so it is not shown.
fn panicked(_payload: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("admin request panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error in bikhook: the log says more")
        .into_response(None)
}
