//! Why a request is refused, and the answer to the sender.

use std::{sync::Arc, time::Duration};

use axum::http::{
    HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, WWW_AUTHENTICATE},
};

use super::{
    auth::Denied,
    failures::TooManyFailures,
    problem::{Problem, whole_secs},
};
use crate::journal::AppendError;

/// Why a request is refused. The text is for the log: it contains nothing of a payload or of a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("not authenticated: {0}")]
    NotAuthenticated(#[from] Denied),
    #[error("not authenticated, too often: {denied}")]
    TooManyFailures { denied: Denied, too_many: TooManyFailures },
    #[error("more requests a second than the source's rate")]
    TooFast(Duration),
    #[error("a Content-Encoding that is not read here")]
    UnknownCoding,
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the body has more than {limit} elements")]
    TooManyElements { limit: u64 },
    #[error("the body took too long")]
    TooSlow,
    #[error("the body broke off")]
    BrokenOff,
    #[error("the body is not packed as its Content-Encoding says; it is in quarantine")]
    NotPacked,
    #[error("the body is not JSON (line {line}, column {column}); it is in quarantine")]
    NotJson { line: usize, column: usize, detail: &'static str },
    #[error("no place among the requests and bytes under way")]
    NoPlace,
    #[error("the journal took too long")]
    TooLate,
    #[error("the journal did not take it: {error}")]
    NotStored { error: AppendError, held_by: Option<Arc<str>> },
}

impl Refusal {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NotAuthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::TooManyFailures { .. } | Self::TooFast(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::UnknownCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } | Self::TooManyElements { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenOff | Self::NotPacked | Self::NotJson { .. } => StatusCode::BAD_REQUEST,
            Self::NoPlace | Self::TooLate | Self::NotStored { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer to the sender.
    pub(super) fn problem(&self) -> Problem {
        let problem = |detail: &'static str| Problem::new(self.status(), detail);
        match self {
            // The answer hides the reason, because the sender has not proved that it knows a credential.
            Self::NotAuthenticated(_) => problem("this URL takes posts with its credential in Authorization only")
                .header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"bikhook\"")),
            Self::TooManyFailures { too_many, .. } => {
                too_many.explain(problem("too many requests without a valid credential"))
            }
            Self::TooFast(wait) => problem("too many requests a second").retry_after(whole_secs(*wait)),
            Self::UnknownCoding => problem("the Content-Encoding must be gzip or deflate, or none")
                .header(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")),
            Self::TooLarge { limit } => Problem::new(
                self.status(),
                format!("the body must not be larger than {limit} bytes, unpacked"),
            ),
            Self::TooManyElements { limit } => Problem::new(
                self.status(),
                format!("the body must not have more than {limit} elements; nothing of it was stored: send fewer in each request"),
            ),
            Self::TooSlow => problem("the body did not arrive in time"),
            Self::BrokenOff => problem("the body broke off before its end"),
            Self::NotPacked => {
                problem("the body is not packed as its Content-Encoding says; it was kept in quarantine")
            }
            Self::NotJson { line, column, detail } => Problem::new(
                self.status(),
                format!("the body is not JSON: {detail} at line {line}, column {column}; it was kept in quarantine"),
            )
            .at(*line, *column),
            Self::NoPlace => problem("too many requests are under way").retry_after(1),
            Self::TooLate => problem("storing took too long; it may still succeed, and a repetition does no harm")
                .retry_after(1),
            Self::NotStored { error, held_by } => not_stored(self.status(), error, held_by.as_deref()),
        }
    }
}

fn not_stored(status: StatusCode, error: &AppendError, held_by: Option<&str>) -> Problem {
    let (detail, secs) = match error {
        AppendError::Full => ("the disk is full", 30),
        AppendError::Busy => ("the journal is busy", 1),
        AppendError::Failed => ("the journal failed and is about to be restarted", 5),
        AppendError::Stopped => ("the receiver is stopping", 5),
    };
    match held_by {
        Some(handler) => {
            Problem::new(status, format!("{detail}: handler {handler:?} holds what could be deleted"))
        }
        None => Problem::new(status, detail),
    }
    .retry_after(secs)
}
