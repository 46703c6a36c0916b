//! `kind = "postgres"`: a row per event in a table that the user can join, one statement a batch, each event once.
//!
//! ```text
//! deliver ─▶ session     one connection, made by whoever needs it, driven inside of the delivery
//!   │          │ table   made, checked and migrated once a connection
//!   │          └▶ insert one INSERT … ON CONFLICT (key) DO NOTHING; a value that jsonb cannot hold is left NULL
//!   └ given up ─▶ cancel the server ends the statement
//! ```

mod address;
mod cancel;
mod cancel_request;
mod error;
mod insert;
mod jsonb;
mod session;
mod table;

use std::{path::PathBuf, sync::Arc};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    Delivery, Failure, Kind, OpenError,
    row::{Row, default_table},
};
use crate::secret::Secret;
use address::Address;
use cancel::Canceller;
use error::Error;
use session::Session;
use table::Table;

/// The handler.
pub struct Postgres {
    address: Arc<Address>,
    table: Table,
    session: Mutex<Option<Session>>,
    canceller: Canceller,
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
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        let table = Table::new(&settings.table, settings.create).map_err(wrong)?;
        let address = Arc::new(Address::of(&settings).await.map_err(wrong)?);
        let canceller = Canceller::new(Arc::clone(&address));
        Ok(Self { address, table, session: Mutex::new(None), canceller })
    }

    async fn look(&self) -> Result<(), Failure> {
        let mut slot = self.session.lock().await;
        if slot.is_none() {
            *slot = self.connect_and_insert(&[]).await.map_err(|error| {
                if error.is_away() {
                    return error.into();
                }
                Failure::misconfigured(error.class(), format!("{error}{}", error.advice()))
            })?;
        }
        Ok(())
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let rows: Vec<Row> = events.iter().map(Row::of).collect();
        let mut slot = self.session.lock().await;
        // Taken out: a delivery that is dropped takes its connection with it.
        if let Some(session) = slot.take() {
            match self.insert(session, &rows).await {
                Ok(session) => {
                    *slot = session;
                    return Ok(());
                }
                // It may have broken long ago: the new one costs no attempt.
                Err(error) if error.is_away() => {}
                Err(error) => return Err(error.into()),
            }
        }
        *slot = self.connect_and_insert(&rows).await?;
        Ok(())
    }
}

impl Postgres {
    async fn connect_and_insert(&self, rows: &[Row]) -> Result<Option<Session>, Error> {
        self.insert(Session::connect(&self.address).await?, rows).await
    }

    /// Gives the session back once all rows are in the table. Dropped half-way, the statement is cancelled.
    async fn insert(&self, session: Session, rows: &[Row]) -> Result<Option<Session>, Error> {
        let mut busy = self.canceller.busy();
        let inserted = busy.session.insert(session).insert(&self.table, rows).await;
        let session = busy.session.take();
        inserted.map(|()| session)
    }
}
