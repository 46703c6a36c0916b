//! What can be wrong with a server, a stream or an acknowledgement, and what that means for the delivery.

use std::error::Error;

use async_nats::{
    ConnectError, ConnectErrorKind,
    jetstream::{
        Error as ApiError, ErrorCode,
        context::{PublishError, PublishErrorKind},
    },
};

use super::super::{Failure, tls};

/// Why there is no connection to publish on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server is away, or not ready: it may be back by itself.
    Away {
        /// Safe for logs.
        class: &'static str,
        /// The whole of it.
        what: String,
    },
    /// Something must be changed, here or there.
    Wrong {
        /// Safe for logs.
        class: &'static str,
        /// What, and what to do about it.
        what: String,
    },
}

impl Trouble {
    pub(super) fn away(class: &'static str, what: impl Into<String>) -> Self {
        Self::Away { class, what: what.into() }
    }

    pub(super) fn wrong(class: &'static str, what: impl Into<String>) -> Self {
        Self::Wrong { class, what: what.into() }
    }

    /// Of a connection that could not be made.
    pub(super) fn of_connect(server: &str, error: &ConnectError) -> Self {
        use ConnectErrorKind as Kind;
        if let Some(advice) = tls::advice(error) {
            return Self::wrong("tls", format!("{server} cannot be trusted over TLS ({error}): {advice}"));
        }
        match error.kind() {
            Kind::AuthorizationViolation | Kind::Authentication => Self::wrong(
                "credentials",
                format!(
                    "{server} refuses the credentials ({error}): mind user and password, token, nkey or credentials"
                ),
            ),
            Kind::Tls => Self::wrong("tls", format!("TLS cannot be set up ({error}): mind `ca`")),
            Kind::ServerParse => Self::wrong("url", format!("{server} is no address ({error}): mind `url`")),
            Kind::TimedOut => Self::away("timeout", format!("{server} does not answer within 5 s")),
            Kind::Dns => Self::away("dns", format!("the name of {server} cannot be looked up ({error})")),
            Kind::Io | Kind::MaxReconnects => {
                Self::away("connect", format!("{server} cannot be reached ({error})"))
            }
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away { class, what } => Self::retry(class, what),
            Trouble::Wrong { class, what } => Self::misconfigured(class, what),
        }
    }
}

/// What an answer of JetStream means that is an error, to a question about streams.
pub(super) fn of_api(asked: &str, error: &ApiError) -> Trouble {
    let what = format!("{asked}: {error}");
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Trouble::wrong("no jetstream", format!("{what}: {ENABLE}"))
        }
        _ if error.code() == 503 => Trouble::away("jetstream", what),
        _ => Trouble::wrong("jetstream", what),
    }
}

/// What to do where nobody answers for JetStream.
pub(super) const ENABLE: &str = "start nats-server with -js, or enable JetStream for the account";

/// What a missing acknowledgement means. `pattern` is every subject that there may be.
pub(super) fn of_publish(pattern: &str, error: &PublishError) -> Failure {
    use PublishErrorKind as Kind;
    match error.kind() {
        Kind::MaxPayloadExceeded => Failure::refuse("too large", error),
        Kind::StreamNotFound => {
            Failure::misconfigured("no stream", format!("{error}: no stream captures it, of {pattern:?}"))
        }
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

/// A stream that says no.
fn of_refusal(error: &ApiError) -> Failure {
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Failure::refuse("too large", error)
        }
        ErrorCode::STREAM_NOT_MATCH => Failure::misconfigured(
            "other stream",
            format!("another stream than `stream` captures the subject: {error}"),
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
