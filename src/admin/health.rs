//! `/healthz` and `/readyz`: for supervisors and load balancers, without credentials.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::Shared;
use crate::journal;

/// Alive: it answers, and a restart would not help. A full disk is alive, and one that does not answer.
pub(super) async fn alive(State(shared): State<Arc<Shared>>) -> Response {
    let health = Health::of(&shared);
    let status = if health.state == "failed" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, health.line()).into_response()
}

/// Ready: it can store, and is not about to stop.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let health = Health::of(&shared);
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.line()).into_response()
}

/// How it does. Not why in detail: no credentials are needed to see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    pub(super) ready: bool,
    /// `ready`, `full`, `stalled`, `failed`, `closed` or `stopping`.
    pub(super) state: &'static str,
    /// The handler whose undelivered events keep a full journal from making room.
    pub(super) held_by: Option<Arc<str>>,
}

impl Health {
    pub(super) fn of(shared: &Shared) -> Self {
        let (state, held_by) = match &*shared.state.journal.state().borrow() {
            journal::State::Failed(_) => ("failed", None),
            _ if *shared.state.stopping.borrow() => ("stopping", None),
            journal::State::Ready => ("ready", None),
            journal::State::Stalled => ("stalled", None),
            journal::State::Full { held_by } => ("full", held_by.clone()),
            journal::State::Closed => ("closed", None),
        };
        Self { ready: state == "ready", state, held_by }
    }

    /// As a line: people look at it with curl.
    fn line(&self) -> ([(HeaderName, &'static str); 1], String) {
        // Only a map with odd keys or an impl that fails can fail here, and this is neither.
        let body = serde_json::to_string(self).unwrap_or_default();
        ([(CONTENT_TYPE, "application/json")], body + "\n")
    }
}
