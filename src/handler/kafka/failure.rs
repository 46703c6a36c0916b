//! Maps errors of settings, brokers, topics and Kafka messages to delivery failures.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use super::super::{Failure, FailureText};

/// The failure for settings that librdkafka rejects. The value is not shown, because it may be a secret.
pub(super) fn of_settings(error: &KafkaError) -> Failure {
    let what = match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("librdkafka rejects the value of {key}"),
        KafkaError::ClientCreation(what) => what.clone(),
        other => other.to_string(),
    };
    Failure::misconfigured("settings", what)
}

/// The failure for a broker error that a retry does not resolve: the credentials or the TLS settings are wrong. `None`
/// for all other errors, because they may be temporary.
pub(super) fn of_broker(code: Code, reason: &str) -> Option<Failure> {
    let wrong =
        |class, advice: &str| Some(Failure::misconfigured(class, FailureText::read(reason).saying(advice)));
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            wrong("credentials", "check `user`, `password` and `mechanism`")
        }
        Code::UnsupportedSASLMechanism => wrong("credentials", "check `mechanism`"),
        Code::SSL if reason.contains("verify") => wrong(
            "tls",
            "set `ca` to the certificate of the brokers' CA, and in `brokers` use host names in their certificates",
        ),
        Code::SSL if reason.contains("wrong version number") => {
            wrong("tls", "the broker does not speak TLS on this port: check `tls`")
        }
        _ => None,
    }
}

/// The failure when all brokers are down. `code` and `reason` describe the last error of a broker, or a timeout.
pub(super) fn of_reason(code: Code, reason: &str) -> Failure {
    let class = match code {
        Code::Resolve => "dns",
        Code::SSL => "tls",
        Code::OperationTimedOut => "timeout",
        _ if reason.contains("refused") => "connection refused",
        _ if reason.contains("timed out") || reason.contains("timeout") => "timeout",
        _ => "connection closed",
    };
    // A broker that closes the connection may be stopping, or it may expect another protocol (TLS or SASL). So the
    // failure is a retry. If the reason points to the protocol, the failure has advice.
    let failure = Failure::retry(class, FailureText::read(reason));
    if reason.contains("SSL_HANDSHAKE") {
        failure.saying("if this persists, the broker does not speak TLS on this port: check `tls`")
    } else if reason.contains("SSL listener") || reason.contains("SASL authentication") {
        failure.saying("check `tls` and `user`")
    } else {
        failure
    }
}

/// The failure for a topic's error code; `None` if the topic can be used.
pub(super) fn of_topic(topic: &str, code: Code) -> Option<Failure> {
    match code {
        // `LeaderNotAvailable` and `ReplicaNotAvailable` mean that the topic is being created, or moved to another
        // broker.
        Code::NoError | Code::LeaderNotAvailable | Code::ReplicaNotAvailable => None,
        Code::UnknownTopicOrPartition | Code::UnknownTopic => Some(Failure::misconfigured(
            "no topic",
            format!(
                "there is no topic {topic:?}: create it, or set `auto_create = true` if the brokers create topics \
                 automatically"
            ),
        )),
        Code::TopicAuthorizationFailed => Some(Failure::misconfigured(
            "permission",
            format!("the user may not write to the topic {topic:?}: grant the user the ACL WRITE"),
        )),
        Code::InvalidTopic => Some(Failure::misconfigured(
            "topic",
            format!("{topic:?} is not a valid topic name: check `topic`"),
        )),
        code => Some(Failure::retry("metadata", format!("the topic {topic:?}")).saying(code)),
    }
}

/// The failure for a Kafka message that was not accepted.
pub(super) fn of_message(topic: &str, error: &KafkaError) -> Failure {
    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
    let what = FailureText::from(format!("topic {topic:?}")).saying(code);
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            Failure::refuse("too large", what.saying("the broker accepts less than `max_bytes`"))
        }
        Code::InvalidRecord => Failure::refuse("invalid record", what),
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::TopicAuthorizationFailed
        | Code::InvalidTopic => of_topic(topic, code).unwrap_or_else(|| Failure::retry("metadata", what)),
        Code::ClusterAuthorizationFailed => Failure::misconfigured(
            "permission",
            what.saying(
                "before Kafka 3.0 an idempotent producer needs the ACL IDEMPOTENT_WRITE on the cluster",
            ),
        ),
        Code::PolicyViolation | Code::UnsupportedCompressionType | Code::UnsupportedForMessageFormat => {
            Failure::misconfigured("not supported", what)
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            Failure::retry("not enough replicas", what)
        }
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut => {
            Failure::retry("timeout", what)
        }
        Code::PurgeQueue | Code::PurgeInflight => Failure::retry("cancelled", what),
        Code::ThrottlingQuotaExceeded => Failure::retry("throttled", what),
        Code::KafkaStorageError => Failure::retry("storage", what),
        Code::BrokerTransportFailure => Failure::retry("connection closed", what),
        // All other errors get the class `producer`. Some of them, for example the error for an unexpected sequence
        // number, make an idempotent producer unusable.
        _ => Failure::retry("producer", what),
    }
}

/// Returns the more important of two failures in one batch: [`Failure::Misconfigured`] and [`Failure::Gone`] first,
/// then [`Failure::Retry`], then [`Failure::Refuse`]. If both are equally important, returns `known`.
pub(super) fn worse(known: Option<Failure>, other: Failure) -> Failure {
    let rank = |failure: &Failure| match failure {
        Failure::Refuse { .. } => 0,
        Failure::Retry { .. } => 1,
        Failure::Misconfigured { .. } | Failure::Gone { .. } => 2,
    };
    match known {
        Some(known) if rank(&known) >= rank(&other) => known,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_refused_retried_or_misconfigured() {
        for (code, expected) in [
            (Code::MessageSizeTooLarge, ("refuse", "too large")),
            (Code::TopicAuthorizationFailed, ("misconfigured", "permission")),
            (Code::UnknownTopicOrPartition, ("misconfigured", "no topic")),
            (Code::NotEnoughReplicas, ("retry", "not enough replicas")),
            (Code::OutOfOrderSequenceNumber, ("retry", "producer")),
            (Code::Fatal, ("retry", "producer")),
        ] {
            assert_eq!(of_message("bik", &KafkaError::MessageProduction(code)).outcome(), expected);
        }
    }

    #[test]
    fn the_most_important_of_several_failures_counts() {
        let [refuse, retry, wrong] =
            [Failure::refuse("a", ""), Failure::retry("b", ""), Failure::misconfigured("c", "")];
        let all = [retry.clone(), refuse.clone(), wrong, retry.clone(), refuse.clone()];
        let worst = all.into_iter().fold(None, |known, other| Some(worse(known, other))).unwrap();
        assert_eq!(worst.outcome(), ("misconfigured", "c"));
        assert_eq!(worse(Some(refuse), retry.clone()), retry);
    }

    #[test]
    fn a_rejected_password_is_not_shown() {
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "no: sesame".to_owned(),
            "sasl.password".to_owned(),
            "sesame".to_owned(),
        );
        let what = of_settings(&error).to_string();
        assert!(what.contains("sasl.password") && !what.contains("sesame"), "{what}");
    }
}
