//! The pages: the operator's view in a browser. They are HTML from the templates in `templates/` and are readable
//! without JavaScript. The static files are in the binary; a browser requests nothing from other hosts.
//!
//! A route handler takes a `PageVisit`: the shared state, the browser's identity, and the `Frame`. The frame holds the
//! fields of the URL, and the values that `base.html` shows on every page. The route handler reads the data and ends
//! with `visit.show(|frame| EventListPage { frame, … })`. The template of each page extends `base.html`. Every value is
//! escaped; the types in `format` that are HTML (`When`, `Tag`, `Percentage`) escape their content. Personal data is
//! shown only through the `Redaction` of the visit. A form that changes something contains `{{ frame.token }}`, and its
//! route handler takes a `Posted`. An error is an `ErrorPage`, which is rendered as a page.

mod assets;
mod confirm;
mod conversations;
mod credentials;
mod csrf;
mod dead;
mod error_page;
mod events;
mod form;
mod form_fields;
mod format;
mod frame;
mod handlers;
mod json;
mod links;
mod live;
mod message_text;
mod messages;
mod overview;
mod period;
mod person;
mod quarantine;
mod replays;
mod reveal;
mod search;
mod visit;

pub(super) use csrf::CsrfKey;
pub(super) use replays::Starts;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::ACCEPT},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{AdminState, error::RequestError};
use crate::http::Problem;
use error_page::{ErrorPage, PageResult};

pub(super) fn routes() -> Router<Arc<AdminState>> {
    Router::new()
        .route("/", get(overview::overview))
        .route("/search", get(search::search))
        .route("/messages/{id}", get(messages::one))
        .route("/conversations", get(conversations::list))
        .route("/conversations/{contact}", get(conversations::one))
        .route("/events", get(events::list))
        .route("/events/{seq}", get(events::one))
        .route("/events/{seq}/bytes", get(events::bytes))
        .route("/tail", get(live::page))
        .route("/tail/rows", get(live::rows))
        .route("/quarantine", get(quarantine::list))
        .route("/quarantine/{id}", get(quarantine::one))
        .route("/quarantine/{id}/bytes", get(quarantine::bytes))
        .route("/quarantine/{id}/retry", post(quarantine::retry))
        .route("/quarantine/{id}/drop", get(quarantine::ask).post(quarantine::drop))
        .route("/credentials", get(credentials::list))
        .route("/handlers", get(handlers::list))
        .route("/handlers/{name}", get(handlers::one))
        .route("/handlers/{name}/pause", post(handlers::pause))
        .route("/handlers/{name}/resume", post(handlers::resume))
        .route("/handlers/{name}/retry", post(handlers::retry))
        .route("/handlers/{name}/believe", post(handlers::believe))
        .route("/handlers/{name}/replay", get(handlers::replay_form).post(replays::count))
        .route("/replays", get(replays::list).post(replays::start))
        .route("/replays/{id}/pause", post(replays::pause))
        .route("/replays/{id}/resume", post(replays::resume))
        .route("/replays/{id}/cancel", get(replays::ask_to_cancel).post(replays::cancel))
        .route("/dead", get(dead::list))
        .route("/dead/retry", get(dead::to_the_list).post(dead::retry_matching))
        .route("/dead/count", get(dead::to_the_list).post(dead::count_matching))
        .route("/dead/{id}", get(dead::one))
        .route("/dead/{id}/retry", post(dead::retry))
        .route("/dead/{id}/drop", get(dead::ask_to_drop).post(dead::drop))
        .route("/reveal", post(reveal::reveal))
        .route("/assets/{digest}/{name}", get(asset))
        .layer(middleware::from_fn(guarded))
}

/// `GET /assets/{digest}/{name}`
async fn asset(Path((digest, name)): Path<(String, String)>) -> PageResult {
    Ok(assets::file(&digest, &name)?)
}

/// The answer to an unknown path: a page for a browser, a problem document for a program.
pub(super) async fn not_found(headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        return secured(
            ErrorPage::from(RequestError::NotFound("page at this address".to_owned())).into_response(),
        );
    }
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path").into_response(None)
}

async fn guarded(request: Request, next: Next) -> Response {
    secured(next.run(request).await)
}

/// The security headers. Script that is injected into a page does not run, injected markup loads nothing from other
/// hosts, and no other site can frame the page. The referrer policy is not `no-referrer`, because browsers would then
/// send `Origin: null` with the page's forms, and the check of `Origin` in `admin::fences` would reject the forms.
const SECURITY_HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

fn secured(mut response: Response) -> Response {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
