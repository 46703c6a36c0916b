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
    #[error("not authenticated, and too many failures from this address: {denied}")]
    TooManyFailures { denied: Denied, too_many: TooManyFailures },
    #[error("more requests per second than the source's rate")]
    TooFast(Duration),
    #[error("unsupported Content-Encoding")]
    UnknownCoding,
    #[error("the body is larger than {limit} bytes, compressed or decompressed")]
    TooLarge { limit: u64 },
    #[error("the body has more than {limit} elements")]
    TooManyElements { limit: u64 },
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body is incomplete")]
    Incomplete,
    #[error("the body is empty")]
    Empty,
    #[error("the body is not valid for its Content-Encoding; it is in quarantine")]
    InvalidCompression,
    #[error("the body is not JSON (line {line}, column {column}); it is in quarantine")]
    NotJson { line: usize, column: usize, detail: &'static str },
    #[error("too many requests or bytes in flight")]
    NoPlace,
    #[error("the deadline passed before the events were stored")]
    TooLate,
    #[error("not stored: {error}")]
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
            Self::Incomplete | Self::Empty | Self::InvalidCompression | Self::NotJson { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::NoPlace | Self::TooLate | Self::NotStored { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer to the sender.
    pub(super) fn problem(&self) -> Problem {
        let problem = |detail: &'static str| Problem::new(self.status(), detail);
        let formatted = |detail: String| Problem::new(self.status(), detail);
        match self {
            // The answer hides the reason, because the sender has not proved that it knows a credential.
            Self::NotAuthenticated(_) => {
                problem("the Authorization header must have a credential that is valid for this URL")
                    .header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"bikhook\""))
            }
            Self::TooManyFailures { too_many, .. } => {
                too_many.explain(problem("too many requests without a valid credential"))
            }
            Self::TooFast(wait) => problem("too many requests per second").retry_after(whole_secs(*wait)),
            Self::UnknownCoding => problem("the Content-Encoding must be gzip, deflate or identity")
                .header(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")),
            Self::TooLarge { limit } => formatted(format!(
                "the body must not be larger than {limit} bytes, compressed or decompressed"
            )),
            Self::TooManyElements { limit } => formatted(format!(
                "the body must not have more than {limit} elements; nothing was stored: send fewer elements per request"
            )),
            Self::TooSlow => problem("the body did not arrive in time"),
            Self::Incomplete => {
                problem("the body is incomplete: the connection failed or a chunk is invalid")
            }
            Self::Empty => problem(
                "the body is empty; expected a JSON object with an eventName, or an array of such objects",
            ),
            Self::InvalidCompression => {
                problem("the body is not valid for its Content-Encoding; it is in quarantine")
            }
            Self::NotJson { line, column, detail } => formatted(format!(
                "the body is not JSON: {detail} at line {line}, column {column}; it is in quarantine"
            ))
            .at(*line, *column),
            Self::NoPlace => problem("too many requests or bytes are in flight").retry_after(1),
            Self::TooLate => problem(
                "storing took too long, but may still succeed; repeat the request: duplicates are dropped",
            )
            .retry_after(1),
            Self::NotStored { error, held_by } => not_stored(self.status(), error, held_by.as_deref()),
        }
    }
}

fn not_stored(status: StatusCode, error: &AppendError, held_by: Option<&str>) -> Problem {
    let (detail, secs) = match error {
        AppendError::Full => ("the disk is full", 30),
        AppendError::Busy => ("the journal is busy", 1),
        AppendError::Failed => ("the journal failed, and the receiver is about to restart", 5),
        AppendError::Stopped => ("the receiver is stopping", 5),
    };
    let detail = match held_by {
        Some(handler) => format!("{detail}: undelivered events of handler {handler:?} cannot be deleted"),
        None => detail.to_owned(),
    };
    Problem::new(status, detail).retry_after(secs)
}
