//! Maps errors of the library and answers of the broker to delivery failures. The broker's codes are those of AMQP
//! 0-9-1 (section 1.2, "reply codes"), with the meanings that RabbitMQ gives them.

use lapin::ErrorKind;

use super::address::is_tls_error;
use crate::handler::{Failure, FailureText};

const CONTENT_TOO_LARGE: u16 = 311;
const CONNECTION_FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// The phase in which an error occurred.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// While connecting, or while checking the exchange or the queue.
    Setup,
    /// While publishing events.
    Publish,
}

/// A problem that a retry does not resolve: an operator must change the settings or the broker.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Misconfiguration {
    #[error("access refused")]
    AccessRefused,
    #[error("not found")]
    NotFound,
    #[error("not allowed")]
    NotAllowed,
    #[error("precondition failed")]
    PreconditionFailed,
    #[error("tls")]
    Tls,
}

impl Misconfiguration {
    /// Classifies an error. Returns `None` if a retry may succeed, or if the error is about the event.
    pub(super) fn of(error: &lapin::Error, phase: Phase) -> Option<Self> {
        match error.kind() {
            ErrorKind::ProtocolError(answer) => Self::of_code(answer.get_id(), phase),
            ErrorKind::AuthProviderError(_) => Some(Self::AccessRefused),
            ErrorKind::IOError(_) if is_tls_error(error) => Some(Self::Tls),
            _ => None,
        }
    }

    const fn of_code(code: u16, phase: Phase) -> Option<Self> {
        match (code, phase) {
            (ACCESS_REFUSED, _) => Some(Self::AccessRefused),
            (NOT_FOUND, _) => Some(Self::NotFound),
            (NOT_ALLOWED, _) => Some(Self::NotAllowed),
            (PRECONDITION_FAILED, Phase::Setup) => Some(Self::PreconditionFailed),
            _ => None,
        }
    }
}

/// The failure for an error of the library.
pub(super) fn of(error: &lapin::Error, phase: Phase) -> Failure {
    match (error.kind(), Misconfiguration::of(error, phase)) {
        (ErrorKind::ProtocolError(answer), _) => {
            of_answer(answer.get_id(), answer.get_message().as_str(), phase)
        }
        (_, Some(wrong)) => Failure::misconfigured(wrong.to_string(), error),
        (ErrorKind::IOError(io), None) => Failure::retry(io_class(io.kind()), error),
        (ErrorKind::MissingHeartbeatError, None) => Failure::retry("timeout", error),
        _ => Failure::retry("connection closed", error),
    }
}

/// The failure for an answer of the broker. The broker's text begins with the name of the code.
fn of_answer(code: u16, text: &str, phase: Phase) -> Failure {
    let told = FailureText::from(format!("the broker answered {code}")).saying(text);
    match (code, Misconfiguration::of_code(code, phase)) {
        (_, Some(wrong)) => Failure::misconfigured(wrong.to_string(), told),
        (CONTENT_TOO_LARGE, _) => Failure::refuse("too large", told),
        // Code 406 covers many problems. The words "message size" mean that the AMQP message is larger than the
        // broker's `max_message_size`.
        (PRECONDITION_FAILED, _) if text.contains("message size") => Failure::refuse("too large", told),
        (CONNECTION_FORCED, _) => Failure::retry("connection closed", told),
        _ => Failure::retry(format!("amqp {code}"), told),
    }
}

fn io_class(kind: std::io::ErrorKind) -> &'static str {
    match kind {
        std::io::ErrorKind::ConnectionRefused => "connection refused",
        std::io::ErrorKind::TimedOut => "timeout",
        _ => "connection closed",
    }
}

/// The failure while the broker blocks publishers.
pub(super) fn blocked() -> Failure {
    Failure::retry("blocked", "the broker blocks publishers: it is low on memory or disk space")
}

/// The failure for an AMQP message that the broker did not accept.
pub(super) fn nacked() -> Failure {
    Failure::retry("nack", "the broker did not confirm a message, for example because a queue is full")
}

/// The failure for an AMQP message that no queue receives.
pub(super) fn unroutable(routing_key: &str) -> Failure {
    Failure::misconfigured(
        "unroutable",
        format!(
            "no queue receives the routing key {routing_key:?}: bind a queue, or set `mandatory = false` to let the \
             broker drop such messages"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_refused_retried_or_misconfigured() {
        let size = "PRECONDITION_FAILED - message size 99 is larger than configured max size 9";
        for (code, text, phase, expected) in [
            (406, size, Phase::Publish, ("refuse", "too large")),
            (406, "PRECONDITION_FAILED - else", Phase::Publish, ("retry", "amqp 406")),
            (406, "", Phase::Setup, ("misconfigured", "precondition failed")),
            (403, "", Phase::Publish, ("misconfigured", "access refused")),
            (404, "", Phase::Publish, ("misconfigured", "not found")),
            (530, "", Phase::Publish, ("misconfigured", "not allowed")),
            (541, "INTERNAL_ERROR", Phase::Publish, ("retry", "amqp 541")),
            (320, "", Phase::Publish, ("retry", "connection closed")),
        ] {
            assert_eq!(of_answer(code, text, phase).outcome(), expected, "{code} {text}");
        }
    }

    #[test]
    fn what_the_broker_says_comes_after_the_handlers_words() {
        let text = "NOT_FOUND - no queue 'Asha' in vhost '/'";
        let stored = of_answer(404, text, Phase::Publish).to_string();
        assert!(stored.ends_with(text), "{stored}");
        assert_eq!(FailureText::read(&stored).own, "the broker answered 404");
    }
}
