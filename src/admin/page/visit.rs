//! The request of a browser for a page.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header::SET_COOKIE, request::Parts},
    response::{Html, IntoResponse, Response},
};

use super::{
    csrf::{self, Browser},
    error_page::PageResult,
    form_fields::FormFields,
    frame::{Frame, Reveal},
    redaction::Redaction,
};
use crate::{
    admin::{AdminState, wire::Health},
    clock::Timestamp,
};

/// A browser's request for a page.
pub(super) struct PageVisit {
    pub(super) frame: Frame,
    /// The fields of the URL.
    pub(super) form: FormFields,
    pub(super) browser: Browser,
}

impl PageVisit {
    /// How this page shows personal data.
    pub(super) fn redaction(&self) -> Redaction {
        self.frame.redaction()
    }

    /// Renders the page that `make` builds with the frame, and sets the cookies.
    pub(super) fn show<T: Template>(self, make: impl FnOnce(Frame) -> T) -> PageResult {
        let cookies =
            [self.browser.cookie(), self.frame.notice.as_ref().and_then(|_shown| csrf::expired_notice())];
        let mut response = Html(make(self.frame).render()?).into_response();
        for cookie in cookies {
            set_cookie(&mut response, cookie);
        }
        Ok(response)
    }
}

/// Adds a cookie to the response, if there is one.
pub(super) fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

impl FromRequestParts<Arc<AdminState>> for PageVisit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<AdminState>) -> Result<Self, Infallible> {
        let browser = Browser::of(&parts.headers);
        let now = shared.parts.journal.clock().now();
        let until = shared.csrf.shown_until(&browser, &parts.headers, now);
        let frame = Frame {
            back: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            token: shared.csrf.token(&browser),
            reveal: Some(Reveal { minutes_left: until.map(|until| minutes(until, now)) }),
            notice: shared.csrf.noticed(&browser, &parts.headers),
            trouble: trouble(shared),
        };
        let form = FormFields::of(&parts.uri);
        Ok(Self { frame, form, browser })
    }
}

/// The remaining minutes, rounded up.
fn minutes(until: Timestamp, now: Timestamp) -> i64 {
    (until.ms_since(now) + 59_999) / 60_000
}

fn trouble(shared: &AdminState) -> Option<String> {
    let health = Health::of(shared);
    let why = match &*health.state {
        "ready" => return None,
        "full" => match health.held_by {
            Some(handler) => {
                return Some(format!(
                    "The disk is full, and old events cannot be deleted: handler {handler} has not delivered them yet."
                ));
            }
            None => "The disk is full: senders get 503 until there is free space.",
        },
        "stalled" => "The disk does not respond: senders get 503 until it does.",
        "stopping" => "This receiver is stopping.",
        "closed" => "The journal is closed.",
        _ => "The journal failed: this process exits and must be restarted. See the log for the error.",
    };
    Some(why.to_owned())
}
