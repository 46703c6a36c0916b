//! `POST /reveal`: shows personal data to a browser for 15 minutes, or hides it. Showing it is logged and counted.

use axum::response::Response;

use super::{form::Posted, visit::set_cookie};

/// The fields are `wish` (`show` or `hide`) and `back`.
pub(super) async fn reveal(posted: Posted) -> Response {
    let shared = &posted.visit.shared;
    let cookie = if posted.fields.has("wish", "hide") {
        shared.csrf.hide()
    } else {
        // Log only the first segment of the path in `back`, because the rest may be an id that contains a phone number.
        let page =
            posted.fields.text("back").and_then(|back| back.split(['/', '?']).nth(1)).unwrap_or_default();
        let page = if page.chars().all(|letter| letter.is_ascii_lowercase()) { page } else { "?" };
        tracing::info!(
            user = shared.user(),
            page = format!("/{page}"),
            "personal data revealed on the page for 15 minutes"
        );
        shared.parts.metrics.reveals.inc();
        shared.csrf.show(&posted.visit.browser, posted.visit.now())
    };
    let mut response = posted.back();
    set_cookie(&mut response, cookie);
    response
}
