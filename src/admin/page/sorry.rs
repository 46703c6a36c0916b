//! Errors as pages for a browser.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::frame::Frame;
use crate::{admin::fault::Fault, insight};

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Sorry {
    /// An error that the API would report too.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Insight failed. Its error text may quote a row, so only the error class is shown.
    #[error("{}", .0.class())]
    Insight(#[from] insight::Error),
    /// The page needs insight, which is disabled or could not be opened.
    #[error(
        "this page needs insight, which is disabled or could not be opened: set enabled = true under [insight], or see the log for the error"
    )]
    InsightOff,
    /// The form has no valid token of this browser.
    #[error(
        "this form has expired, or it does not belong to this browser: go back, reload the page, and submit the form again"
    )]
    Token,
    /// The request is only allowed while personal data is shown.
    #[error("personal data is hidden: press “Show personal data” first")]
    Veiled,
    /// The template failed to render.
    #[error("the page could not be rendered")]
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
            StatusCode::BAD_REQUEST => "Invalid request",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            status if status.is_server_error() => "Request failed",
            _ => "Request rejected",
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
            tracing::warn!(error = %self, "page request failed");
        }
        let page = Page { frame: Frame::default(), title: self.title(), what: &what };
        // If even the error page cannot be rendered, send its message as plain text.
        page.render().map_or_else(
            |_failed| (status, what.clone()).into_response(),
            |page| (status, Html(page)).into_response(),
        )
    }
}
