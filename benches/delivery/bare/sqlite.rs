//! rusqlite: one transaction per batch and a cached statement; the file is in WAL mode and is synced at each commit.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    super::support::{disk, run::Failed},
    Destination, Load,
    row::{COLUMNS, Row, names},
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
        let columns = COLUMNS.map(|(name, _, of_sqlite)| format!("{name} {of_sqlite}")).join(", ");
        let connection = self.open(place).unwrap();
        connection.execute_batch(&format!("CREATE TABLE bik_events ({columns})")).unwrap();
    }

    fn settings(&self, place: &str) -> String {
        format!("kind = \"sqlite\"\npath = {:?}", self.path(place))
    }

    fn bare(&self, _runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed> {
        let batches = load.batches(|batch| batch.iter().map(Row::of).collect::<Vec<_>>());
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
            for row in batch {
                statement.execute(params![
                    row.key,
                    row.seq,
                    row.received_at,
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
                    row.created_at,
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
