//! Maps errors of the client library and error answers of the server to delivery failures.

use redis::{ErrorKind, RedisError, ServerError};

use super::super::{Failure, FailureText, tls};

/// Error codes of a server that temporarily cannot execute commands.
const BUSY: [&str; 6] = ["LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS"];

/// A failure, and whether the connection is still usable. If not, the next delivery makes a new connection, because
/// late answers may arrive on the old connection, or the server may require a new login.
pub(super) struct RedisFailure {
    pub(super) failure: Failure,
    pub(super) is_usable: bool,
}

impl From<RedisFailure> for Failure {
    fn from(failed: RedisFailure) -> Self {
        failed.failure
    }
}

/// The failure for an error of the client library.
impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        if let Some(advice) = tls::advice(&error) {
            let what = format!("the TLS connection to the server failed ({error}): {advice}");
            return Self { failure: Failure::misconfigured("tls", what), is_usable: false };
        }
        let failure = match error.kind() {
            ErrorKind::AuthenticationFailed => Failure::misconfigured(
                "credentials",
                format!("the server refuses the credentials: check `url` ({error})"),
            ),
            ErrorKind::InvalidClientConfig => {
                Failure::misconfigured("settings", text(&error).saying("check `url` and `ca`"))
            }
            ErrorKind::Io if error.is_timeout() => Failure::retry("timeout", "the server does not answer"),
            ErrorKind::Io if error.is_connection_refusal() => {
                Failure::retry("connect", format!("the server cannot be reached ({error})"))
            }
            ErrorKind::Io => {
                Failure::retry("disconnected", format!("the connection to the server failed ({error})"))
            }
            ErrorKind::Parse => Failure::retry("invalid answer", "the answer is not in the Redis protocol"),
            _ if error.to_string().contains("refused to switch database") => Failure::misconfigured(
                "settings",
                text(&error).saying("check the database number at the end of `url`"),
            ),
            _ => match cause(&error) {
                Some(answer) => return of_answer(&answer),
                None => Failure::retry("invalid answer", text(&error)),
            },
        };
        Self { failure, is_usable: false }
    }
}

/// The text of an error: the library's words, and the server's words that the library quotes.
fn text(error: &RedisError) -> FailureText {
    FailureText::read(&error.to_string())
}

/// The failure for an error answer of the server.
fn of_answer(answer: &ServerError) -> RedisFailure {
    let details = answer.details().unwrap_or_default();
    let what = FailureText::from(format!("the server answered {}", answer.code())).saying(details);
    let is_busy = BUSY.contains(&answer.code());
    let is_usable = is_busy || matches!(answer.code(), "OOM" | "MISCONF" | "WRONGTYPE");
    let failure = match answer.code() {
        "NOAUTH" | "WRONGPASS" => {
            Failure::misconfigured("credentials", what.saying("check the user and password in `url`"))
        }
        "NOPERM" => Failure::misconfigured(
            "permission",
            what.saying(
                "the user needs +xadd +multi +exec +discard and access to the stream's key; also +type if `stream` \
                 depends on the event",
            ),
        ),
        "WRONGTYPE" => Failure::misconfigured(
            "wrong type",
            what.saying("the key of `stream` does not hold a stream"),
        ),
        "MOVED" | "ASK" | "CROSSSLOT" => Failure::misconfigured(
            "cluster",
            what.saying(
                "this is a cluster node: set `url` to the node that has the slot of `stream`, one for all events",
            ),
        ),
        "OOM" => Failure::retry("out of memory", what),
        "MISCONF" => Failure::retry("cannot write", what),
        "READONLY" => Failure::retry("read-only", what),
        _ if is_busy => Failure::retry("busy", what),
        _ if details.contains("invalid bulk length") => {
            Failure::refuse("too large", what).advised(" (proto-max-bulk-len)")
        }
        _ if details.contains("unknown command") => {
            Failure::misconfigured("too old", what.saying("streams need Redis 5 or later"))
        }
        _ => Failure::retry("server error", what),
    };
    RedisFailure { failure, is_usable }
}

/// The first error answer of the server. `EXECABORT` is the result of another error, so it is returned only if there is
/// no other answer.
fn cause(error: &RedisError) -> Option<ServerError> {
    let errors = error.clone().into_server_errors()?;
    let answers = errors.iter().map(|(_, answer)| answer);
    answers.min_by_key(|answer| answer.code() == "EXECABORT").cloned()
}
