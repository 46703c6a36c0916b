//! What can go wrong with the database, and how it is told to dispatch.

use std::{error::Error as _, io};

use crate::handler::Failure;

/// Why the database could not be reached, or did not take a batch. Its text may quote an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer in time.
    #[error("the database did not answer within {0} s")]
    Timeout(u64),
    /// It, or the way to it, said no.
    #[error("{}", story(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The table is not as it must be; says what to do.
    #[error("{0}")]
    Unfit(String),
}

/// An error with its causes, and what the server adds: behind a colon, as it may quote an event.
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

    /// A class that is safe for logs.
    pub fn class(&self) -> String {
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

    /// Whether the database is merely away: shut down, starting, out of connections, out of reach.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Unfit(_) => false,
            Self::Postgres(error) => match self.state() {
                Some(state) => ["57", "53", "08"].contains(&&state[..2]),
                None => is_io(error) && !is_tls(error),
            },
        }
    }

    /// Whether only the connection is of no more use, as after a change of the table.
    pub fn is_stale(&self) -> bool {
        self.state() == Some("0A000")
    }

    /// Whether it is one of the values that the database did not take.
    pub fn is_value(&self) -> bool {
        self.state().is_some_and(|state| state.starts_with("22"))
    }

    /// What to do about it, where the text itself does not say so; begins with a colon.
    pub fn advice(&self) -> &'static str {
        match self.state() {
            // Its pg_hba.conf has no line for this user from here, or none for the way that was taken.
            Some("28000") => {
                ": check the user in `url`, and whether the server wants TLS of it: `?sslmode=require` in `url` has it, \
                 `?sslmode=disable` does without"
            }
            Some(state) if state.starts_with("28") => ": check the user in `url`, and `password`",
            Some("3D000") => ": create the database, or name another in `url`",
            Some("3F000") => ": create the schema, or name another in `table`",
            Some("42501") => {
                ": grant the user of `url` what it needs (SELECT and INSERT; CREATE on the schema)"
            }
            None if self.class() == "tls" => {
                ": the certificate and the host name are always verified; `ca` names a file of certificates to trust, \
                 and `?sslmode=disable` in `url` does without TLS"
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

/// A connection that ended in the middle of it.
fn is_cut_off(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof)
}

/// Whether one of the causes is an I/O error of that sort.
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
        match error.state() {
            // A value, a constraint, an exception that a trigger raised: about the events.
            Some(state) if ["22", "23", "P0"].contains(&&state[..2]) => Self::refuse(class, error),
            Some(state) if ["28", "3D", "3F"].contains(&&state[..2]) => Self::misconfigured(class, error),
            Some(state) if state.starts_with("42") => Self::misconfigured(class, error),
            None if ["tls", "unfit table"].contains(&class.as_str()) => Self::misconfigured(class, error),
            _ => Self::retry(class, error),
        }
    }
}
