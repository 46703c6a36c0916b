//! Errors of admin requests, and their HTTP answers.

use std::borrow::Cow;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    http::Problem,
    insight,
    journal::{AppendError, Error},
};

/// Why an admin request fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// A parameter, a header, a form field or a member of the body is invalid.
    #[error("{name}: {what}")]
    Parameter {
        /// The name of the invalid parameter, header, field or member.
        name: Cow<'static, str>,
        what: Cow<'static, str>,
    },
    /// The body could not be read to its end, or is not the JSON or the form that this path expects.
    #[error("the body: {0}")]
    Body(String),
    /// The body exceeds the limit for admin requests.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The requested object does not exist.
    #[error("there is no {0}")]
    NotFound(String),
    /// The journal failed. Its error text may quote a row, so only the error class is shown.
    #[error("{}", .0.class())]
    Journal(#[from] Error),
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Each lane of the handler has ended, because the process stops or because of an error.
    #[error("the lanes of handler {0} have ended: the log says why")]
    LanesEnded(String),
    /// Insight is disabled, or its file could not be opened.
    #[error(
        "insight is disabled, or its file could not be opened: set enabled = true under [insight], or look for the error in the log"
    )]
    NoInsight,
    /// Insight failed. Its error text may quote a row, so only the error class is shown.
    #[error("insight: {}", .0.class())]
    Insight(#[from] insight::Error),
    /// The maximum number of tails is already open.
    #[error("the maximum of {0} open tails is reached: close one, or try again later")]
    TooManyTails(usize),
    /// An error in bikhook, not in the request: a task panicked, an answer could not be serialized, or a stored value
    /// is damaged.
    #[error("internal error in bikhook: the log says more")]
    Internal,
}

impl RequestError {
    pub(super) fn parameter(name: impl Into<Cow<'static, str>>, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Parameter { name: name.into(), what: what.into() }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Parameter { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Insight(insight::Error::Journal(error)) | Self::Journal(error) => of_journal(error),
            Self::NotFound(_) | Self::NoInsight => StatusCode::NOT_FOUND,
            Self::Insight(insight::Error::File(_)) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Insight(insight::Error::Stopped)
            | Self::Append(_)
            | Self::LanesEnded(_)
            | Self::TooManyTails(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

const fn of_journal(error: &Error) -> StatusCode {
    match error {
        Error::NoLane(_) => StatusCode::NOT_FOUND,
        Error::Read(_) | Error::Row { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Error::Failed | Error::Full | Error::Stopped => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(error = %self, "admin request failed");
        }
        Problem::new(status, self.to_string()).into_response(None)
    }
}
