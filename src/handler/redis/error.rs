//! What can be wrong with a server or an answer of it, and what that means for the delivery.

use redis::{ConnectionAddr, ErrorKind, RedisError, ServerError};

use super::super::{Failure, tls};

/// What went wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) meaning: Meaning,
    /// Safe for logs.
    pub(super) class: &'static str,
    /// The whole of it, and what to do where somebody must.
    pub(super) what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The server is away, or not ready: it may be back by itself.
    Away,
    /// Something must be changed, here or there.
    Wrong,
    /// It is about the events.
    Refused,
}

impl Trouble {
    fn away(class: &'static str, what: String) -> Self {
        Self { meaning: Meaning::Away, class, what }
    }

    pub(super) fn wrong(class: &'static str, what: String) -> Self {
        Self { meaning: Meaning::Wrong, class, what }
    }

    /// Says which server.
    pub(super) fn at(mut self, address: &ConnectionAddr) -> Self {
        self.what = format!("{address}: {}", self.what);
        self
    }

    pub(super) fn of(error: &RedisError) -> Self {
        if let Some(advice) = tls::advice(error) {
            return Self::wrong("tls", format!("the server cannot be trusted over TLS ({error}): {advice}"));
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::wrong(
                "credentials",
                format!("the server refuses the credentials: mind `url` ({error})"),
            ),
            ErrorKind::InvalidClientConfig => {
                Self::wrong("settings", format!("{error}: mind `url` and `ca`"))
            }
            ErrorKind::Io if error.is_timeout() => {
                Self::away("timeout", "the server does not answer".to_owned())
            }
            ErrorKind::Io if error.is_connection_refusal() => {
                Self::away("connect", format!("the server cannot be reached ({error})"))
            }
            ErrorKind::Io => Self::away("disconnected", format!("the server is away ({error})")),
            ErrorKind::Parse => {
                Self::away("no sense", "what answers there does not speak as Redis does".to_owned())
            }
            _ if error.to_string().contains("refused to switch database") => {
                Self::wrong("settings", format!("{error}: mind the number at the end of `url`"))
            }
            _ => match answers(error).first() {
                Some(answer) => Self::of_answer(answer),
                None => Self::away("no sense", error.to_string()),
            },
        }
    }

    /// Of an error that the server answers with.
    fn of_answer(answer: &ServerError) -> Self {
        let details = answer.details().unwrap_or_default();
        let what = format!("the server answers {} {details}", answer.code());
        match answer.code() {
            "NOAUTH" | "WRONGPASS" => {
                Self::wrong("credentials", format!("{what}: mind the user and password in `url`"))
            }
            "NOPERM" => Self::wrong(
                "permission",
                format!("{what}: the user needs +xadd +multi +exec +discard and the stream's key"),
            ),
            "WRONGTYPE" => {
                Self::wrong("wrong type", format!("{what}: the key of `stream` holds something else"))
            }
            "MOVED" | "ASK" | "CROSSSLOT" => Self::wrong(
                "cluster",
                format!(
                    "{what}: this is a node of a cluster; give the node that has the slot of the one `stream`"
                ),
            ),
            "OOM" => Self::away("out of memory", what),
            "MISCONF" => Self::away("cannot write", what),
            "READONLY" => Self::away("read-only", what),
            "LOADING" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "NOREPLICAS" => {
                Self::away("busy", what)
            }
            _ if details.contains("invalid bulk length") => Self {
                meaning: Meaning::Refused,
                class: "too large",
                what: format!("{what} (proto-max-bulk-len)"),
            },
            _ if details.contains("unknown command") => {
                Self::wrong("too old", format!("{what}: streams need Redis 5 or later"))
            }
            _ => Self::away("server error", what),
        }
    }

    /// Whether the next delivery needs another connection: the answers to this one may still come.
    pub(super) fn breaks_the_connection(&self) -> bool {
        !matches!(self.class, "out of memory" | "cannot write" | "busy" | "wrong type")
    }
}

/// The errors that the server answers with, the reasons before what only follows from them.
fn answers(error: &RedisError) -> Vec<ServerError> {
    let errors = error.clone().into_server_errors();
    let mut answers: Vec<ServerError> =
        errors.iter().flat_map(|all| all.iter()).map(|(_, one)| one.clone()).collect();
    answers.sort_by_key(|answer| answer.code() == "EXECABORT");
    answers
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let Trouble { meaning, class, what } = trouble;
        match meaning {
            Meaning::Away => Self::retry(class, what),
            Meaning::Wrong => Self::misconfigured(class, what),
            Meaning::Refused => Self::refuse(class, what),
        }
    }
}
