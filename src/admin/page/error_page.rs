//! Errors as pages for a browser.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::frame::Frame;
use crate::{admin::error::RequestError, insight};

/// A page, or why it cannot be shown.
pub(super) type PageResult = Result<Response, ErrorPage>;

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ErrorPage {
    /// An error that the API would report too.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Insight failed. Its error text may quote a row, so only the error class is shown.
    #[error("insight: {}", .0.class())]
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
    Redacted,
    /// The template failed to render.
    #[error("the page could not be rendered")]
    Template(#[from] askama::Error),
}

impl From<crate::journal::Error> for ErrorPage {
    fn from(error: crate::journal::Error) -> Self {
        Self::Request(error.into())
    }
}

impl ErrorPage {
    fn status(&self) -> StatusCode {
        match self {
            Self::Request(error) => error.status(),
            Self::Insight(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::InsightOff => StatusCode::NOT_FOUND,
            Self::Token | Self::Redacted => StatusCode::FORBIDDEN,
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
struct ErrorTemplate<'a> {
    frame: Frame,
    title: &'a str,
    what: &'a str,
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let (status, what) = (self.status(), self.to_string());
        if status.is_server_error() {
            tracing::warn!(error = %self, "page request failed");
        }
        let page = ErrorTemplate { frame: Frame::default(), title: self.title(), what: &what };
        // If even the error page cannot be rendered, send its error text as plain text.
        page.render().map_or_else(
            |_failed| (status, what.clone()).into_response(),
            |page| (status, Html(page)).into_response(),
        )
    }
}
