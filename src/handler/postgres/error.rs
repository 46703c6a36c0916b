//! Errors of the database, and how dispatch sees them.

use std::{error::Error as _, io};

use crate::handler::Failure;

/// Why the database could not be reached, or refused a batch. The text may quote an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer in time (seconds).
    #[error("the database did not answer within {0} s")]
    Timeout(u64),
    /// The database or the connection returned an error.
    #[error("{}", story(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The table is unsuitable; the text says what to do.
    #[error("{0}")]
    Unfit(String),
}

/// Errors from a connection pooler in front of the server. PgBouncer reports all of them with SQLSTATE 08P01.
#[derive(Clone, Copy)]
enum PoolerRefusal {
    Credentials,
    Database,
    StartupParameter,
    StatementMode,
}

impl PoolerRefusal {
    /// Classifies the message of an error with SQLSTATE 08P01. `None` if the pooler only has no server, or is full.
    fn of(message: &str) -> Option<Self> {
        let says = |words: &str| message.contains(words);
        if says("unsupported startup parameter") {
            Some(Self::StartupParameter)
        } else if says("statement pooling mode") {
            Some(Self::StatementMode)
        } else if says("authentication failed") || says("no such user") {
            Some(Self::Credentials)
        } else if says("no such database") || (says("database") && says("does not exist")) {
            Some(Self::Database)
        } else {
            None
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Credentials => "pooler credentials",
            Self::Database => "pooler database",
            Self::StartupParameter => "pooler startup parameter",
            Self::StatementMode => "pooler mode",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Credentials => CREDENTIALS,
            Self::Database => DATABASE,
            Self::StartupParameter => {
                ": the pooler does not forward it: remove it from `url`, and set it in the database \
                 (ALTER ROLE … SET …)"
            }
            Self::StatementMode => {
                ": set pool_mode = transaction, or session, for this database in the pooler: a batch and its time \
                 limits are one transaction"
            }
        }
    }
}

const CREDENTIALS: &str = ": check the user in `url`, and `password`";
const DATABASE: &str = ": create the database, or name another in `url`";

/// The error with its causes and the server's details. They may quote an event, so they come after a colon.
fn story(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        let detail = database.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("SQLSTATE {}: {}{detail}", database.code().code(), database.message());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Error {
    fn state(&self) -> Option<&str> {
        match self {
            Self::Postgres(error) => error.code().map(tokio_postgres::error::SqlState::code),
            _ => None,
        }
    }

    fn pooler_refusal(&self) -> Option<PoolerRefusal> {
        let Self::Postgres(error) = self else { return None };
        let database = error.as_db_error().filter(|database| database.code().code() == "08P01")?;
        PoolerRefusal::of(database.message())
    }

    /// Error class that is safe for logs.
    pub fn class(&self) -> String {
        if let Some(refusal) = self.pooler_refusal() {
            return refusal.class().to_owned();
        }
        match self {
            Self::Timeout(_) => "timeout".to_owned(),
            Self::Unfit(_) => "unfit table".to_owned(),
            Self::Postgres(error) => match error.code() {
                Some(state) => format!("sqlstate {}", state.code()),
                None if is_tls(error) => "tls".to_owned(),
                None if is_io(error) => "connection".to_owned(),
                None => "protocol".to_owned(),
            },
        }
    }

    /// Returns whether the database is unavailable: shut down, starting, out of connections, or unreachable.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Unfit(_) => false,
            Self::Postgres(error) => match self.state() {
                // A statement timed out or was cancelled, so the database is available.
                Some("57014") => false,
                Some("08P01") => self.pooler_refusal().is_none(),
                Some(state) => ["57", "53", "08"].contains(&&state[..2]),
                None => is_io(error) && !is_tls(error),
            },
        }
    }

    /// Returns whether the database rejected a value.
    pub fn is_value(&self) -> bool {
        self.state().is_some_and(|state| state.starts_with("22"))
    }

    /// Advice on the error, starting with a colon; empty if the text itself says what to do.
    pub fn advice(&self) -> &'static str {
        if let Some(refusal) = self.pooler_refusal() {
            return refusal.advice();
        }
        match self.state() {
            // pg_hba.conf has no matching line for this user and address, or none for the connection type (with or
            // without TLS).
            Some("28000") => {
                ": check the user in `url`, and whether the server requires TLS for it: `?sslmode=require` in `url` \
                 turns TLS on, `?sslmode=disable` turns it off"
            }
            Some(state) if state.starts_with("28") => CREDENTIALS,
            Some("3D000") => DATABASE,
            Some("3F000") => ": create the schema, or name another in `table`",
            Some("42501") => {
                ": grant the user of `url` the privileges it needs (SELECT and INSERT; CREATE on the schema)"
            }
            None if self.class() == "tls" => {
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
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(&is_so) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let class = error.class();
        if error.pooler_refusal().is_some() {
            return Self::misconfigured(class, format!("{error}{}", error.advice()));
        }
        match error.state() {
            // A value, a constraint, or an exception raised by a trigger: about the events.
            Some(state) if ["22", "23", "P0"].contains(&&state[..2]) => Self::refuse(class, error),
            Some(state) if ["28", "3D", "3F"].contains(&&state[..2]) => Self::misconfigured(class, error),
            Some(state) if state.starts_with("42") => Self::misconfigured(class, error),
            None if ["tls", "unfit table"].contains(&class.as_str()) => Self::misconfigured(class, error),
            _ => Self::retry(class, error),
        }
    }
}
