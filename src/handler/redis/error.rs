//! Maps errors of the server and its answers to delivery failures.

use redis::{ErrorKind, RedisError, ServerError};

use super::super::{Failure, tls};

/// The failure for an error of the client library.
pub(super) fn of(error: &RedisError) -> Failure {
    if let Some(advice) = tls::advice(error) {
        return Failure::misconfigured(
            "tls",
            format!("the TLS connection to the server failed ({error}): {advice}"),
        );
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Failure::misconfigured(
            "credentials",
            format!("the server refuses the credentials: check `url` ({error})"),
        ),
        ErrorKind::InvalidClientConfig => {
            Failure::misconfigured("settings", format!("{error}: check `url` and `ca`"))
        }
        ErrorKind::Io if error.is_timeout() => {
            Failure::retry("timeout", "the server does not answer".to_owned())
        }
        ErrorKind::Io if error.is_connection_refusal() => {
            Failure::retry("connect", format!("the server cannot be reached ({error})"))
        }
        ErrorKind::Io => {
            Failure::retry("disconnected", format!("the connection to the server failed ({error})"))
        }
        ErrorKind::Parse => {
            Failure::retry("invalid answer", "the answer is not in the Redis protocol".to_owned())
        }
        _ if error.to_string().contains("refused to switch database") => Failure::misconfigured(
            "settings",
            format!("{error}: check the database number at the end of `url`"),
        ),
        _ => match answers(error).first() {
            Some(answer) => of_answer(answer),
            None => Failure::retry("invalid answer", error.to_string()),
        },
    }
}

/// The failure for an error answer of the server.
fn of_answer(answer: &ServerError) -> Failure {
    let details = answer.details().unwrap_or_default();
    let what = format!("the server answered {}: {details}", answer.code());
    match answer.code() {
        "NOAUTH" | "WRONGPASS" => {
            Failure::misconfigured("credentials", format!("{what}: check the user and password in `url`"))
        }
        "NOPERM" => Failure::misconfigured(
            "permission",
            format!(
                "{what}: the user needs +xadd +multi +exec +discard and access to the stream's key; also +type if `stream` \
                 depends on the event"
            ),
        ),
        "WRONGTYPE" => Failure::misconfigured(
            "wrong type",
            format!("{what}: the key of `stream` does not hold a stream"),
        ),
        "MOVED" | "ASK" | "CROSSSLOT" => Failure::misconfigured(
            "cluster",
            format!(
                "{what}: this is a cluster node: set `url` to the node that has the slot of `stream`, one for all events"
            ),
        ),
        "OOM" => Failure::retry("out of memory", what),
        "MISCONF" => Failure::retry("cannot write", what),
        "READONLY" => Failure::retry("read-only", what),
        "LOADING" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "NOREPLICAS" => {
            Failure::retry("busy", what)
        }
        _ if details.contains("invalid bulk length") => {
            Failure::refuse("too large", format!("{what} (proto-max-bulk-len)"))
        }
        _ if details.contains("unknown command") => {
            Failure::misconfigured("too old", format!("{what}: streams need Redis 5 or later"))
        }
        _ => Failure::retry("server error", what),
    }
}

/// Returns whether the connection is still usable after this failure. After any other failure the next delivery needs a
/// new one: late answers may still arrive on it, or the user's permissions may have changed.
pub(super) fn leaves_the_connection(failure: &Failure) -> bool {
    let (Failure::Retry { class, .. }
    | Failure::Refuse { class, .. }
    | Failure::Misconfigured { class, .. }
    | Failure::Gone { class, .. }) = failure;
    matches!(class.as_str(), "out of memory" | "cannot write" | "busy" | "wrong type")
}

/// The error answers of the server. Causes come before `EXECABORT`, which only follows from them.
fn answers(error: &RedisError) -> Vec<ServerError> {
    let errors = error.clone().into_server_errors();
    let mut answers: Vec<ServerError> =
        errors.iter().flat_map(|all| all.iter()).map(|(_, one)| one.clone()).collect();
    answers.sort_by_key(|answer| answer.code() == "EXECABORT");
    answers
}
