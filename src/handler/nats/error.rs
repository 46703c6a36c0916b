//! Maps errors of servers, streams and publishing to delivery failures.

use std::error::Error;

use async_nats::{
    ConnectError, ConnectErrorKind,
    jetstream::{
        Error as ApiError, ErrorCode,
        context::{PublishError, PublishErrorKind},
    },
};

use super::super::{Failure, FailureText, tls};

/// A failure, and whether the handler can resolve it itself.
pub(super) enum NatsFailure {
    /// No stream captured a NATS message. With `create_stream`, the handler creates a stream.
    NoStream(Failure),
    /// The server does not let the user ask about streams, so the handler skips the check of streams.
    NoApi(Failure),
    /// Any other failure. The handler cannot resolve it.
    Other(Failure),
}

impl From<Failure> for NatsFailure {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<NatsFailure> for Failure {
    fn from(failed: NatsFailure) -> Self {
        match failed {
            NatsFailure::NoStream(failure) | NatsFailure::NoApi(failure) | NatsFailure::Other(failure) => {
                failure
            }
        }
    }
}

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
pub(super) fn of_api(asked: &str, error: &ApiError) -> NatsFailure {
    let what = FailureText::from(asked).saying(error);
    let failure = match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Failure::misconfigured("no jetstream", what.saying(ENABLE))
        }
        _ if error.code() == 503 => Failure::retry("jetstream", what),
        _ => Failure::misconfigured("jetstream", what),
    };
    failure.into()
}

/// Advice if JetStream does not answer or is not enabled.
pub(super) const ENABLE: &str = "start nats-server with -js, or enable JetStream for the account";

/// The failure for a NATS message that was not sent or not acknowledged. `pattern` matches
/// every subject that the setting `subject` can produce.
pub(super) fn of_publish(pattern: &str, error: &PublishError) -> NatsFailure {
    use PublishErrorKind as Kind;
    let text = FailureText::read(&error.to_string());
    let failure = match error.kind() {
        Kind::MaxPayloadExceeded => Failure::refuse("too large", text),
        Kind::StreamNotFound => {
            let advice = format!("no stream captures the subject (pattern {pattern:?})");
            return NatsFailure::NoStream(Failure::misconfigured("no stream", text.saying(advice)));
        }
        Kind::TimedOut => Failure::retry("timeout", text),
        Kind::BrokenPipe | Kind::MaxAckPending => Failure::retry("disconnected", text),
        Kind::WrongLastMessageId | Kind::WrongLastSequence | Kind::Other => {
            match error.source().and_then(|source| source.downcast_ref::<ApiError>()) {
                Some(refused) => of_refusal(refused),
                None => Failure::retry("disconnected", text),
            }
        }
    };
    failure.into()
}

/// The failure for a NATS message that a stream refused.
fn of_refusal(error: &ApiError) -> Failure {
    let text = FailureText::from("the stream refused the message").saying(error);
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Failure::refuse("too large", text)
        }
        ErrorCode::STREAM_NOT_MATCH => {
            let what = "the subject is captured by a stream other than `stream`";
            Failure::misconfigured("other stream", what).saying(error)
        }
        ErrorCode::STREAM_SEALED => Failure::misconfigured("stream sealed", text),
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => Failure::retry("stream full", text),
        other => Failure::retry(format!("jetstream {}", other.0), text),
    }
}
