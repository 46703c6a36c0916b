//! The frame around every page: its navigation, its notices, and how it shows personal data.

use super::{super::redaction::Redaction, assets, csrf::Notice, form_fields::FormFields, format::When};
use crate::clock::Timestamp;

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

/// The frame around a page. Templates use it as `frame`.
#[derive(Default)]
pub(super) struct Frame {
    /// The requested path with its query. A form on the page returns to it.
    pub(super) back: String,
    /// When the page was made.
    pub(super) at: Timestamp,
    /// The CSRF token for the forms on the page.
    pub(super) token: String,
    /// Whether personal data is shown; `None` on an error page.
    pub(super) reveal: Option<Reveal>,
    /// The result of the previous form, if there was one.
    pub(super) notice: Option<Notice>,
    /// Why events cannot be stored now; `None` if they can.
    pub(super) trouble: Option<String>,
    /// The fields of the URL, with which a form of the page is filled in.
    pub(super) form: FormFields,
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

    /// When the page was made. To refresh a part of a page, the browser requests the page again and replaces only that
    /// part. The part shows this time, so that an operator notices if the part is old.
    pub(super) fn as_of(&self) -> When {
        self.at.into()
    }

    /// The URL of a static file.
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }

    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// How this page shows personal data.
    pub(super) fn redaction(&self) -> Redaction {
        Redaction { is_off: self.reveal.as_ref().is_some_and(|reveal| reveal.minutes_left.is_some()) }
    }
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
