//! Maps errors of the library and answers of the broker to delivery failures. The broker's codes are those of AMQP
//! 0-9-1 (section 1.2, "reply codes"), with the meanings that RabbitMQ gives them.

use lapin::ErrorKind;

use super::address::is_tls_error;
use crate::handler::Failure;

const CONTENT_TOO_LARGE: u16 = 311;
const CONNECTION_FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// The phase in which an error occurred.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// While connecting or checking the target.
    Setup,
    /// While publishing events to the target.
    Publish,
}

/// The failure for an error of the library.
pub(super) fn of(error: &lapin::Error, phase: Phase) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(answer) => of_answer(answer.get_id(), answer.get_message().as_str(), phase),
        ErrorKind::AuthProviderError(_) => Failure::misconfigured("access refused", error),
        ErrorKind::IOError(_) if is_tls_error(error) => Failure::misconfigured("tls", error),
        ErrorKind::IOError(io) => Failure::retry(io_class(io.kind()), error),
        ErrorKind::MissingHeartbeatError => Failure::retry("timeout", error),
        _ => Failure::retry("connection closed", error),
    }
}

/// The failure for an answer of the broker. Its text begins with the name of the code.
fn of_answer(code: u16, text: &str, phase: Phase) -> Failure {
    match code {
        ACCESS_REFUSED => Failure::misconfigured("access refused", text),
        NOT_FOUND => Failure::misconfigured("not found", text),
        NOT_ALLOWED => Failure::misconfigured("not allowed", text),
        CONTENT_TOO_LARGE => Failure::refuse("too large", text),
        // This code covers many problems. For an event it means the size (`max_message_size`).
        PRECONDITION_FAILED if phase == Phase::Publish && text.contains("message size") => {
            Failure::refuse("too large", text)
        }
        PRECONDITION_FAILED if phase == Phase::Setup => Failure::misconfigured("precondition failed", text),
        CONNECTION_FORCED => Failure::retry("connection closed", text),
        code => Failure::retry(format!("amqp {code}"), text),
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

/// The failure for a message that the broker did not accept.
pub(super) fn nacked() -> Failure {
    Failure::retry("nack", "the broker did not confirm a message, for example because a queue is full")
}

/// The failure for a message that no queue receives.
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
        let class = |code, text, phase| match of_answer(code, text, phase) {
            Failure::Retry { class, .. } => ("retry", class),
            Failure::Refuse { class, .. } => ("refuse", class),
            Failure::Misconfigured { class, .. } => ("misconfigured", class),
            Failure::Gone { class, .. } => ("gone", class),
        };
        let size = "PRECONDITION_FAILED - message size 99 is larger than configured max size 9";
        assert_eq!(class(406, size, Phase::Publish), ("refuse", "too large".to_owned()));
        assert_eq!(
            class(406, "PRECONDITION_FAILED - else", Phase::Publish),
            ("retry", "amqp 406".to_owned())
        );
        assert_eq!(class(406, "", Phase::Setup), ("misconfigured", "precondition failed".to_owned()));
        for (code, name) in [(403, "access refused"), (404, "not found"), (530, "not allowed")] {
            assert_eq!(class(code, "", Phase::Publish), ("misconfigured", name.to_owned()));
        }
        assert_eq!(class(541, "INTERNAL_ERROR", Phase::Publish), ("retry", "amqp 541".to_owned()));
        assert_eq!(class(320, "", Phase::Publish), ("retry", "connection closed".to_owned()));
    }
}
