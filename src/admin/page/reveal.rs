//! `POST /reveal`: shows personal data to a browser for a quarter of an hour, on record.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{form::Posted, frame::set_cookie};
use crate::admin::Shared;

/// Fields `wish` (`show` or `hide`) and `back`.
pub(super) async fn reveal(State(shared): State<Arc<Shared>>, posted: Posted) -> Response {
    let browser = &posted.visit.browser;
    let cookie = if posted.fields.text("wish") == Some("hide") {
        shared.seal.hide()
    } else {
        // Of the path only its first part: what follows may be an id that holds a phone.
        let page =
            posted.fields.text("back").and_then(|back| back.split(['/', '?']).nth(1)).unwrap_or_default();
        let page = if page.chars().all(|letter| letter.is_ascii_lowercase()) { page } else { "?" };
        tracing::info!(
            user = shared.user(),
            page = format!("/{page}"),
            "personal data is shown on the page for 15 minutes"
        );
        shared.state.metrics.reveals.inc();
        shared.seal.show(browser, shared.state.journal.clock().now())
    };
    let mut response = posted.back();
    set_cookie(&mut response, cookie);
    response
}
