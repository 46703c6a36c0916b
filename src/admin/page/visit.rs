//! The request of a browser for a page.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{
        HeaderValue,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE, SET_COOKIE},
        request::Parts,
    },
    response::{Html, IntoResponse, Response},
};

use super::{
    super::redaction::Redaction,
    csrf::{self, Browser},
    error_page::{ErrorPage, PageResult},
    form_fields::FormFields,
    frame::{Frame, Reveal},
};
use crate::{
    admin::{AdminState, wire::Health},
    clock::Timestamp,
    insight::Insight,
    journal::Journal,
};

/// A browser's request for a page.
pub(super) struct PageVisit {
    pub(super) shared: Arc<AdminState>,
    pub(super) frame: Frame,
    pub(super) browser: Browser,
}

impl PageVisit {
    pub(super) fn journal(&self) -> &dyn Journal {
        &*self.shared.parts.journal
    }

    /// Insight: the outcomes of messages.
    ///
    /// # Errors
    /// Returns [`ErrorPage::InsightOff`] if insight is disabled or could not be opened.
    pub(super) fn insight(&self) -> Result<&Insight, ErrorPage> {
        self.shared.parts.insight.as_deref().ok_or(ErrorPage::InsightOff)
    }

    /// The form fields in the URL.
    pub(super) fn form(&self) -> &FormFields {
        &self.frame.form
    }

    pub(super) fn now(&self) -> Timestamp {
        self.journal().clock().now()
    }

    /// How this page shows personal data.
    pub(super) fn redaction(&self) -> Redaction {
        self.frame.redaction()
    }

    /// Checks that personal data is shown, for a page that cannot mask it.
    pub(super) fn check_revealed(&self) -> Result<(), ErrorPage> {
        if self.redaction().is_off { Ok(()) } else { Err(ErrorPage::Redacted) }
    }

    /// Renders the page that `make` builds from the frame. If the browser's name is new, the response sets the cookie
    /// with the name. If the page shows a notice, the response deletes the cookie with the notice.
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

/// Raw bytes as a file download.
pub(super) fn download(name: &str, bytes: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)];
    (headers, bytes).into_response()
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
            at: now,
            token: shared.csrf.token(&browser),
            reveal: Some(Reveal { minutes_left: until.map(|until| minutes(until, now)) }),
            notice: shared.csrf.noticed(&browser, &parts.headers),
            trouble: trouble(shared),
            form: FormFields::of(&parts.uri),
        };
        Ok(Self { shared: Arc::clone(shared), frame, browser })
    }
}

/// The remaining minutes, rounded up.
fn minutes(until: Timestamp, now: Timestamp) -> i64 {
    (until.ms_since(now) + 59_999) / 60_000
}

fn trouble(shared: &AdminState) -> Option<String> {
    let Health { state, held_by, .. } = Health::of(shared);
    let why = match (&*state, held_by) {
        ("ready", _) => return None,
        ("full", Some(handler)) => {
            return Some(format!(
                "The disk is full, and old events cannot be deleted: handler {handler} has not delivered them yet."
            ));
        }
        ("full", None) => "The disk is full: senders get 503 until there is free space.",
        ("stalled", _) => "The disk does not respond: senders get 503 until it does.",
        ("stopping", _) => "This receiver is stopping.",
        ("closed", _) => "The journal is closed.",
        _ => "The journal failed: this process exits and must be restarted. See the log for the error.",
    };
    Some(why.to_owned())
}
