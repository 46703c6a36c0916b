//! What an admin request is told when it cannot be answered.

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

/// Why an admin request is not answered as it wished.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// A parameter or a member of the body is wrong.
    #[error("{name}: {what}")]
    Parameter {
        /// Its name.
        name: Cow<'static, str>,
        /// What is wrong with it.
        what: Cow<'static, str>,
    },
    /// The body is not the JSON that this path takes.
    #[error("the body: {0}")]
    Body(String),
    /// The body is larger than any question of an operator.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// There is no such thing.
    #[error("there is no {0}")]
    Nothing(String),
    /// The journal could not do it. Its text may quote a row: only its class is told.
    #[error("{}", .0.class())]
    Journal(#[from] Error),
    /// The journal could not store.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Insight is switched off, or could not be opened.
    #[error(
        "insight is switched off: set enabled = true under [insight]; or its file could not be opened, and the log says why"
    )]
    NoInsight,
    /// Insight could not do it. Its text may quote a row, too.
    #[error("insight: {}", .0.class())]
    Insight(#[from] insight::Error),
    /// As many follow the events as may at once.
    #[error("{limit} follow the events already, and no more may at once")]
    Crowded {
        /// How many may.
        limit: usize,
    },
    /// A part of the work panicked.
    #[error("this request failed inside bikhook")]
    Inside,
}

impl Fault {
    /// A parameter is wrong.
    pub(super) fn parameter(name: impl Into<Cow<'static, str>>, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Parameter { name: name.into(), what: what.into() }
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Parameter { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Insight(insight::Error::Journal(error)) | Self::Journal(error) => of_journal(error),
            Self::Nothing(_) | Self::NoInsight => StatusCode::NOT_FOUND,
            Self::Insight(insight::Error::File(_)) | Self::Inside => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Insight(insight::Error::Stopped) | Self::Append(_) | Self::Crowded { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
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

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(error = %self, "an admin request could not be answered");
        }
        Problem::new(status, self.to_string()).into_response(None)
    }
}
