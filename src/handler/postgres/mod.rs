//! `kind = "postgres"`: a row per event in a table that the user can join, one statement a batch, each event once.
//!
//! ```text
//! deliver ─▶ session     one connection, made by whoever needs it, driven inside of the delivery
//!              │ table   made, checked and migrated once a connection
//!              └▶ insert one INSERT … ON CONFLICT (key) DO NOTHING; a value that jsonb cannot hold is left NULL
//! ```

mod address;
mod error;
mod insert;
mod jsonb;
mod session;
mod table;

use std::path::PathBuf;

use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    Delivery, Failure, Kind, OpenError,
    row::{Row, default_table},
};
use crate::secret::Secret;
use address::Address;
use session::Session;
use table::Table;

/// The handler.
pub struct Postgres {
    address: Address,
    table: Table,
    session: Mutex<Option<Session>>,
}

/// Its own keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `postgres://user@host/database`, with `?sslmode=…` where need be.
    pub url: Secret,
    /// The password, where the URL has none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Certificates to trust beside the system's, in PEM; demands TLS, wherever the database is.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The table, with a schema before it or without.
    #[serde(default = "default_table")]
    pub table: String,
    /// The table is made where it is missing, and given the columns of later versions.
    #[serde(default = "yes")]
    pub create: bool,
}

const fn yes() -> bool {
    true
}

impl Kind for Postgres {
    const NAME: &'static str = "postgres";
    const ABOUT: &'static str = "writes a row per event into a table of PostgreSQL, each event once";
    const CONCURRENCY: usize = 1;
    const BATCH: usize = 500;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        format!("{}, table {}", address::place(settings), settings.table)
    }

    fn check(settings: &Settings) -> Result<(), String> {
        Table::new(&settings.table, settings.create)?;
        address::check(settings)
    }

    fn shown(delivery: &Delivery) -> String {
        Row::of(delivery).to_json()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError { handler: name.to_owned(), kind: Self::NAME, what };
        let table = Table::new(&settings.table, settings.create).map_err(wrong)?;
        let address = Address::of(&settings).await.map_err(wrong)?;
        let session = match Session::open(&address, &table).await {
            Ok(session) => Some(session),
            Err(error) if error.is_away() => {
                tracing::warn!(
                    handler = name,
                    class = error.class(),
                    "the database is away, and is tried again"
                );
                None
            }
            Err(error) => return Err(wrong(format!("{error}{}", error.advice()))),
        };
        Ok(Self { address, table, session: Mutex::new(session) })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let rows: Vec<Row> = events.iter().map(Row::of).collect();
        let mut slot = self.session.lock().await;
        // Taken out: a delivery that is dropped takes its connection with it.
        if let Some(mut session) = slot.take() {
            match session.insert(&rows).await {
                Ok(()) => {
                    *slot = Some(session);
                    return Ok(());
                }
                // It may have broken long ago: the new one costs no attempt.
                Err(error) if error.is_away() || error.is_stale() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut session = Session::open(&self.address, &self.table).await.map_err(Failure::from)?;
        session.insert(&rows).await.map_err(Failure::from)?;
        *slot = Some(session);
        Ok(())
    }
}
