//! The frame around every page, and the request of a browser.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header::SET_COOKIE, request::Parts},
    response::{Html, IntoResponse, Response},
};

use super::{
    asked::Asked,
    assets,
    seal::{self, Browser, Notice},
    sorry::Sorry,
    veil::Veil,
};
use crate::{
    admin::{Shared, wire::Health},
    clock::Timestamp,
};

/// The sections of the navigation: path and label.
const SECTIONS: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/conversations", "Conversations"),
    ("/search", "Search"),
    ("/events", "Events"),
    ("/tail", "Live"),
    ("/handlers", "Handlers"),
    ("/dead", "Dead letters"),
    ("/quarantine", "Quarantine"),
    ("/credentials", "Credentials"),
];

/// A browser's request for a page.
pub(super) struct Visit {
    pub(super) frame: Frame,
    /// The fields of the URL.
    pub(super) asked: Asked,
    pub(super) browser: Browser,
}

/// The frame around a page. Templates use it as `frame`.
#[derive(Default)]
pub(super) struct Frame {
    /// The requested path with its query, to which a form returns.
    pub(super) back: String,
    /// The CSRF token for the forms on the page.
    pub(super) token: String,
    /// Whether personal data is shown; `None` on an error page.
    pub(super) reveal: Option<Reveal>,
    /// The result of the form submitted before, if there was one.
    pub(super) notice: Option<Notice>,
    /// Why events cannot be stored now; `None` if they can.
    pub(super) trouble: Option<String>,
}

/// Whether personal data is shown, and for how long.
pub(super) struct Reveal {
    /// Minutes for which personal data stays visible; `None` if it is masked.
    pub(super) minutes_left: Option<i64>,
}

impl Frame {
    /// The sections of the navigation: path and label.
    pub(super) fn sections(&self) -> &'static [(&'static str, &'static str)] {
        SECTIONS
    }

    /// Returns whether this page belongs to the section.
    pub(super) fn is_in(&self, section: &str) -> bool {
        let path = self.back.split('?').next().unwrap_or_default();
        // The pages of replays belong to the section of handlers.
        let path = if path == "/replays" || path.starts_with("/replays/") { "/handlers" } else { path };
        let below = path.strip_prefix(section);
        below.is_some_and(|below| below.is_empty() || section != "/" && below.starts_with('/'))
    }

    /// The path of a section, or `None` if no section has this path.
    pub(super) fn section(&self, path: &str) -> Option<&'static str> {
        SECTIONS.iter().map(|(section, _)| *section).find(|section| *section == path)
    }

    /// The URL of a static file.
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }

    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// How this page shows personal data.
    pub(super) fn veil(&self) -> Veil {
        Veil { lifted: self.reveal.as_ref().is_some_and(|reveal| reveal.minutes_left.is_some()) }
    }
}

impl Visit {
    /// How this page shows personal data.
    pub(super) fn veil(&self) -> Veil {
        self.frame.veil()
    }

    /// Renders the page that `make` builds with the frame, and sets the cookies.
    pub(super) fn show<T: Template>(self, make: impl FnOnce(Frame) -> T) -> Result<Response, Sorry> {
        let cookies =
            [self.browser.cookie(), self.frame.notice.as_ref().and_then(|_shown| seal::forgotten())];
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

impl FromRequestParts<Arc<Shared>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Infallible> {
        let browser = Browser::of(&parts.headers);
        let now = shared.state.journal.clock().now();
        let until = shared.seal.shown_until(&browser, &parts.headers, now);
        let frame = Frame {
            back: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            token: shared.seal.token(&browser),
            reveal: Some(Reveal { minutes_left: until.map(|until| minutes(until, now)) }),
            notice: shared.seal.noticed(&browser, &parts.headers),
            trouble: trouble(shared),
        };
        let asked = Asked::of(&parts.uri);
        Ok(Self { frame, asked, browser })
    }
}

/// The remaining minutes, rounded up.
fn minutes(until: Timestamp, now: Timestamp) -> i64 {
    (until.ms_since(now) + 59_999) / 60_000
}

fn trouble(shared: &Shared) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_only_in_its_own_section() {
        let is_in =
            |path: &str, section: &str| Frame { back: path.to_owned(), ..Frame::default() }.is_in(section);
        assert!(is_in("/?range=7d", "/"));
        assert!(!is_in("/events", "/"));
        assert!(is_in("/events/7?x=/", "/events"));
        assert!(!is_in("/eventsx", "/events"));
        assert!(is_in("/replays/1/cancel", "/handlers"));
    }
}
