//! `kind = "postgres"`: writes each event once, as a row of a table that can be joined with other tables. One statement
//! per batch.
//!
//! ```text
//! deliver ─▶ session       one connection, made when needed, polled by the delivery that uses it
//!   │          ├─▶ table   checked once per connection; created or extended if needed
//!   │          └─▶ insert  one INSERT … ON CONFLICT (key) DO NOTHING; JSON that jsonb cannot hold becomes NULL
//!   └─▶ cancel             after a cancelled delivery: asks the server to end the statement
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
use crate::{
    secret::Secret,
    settings::{Wrong, yes},
};
use address::{Address, Url};
use cancel::Canceller;
use error::Error;
use session::Session;
use table::Table;

/// A handler that writes rows to PostgreSQL.
pub(super) struct Postgres {
    address: Arc<Address>,
    table: Table,
    session: Mutex<Option<Session>>,
    canceller: Canceller,
}

/// The kind's own configuration keys, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The database: `postgres://user@host/database`, optionally with `?sslmode=…`.
    pub url: Secret,
    /// The password. Replaces the one in the URL, if any.
    pub password: Option<Secret>,
    /// A PEM file with certificates to trust in addition to the system's. Makes TLS required, even for a database on
    /// this machine.
    pub ca: Option<PathBuf>,
    /// The name of the table, with or without a schema.
    #[serde(default = "default_table")]
    pub table: String,
    /// Whether to create a missing table, and to add missing columns to a table that an older version of bikhook
    /// created.
    #[serde(default = "yes")]
    pub create: bool,
}

/// The kind's own configuration keys, checked.
#[derive(Clone)]
pub(super) struct Settings {
    url: Url,
    ca: Option<PathBuf>,
    table_name: String,
    table: Table,
}

impl Kind for Postgres {
    const NAME: &'static str = "postgres";
    const ABOUT: &'static str = "writes a row per event into a table of PostgreSQL, each event once";
    const CONCURRENCY: usize = 1;
    const BATCH: usize = 500;
    const HARMLESS: &'static [&'static str] = &["ca", "table", "create"];
    const SECRET: &'static [&'static str] = &["url", "password"];
    type Keys = Keys;
    type Settings = Settings;

    fn check(keys: Keys) -> Result<Settings, Wrong> {
        let table = Table::new(&keys.table, keys.create)?;
        Ok(Settings { url: Url::read(&keys)?, ca: keys.ca, table_name: keys.table, table })
    }

    fn destination(settings: &Settings) -> String {
        format!("{}, table {}", settings.url.place(), settings.table_name)
    }

    fn shown(_settings: &Settings, delivery: &Delivery) -> String {
        Row::of(delivery).to_json()
    }

    async fn open(_name: &str, settings: Settings) -> Result<Self, OpenError> {
        let address = Arc::new(Address::of(&settings).await?);
        let canceller = Canceller::new(Arc::clone(&address));
        Ok(Self { address, table: settings.table, session: Mutex::new(None), canceller })
    }

    async fn look(&self) -> Result<(), Failure> {
        let mut slot = self.session.lock().await;
        if slot.is_none() {
            *slot = self.connect_and_insert(&[]).await.map_err(|error| {
                if error.is_away() {
                    return error.into();
                }
                Failure::misconfigured(error.class().to_string(), error.text()).advised(error.advice())
            })?;
        }
        Ok(())
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let rows: Vec<Row> = events.iter().map(Row::of).collect();
        let mut slot = self.session.lock().await;
        // Take the session out of the slot. If this delivery is dropped, the slot stays empty, and the next delivery
        // makes a new connection.
        if let Some(session) = slot.take() {
            match self.insert(session, &rows).await {
                Ok(session) => {
                    *slot = session;
                    return Ok(());
                }
                // The connection may have broken long ago, so reconnect within the same attempt.
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

    /// Returns the session when all rows are in the table. If the call is dropped before that, the statement is
    /// cancelled.
    async fn insert(&self, session: Session, rows: &[Row]) -> Result<Option<Session>, Error> {
        let mut busy = self.canceller.busy();
        let inserted = busy.session.insert(session).insert(&self.table, rows).await;
        let session = busy.session.take();
        inserted.map(|()| session)
    }
}
