//! Errors of the database, and their mapping to delivery failures.

use std::{error::Error as _, io, iter};

use tokio_postgres::error::{DbError, SqlState};

use crate::handler::{Failure, FailureText};

/// Why the database could not be reached, or refused a batch. The text may quote an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer within this number of seconds.
    #[error("the database did not answer within {0} s")]
    Timeout(u64),
    /// The database or the connection returned an error.
    #[error("{}", story(.0).whole())]
    Postgres(#[from] tokio_postgres::Error),
    /// The table is unsuitable; the text says what to do.
    #[error("{0}")]
    Unfit(String),
}

/// The class of an error. The text of the class is safe for logs.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ErrorClass<'a> {
    /// The database did not answer in time.
    #[error("timeout")]
    Timeout,
    /// The table is unsuitable.
    #[error("unfit table")]
    Unfit,
    /// A pooler in front of the server refused the connection or a statement.
    #[error("{}", .0.class)]
    Pooler(PoolerRefusal),
    /// The SQLSTATE of the server's error.
    #[error("sqlstate {0}")]
    State(&'a str),
    /// The TLS handshake failed.
    #[error("tls")]
    Tls,
    /// The connection failed.
    #[error("connection")]
    Connection,
    /// Any other error of the client library.
    #[error("protocol")]
    Protocol,
}

/// An error from a connection pooler in front of the server. PgBouncer reports every such error with SQLSTATE 08P01.
#[derive(Clone, Copy, Debug)]
pub struct PoolerRefusal {
    class: &'static str,
    advice: &'static str,
}

impl PoolerRefusal {
    /// Classifies the message of an error with SQLSTATE 08P01. Returns `None` for an unknown message, so
    /// that the batch is retried. A retry may help, for example if the pooler is full or has no server.
    fn of(message: &str) -> Option<Self> {
        let says = |words: &str| message.contains(words);
        let (class, advice) = if says("unsupported startup parameter") {
            (
                "pooler startup parameter",
                ": the pooler does not forward it: remove it from `url`, and set it in the database \
                 (ALTER ROLE … SET …)",
            )
        } else if says("statement pooling mode") {
            (
                "pooler mode",
                ": set pool_mode = transaction, or session, for this database in the pooler: a batch and its time \
                 limits are one transaction",
            )
        } else if says("authentication failed") || says("no such user") {
            ("pooler credentials", CREDENTIALS)
        } else if says("no such database") || (says("database") && says("does not exist")) {
            ("pooler database", DATABASE)
        } else {
            return None;
        };
        Some(Self { class, advice })
    }
}

const CREDENTIALS: &str = ": check the user in `url`, and `password`";
const DATABASE: &str = ": create the database, or name another in `url`";

/// The error with its causes and the server's details, which may quote an event.
fn story(error: &tokio_postgres::Error) -> FailureText {
    if let Some(database) = error.as_db_error() {
        let detail = database.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let state = FailureText::from(format!("SQLSTATE {}", database.code().code()));
        return state.saying(format_args!("{}{detail}", database.message()));
    }
    FailureText::with_causes(error)
}

impl Error {
    /// The error text in two parts: the handler's words, and the part that may quote the server or an event.
    pub fn text(&self) -> FailureText {
        match self {
            Self::Postgres(error) => story(error),
            error => error.into(),
        }
    }

    /// The class, which decides the variant of [`Failure`].
    pub fn class(&self) -> ErrorClass<'_> {
        let error = match self {
            Self::Timeout(_) => return ErrorClass::Timeout,
            Self::Unfit(_) => return ErrorClass::Unfit,
            Self::Postgres(error) => error,
        };
        match error.code().map(SqlState::code) {
            Some(state @ "08P01") => {
                let message = error.as_db_error().map(DbError::message);
                message.and_then(PoolerRefusal::of).map_or(ErrorClass::State(state), ErrorClass::Pooler)
            }
            Some(state) => ErrorClass::State(state),
            None if is_tls(error) => ErrorClass::Tls,
            None if is_io(error) => ErrorClass::Connection,
            None => ErrorClass::Protocol,
        }
    }

    /// Returns whether the database is unavailable: shut down, starting, out of connections or other resources,
    /// unreachable, or silent.
    pub(super) fn is_away(&self) -> bool {
        match self.class() {
            ErrorClass::Timeout | ErrorClass::Connection => true,
            // The server itself ended the statement, at a time limit or on request, so the database is available.
            ErrorClass::State("57014") => false,
            ErrorClass::State(state) => is_one_of(state, &["57", "53", "08"]),
            ErrorClass::Pooler(_) | ErrorClass::Unfit | ErrorClass::Tls | ErrorClass::Protocol => false,
        }
    }

    /// Returns whether the database rejected a value.
    pub(super) fn is_value(&self) -> bool {
        matches!(self.class(), ErrorClass::State(state) if state.starts_with("22"))
    }

    /// Advice to append to the error text, starting with a colon; empty if there is none.
    pub fn advice(&self) -> &'static str {
        match self.class() {
            ErrorClass::Pooler(refusal) => refusal.advice,
            // No line of pg_hba.conf matches this user, this address and this type of connection (with or without
            // TLS).
            ErrorClass::State("28000") => {
                ": check the user in `url`, and whether the server requires TLS for it: `?sslmode=require` in `url` \
                 turns TLS on, `?sslmode=disable` turns it off"
            }
            ErrorClass::State(state) if state.starts_with("28") => CREDENTIALS,
            ErrorClass::State("3D000") => DATABASE,
            ErrorClass::State("3F000") => ": create the schema, or name another in `table`",
            ErrorClass::State("42501") => {
                ": grant the user of `url` the privileges it needs (SELECT and INSERT; CREATE on the schema)"
            }
            ErrorClass::Tls => {
                ": the certificate and the host name are always verified: set `ca` to a file of certificates to trust, \
                 or turn TLS off by `?sslmode=disable` in `url`"
            }
            _ => "",
        }
    }
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS") && !causes(error, is_cut_off)
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || causes(error, |_io| true) || error.to_string().contains("connecting")
}

/// Returns whether the connection ended unexpectedly.
fn is_cut_off(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof)
}

/// Returns whether one of the causes is an I/O error for which `is_so` holds.
fn causes(error: &tokio_postgres::Error, is_so: impl Fn(&io::Error) -> bool) -> bool {
    iter::successors(error.source(), |cause| (*cause).source())
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(&is_so))
}

/// Returns whether the SQLSTATE belongs to one of these classes. A class is the first two characters of an SQLSTATE.
fn is_one_of(state: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| state.starts_with(class))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (class, text) = (error.class().to_string(), error.text());
        match error.class() {
            ErrorClass::Pooler(refusal) => Self::misconfigured(class, text).advised(refusal.advice),
            // The events cause these errors: an invalid value, a violated constraint, or an exception of a trigger.
            ErrorClass::State(state) if is_one_of(state, &["22", "23", "P0"]) => Self::refuse(class, text),
            ErrorClass::State(state) if is_one_of(state, &["28", "3D", "3F", "42"]) => {
                Self::misconfigured(class, text)
            }
            ErrorClass::Tls | ErrorClass::Unfit => Self::misconfigured(class, text),
            _ => Self::retry(class, text),
        }
    }
}
