//! rusqlite: one transaction per batch and a cached statement; the file is in WAL mode and is synced at each commit.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bikhook::handler::{
    Delivery,
    row::{COLUMNS, Row},
};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    super::support::{disk, run::Failed},
    Destination, Load,
    row::{definitions, names},
};

/// A folder of database files, one per run.
pub struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub fn start() -> Result<Self, Failed> {
        Ok(Self { folder: disk::folder(2 << 30)? })
    }

    fn path(&self, place: &str) -> PathBuf {
        self.folder.path().join(format!("{place}.db"))
    }

    fn open(&self, place: &str) -> rusqlite::Result<Connection> {
        let connection = Connection::open(self.path(place))?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_row| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL")?;
        Ok(connection)
    }
}

impl Destination for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn library(&self) -> &'static str {
        "rusqlite"
    }

    fn make(&self, place: &str) {
        let columns = definitions(|column| column.sqlite);
        let connection = self.open(place).unwrap();
        connection.execute_batch(&format!("CREATE TABLE bik_events ({columns})")).unwrap();
    }

    fn settings(&self, place: &str) -> String {
        format!("kind = \"sqlite\"\npath = {:?}", self.path(place))
    }

    fn bare(&self, _runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed> {
        let make = |delivery: &Delivery| {
            let row = Row::of(delivery);
            let times = (row.received_at.to_string(), row.created_at.map(|time| time.to_string()));
            (row, times)
        };
        let batches = load.batches(|batch| batch.iter().map(make).collect::<Vec<_>>());
        let mut connection = self.open(place)?;
        let values: Vec<String> = (1..=COLUMNS.len()).map(|at| format!("?{at}")).collect();
        let insert = format!(
            "INSERT INTO bik_events ({}) VALUES ({}) ON CONFLICT (key) DO NOTHING",
            names(),
            values.join(", ")
        );
        let began = Instant::now();
        for batch in &batches {
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(&insert)?;
            for (row, (received_at, created_at)) in batch {
                statement.execute(params![
                    row.key,
                    row.seq,
                    received_at,
                    row.source,
                    row.event_name,
                    row.bik_id,
                    row.store_id,
                    row.message_id,
                    row.status,
                    row.channel,
                    row.owner,
                    row.category,
                    row.customer_id,
                    row.customer_name,
                    row.phone,
                    created_at,
                    row.failure_reason,
                    row.attempt,
                    row.replay,
                    row.event,
                    row.raw,
                ])?;
            }
            drop(statement);
            transaction.commit()?;
        }
        Ok(began.elapsed())
    }

    fn count(&self, place: &str) -> u64 {
        let connection = self.open(place).unwrap();
        connection.query_row("SELECT count(*) FROM bik_events", [], |row| row.get(0)).unwrap()
    }

    fn remove(&self, place: &str) {
        std::fs::remove_file(self.path(place)).unwrap();
    }
}
