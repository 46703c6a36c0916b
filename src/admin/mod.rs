//! ASK: what an operator sees and asks of a running receiver, on a listener of its own.
//!
//! [`router`] serves health (`/healthz`, `/readyz`), `/metrics`, the JSON API of the command line under `/api/v1`, and the
//! page at `/`.
//! Every request passes the `fences` first: the admin side sees personal data, and a browser must not be made to ask
//! for it in an operator's name.

mod api;
mod chunks;
mod decision;
mod fault;
mod fences;
mod health;
pub mod narrow;
pub mod onward;
mod page;
mod passages;
mod question;
pub mod rows;
mod scrape;
mod settings;
mod tail;

pub use settings::{Credentials, Settings};

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    http::StatusCode,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    dispatch::{Desk, Replayer},
    http::{CredentialStatus, Problem},
    insight::Insight,
    journal::Journal,
    metrics::Metrics,
};
use fences::Fences;

/// What the admin side shows, and asks.
pub struct State {
    /// `[admin]`, with the address that is really listened on.
    pub settings: Settings,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// What each handler was told, in the order of the configuration.
    pub handlers: Vec<About>,
    /// The lanes.
    pub desk: Arc<Desk>,
    /// Where replays work.
    pub replayer: Arc<Replayer>,
    /// What became of the messages; `None` where insight is switched off, or could not be opened.
    pub insight: Option<Arc<Insight>>,
    /// The sources of the public side that ask for no credentials.
    pub open_sources: Vec<Arc<str>>,
    /// The credentials of the others, with their last uses.
    pub credentials: Arc<dyn Fn() -> Vec<CredentialStatus> + Send + Sync>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// True from the first moment of a stop.
    pub stopping: watch::Receiver<bool>,
}

/// What a handler was told by the configuration, in words.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub handler: Arc<str>,
    /// Which events it wants; `None` where it wants all.
    pub wants: Option<String>,
    /// What of them its destination is not to see; `None` where it sees all.
    pub masks: Option<String>,
    /// It is told of the dead letters of others, and of nothing else.
    pub dead_letters: bool,
}

/// What every route shares.
struct Shared {
    state: State,
    started: Instant,
    tails: Arc<Semaphore>,
    /// What makes the page's forms known again.
    seal: page::Seal,
    /// Which forms have started their replays.
    starts: page::Starts,
}

/// The admin side. It has no bounds of connections or heads of its own: those are the listener's.
pub fn router(state: State) -> Router {
    let fences = Arc::new(Fences::new(&state.settings));
    let shared = Arc::new(Shared {
        state,
        started: Instant::now(),
        tails: tail::places(),
        seal: page::Seal::new(),
        starts: page::Starts::new(),
    });
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(scrape::metrics))
        .nest("/api/v1", api::routes())
        .merge(page::routes())
        .fallback(page::nothing_here)
        .method_not_allowed_fallback(another_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(fences, fences::pass))
        .with_state(shared)
}

/// The router adds `Allow`.
async fn another_method() -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method").into_response(None)
}

/// The text of a panic may quote anything: it is not told.
fn panicked(_payload: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("an admin request panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this request failed inside bikhook")
        .into_response(None)
        .into_response()
}

/// The admin side was to listen where others can reach it, with nothing in the way.
#[derive(Debug, thiserror::Error)]
#[error("the admin side may listen on {listen} only with [admin] credentials: others can reach that address")]
pub struct Unguarded {
    listen: std::net::SocketAddr,
}

/// Whether the admin side may listen as configured.
///
/// # Errors
/// [`Unguarded`]: another address than loopback, and no credentials.
pub fn check_bind(settings: &Settings) -> Result<(), Unguarded> {
    if settings.listen.ip().is_loopback() || settings.credentials.is_some() {
        return Ok(());
    }
    Err(Unguarded { listen: settings.listen })
}
