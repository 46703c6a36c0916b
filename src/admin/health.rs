//! `/healthz` and `/readyz`, for supervisors and load balancers. Neither needs credentials.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::{AdminState, wire::Health};
use crate::journal;

/// `GET /healthz`: fails only if a restart may help. A full or stalled disk does not make it fail.
pub(super) async fn alive(State(shared): State<Arc<AdminState>>) -> Response {
    let health = Health::of(&shared);
    let status = if health.state == "failed" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, health.line()).into_response()
}

/// `GET /readyz`: succeeds if the receiver can store events and is not stopping.
pub(super) async fn ready(State(shared): State<Arc<AdminState>>) -> Response {
    let health = Health::of(&shared);
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.line()).into_response()
}

impl Health {
    pub(super) fn of(shared: &AdminState) -> Self {
        let (state, held_by) = match &*shared.parts.journal.state().borrow() {
            journal::JournalState::Failed(_) => ("failed", None),
            _ if *shared.parts.stopping.borrow() => ("stopping", None),
            journal::JournalState::Ready => ("ready", None),
            journal::JournalState::Stalled => ("stalled", None),
            journal::JournalState::Full { held_by } => ("full", held_by.clone()),
            journal::JournalState::Closed => ("closed", None),
        };
        Self { ready: state == "ready", state: state.into(), held_by }
    }

    /// One line of JSON. It ends with a newline, because people read it with curl.
    fn line(&self) -> ([(HeaderName, &'static str); 1], String) {
        // Serialization cannot fail, because the struct has no map and no fallible impl.
        let body = serde_json::to_string(self).unwrap_or_default();
        ([(CONTENT_TYPE, "application/json")], body + "\n")
    }
}
