//! Maps errors of servers, streams and acknowledgements to delivery failures.

use std::error::Error;

use async_nats::{
    ConnectError, ConnectErrorKind,
    jetstream::{
        Error as ApiError, ErrorCode,
        context::{PublishError, PublishErrorKind},
    },
};

use super::super::{Failure, tls};

/// The failure for a connection that could not be made.
pub(super) fn of_connect(server: &str, error: &ConnectError) -> Failure {
    use ConnectErrorKind as Kind;
    if let Some(advice) = tls::advice(error) {
        return Failure::misconfigured(
            "tls",
            format!("the TLS connection to {server} failed ({error}): {advice}"),
        );
    }
    match error.kind() {
        Kind::AuthorizationViolation | Kind::Authentication => Failure::misconfigured(
            "credentials",
            format!(
                "{server} refuses the credentials ({error}): check user and password, token, nkey or credentials"
            ),
        ),
        Kind::Tls => Failure::misconfigured("tls", format!("TLS cannot be set up ({error}): check `ca`")),
        Kind::ServerParse => {
            Failure::misconfigured("url", format!("{server} is not a valid address ({error}): check `url`"))
        }
        Kind::TimedOut => Failure::retry("timeout", format!("{server} did not answer within 5 s")),
        Kind::Dns => Failure::retry("dns", format!("the host name of {server} cannot be resolved ({error})")),
        Kind::Io | Kind::MaxReconnects => {
            Failure::retry("connect", format!("{server} cannot be reached ({error})"))
        }
    }
}

/// The failure for a JetStream error in answer to a request about streams.
pub(super) fn of_api(asked: &str, error: &ApiError) -> Failure {
    let what = format!("{asked}: {error}");
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Failure::misconfigured("no jetstream", format!("{what}: {ENABLE}"))
        }
        _ if error.code() == 503 => Failure::retry("jetstream", what),
        _ => Failure::misconfigured("jetstream", what),
    }
}

/// Advice if JetStream does not answer.
pub(super) const ENABLE: &str = "start nats-server with -js, or enable JetStream for the account";

/// Error class of a message that no stream captured.
const NO_STREAM: &str = "no stream";

/// Returns whether no stream captured the message.
pub(super) fn is_no_stream(failure: &Failure) -> bool {
    matches!(failure, Failure::Misconfigured { class, .. } if class == NO_STREAM)
}

/// The failure for a missing acknowledgement. `pattern` matches every possible subject.
pub(super) fn of_publish(pattern: &str, error: &PublishError) -> Failure {
    use PublishErrorKind as Kind;
    match error.kind() {
        Kind::MaxPayloadExceeded => Failure::refuse("too large", error),
        Kind::StreamNotFound => Failure::misconfigured(
            NO_STREAM,
            format!("{error}: no stream captures the subject (pattern {pattern:?})"),
        ),
        Kind::TimedOut => Failure::retry("timeout", error),
        Kind::BrokenPipe | Kind::MaxAckPending => Failure::retry("disconnected", error),
        Kind::WrongLastMessageId | Kind::WrongLastSequence | Kind::Other => {
            match error.source().and_then(|source| source.downcast_ref::<ApiError>()) {
                Some(refused) => of_refusal(refused),
                None => Failure::retry("disconnected", error),
            }
        }
    }
}

/// The failure for a message that a stream refused.
fn of_refusal(error: &ApiError) -> Failure {
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Failure::refuse("too large", error)
        }
        ErrorCode::STREAM_NOT_MATCH => Failure::misconfigured(
            "other stream",
            format!("the subject is captured by a stream other than `stream`: {error}"),
        ),
        ErrorCode::STREAM_SEALED => Failure::misconfigured("stream sealed", error),
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => Failure::retry("stream full", error),
        other => Failure::retry(format!("jetstream {}", other.0), error),
    }
}
