//! What a browser is told when there is no page for it.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::frame::Frame;
use crate::{admin::fault::Fault, insight};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum Sorry {
    /// As the API would say it.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Insight could not say. Its text may quote a row: only its class is told.
    #[error("{}", .0.class())]
    Insight(#[from] insight::Error),
    /// What was asked for is learnt by insight, which is off.
    #[error(
        "this page shows what insight learns, and it is switched off: set enabled = true under [insight]; or its file could not be opened, and the log says why"
    )]
    InsightOff,
    /// A form without the token of this browser.
    #[error(
        "this form is out of date, or was not made by this page: go back, load the page again, and repeat what you did"
    )]
    Token,
    /// Only with personal data shown.
    #[error("this is personal data: press “Show personal data” first")]
    Veiled,
    /// The template failed.
    #[error("this page could not be written")]
    Template(#[from] askama::Error),
}

impl From<crate::journal::Error> for Sorry {
    fn from(error: crate::journal::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl Sorry {
    fn status(&self) -> StatusCode {
        match self {
            Self::Fault(fault) => fault.status(),
            Self::Insight(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::InsightOff => StatusCode::NOT_FOUND,
            Self::Token | Self::Veiled => StatusCode::FORBIDDEN,
            Self::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "That cannot be asked so",
            StatusCode::NOT_FOUND => "Nothing here",
            StatusCode::FORBIDDEN => "Not like this",
            status if status.is_server_error() => "That did not work",
            _ => "That was refused",
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    frame: Frame,
    title: &'a str,
    what: &'a str,
}

impl IntoResponse for Sorry {
    fn into_response(self) -> Response {
        let (status, what) = (self.status(), self.to_string());
        if status.is_server_error() {
            tracing::warn!(error = %self, "a page could not be shown");
        }
        let page = Page { frame: Frame::default(), title: self.title(), what: &what };
        // Where even this page cannot be written, its sentence is told.
        page.render().map_or_else(
            |_failed| (status, what.clone()).into_response(),
            |page| (status, Html(page)).into_response(),
        )
    }
}
