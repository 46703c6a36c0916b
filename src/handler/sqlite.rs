//! `kind = "sqlite"`: writes each event as a row to a table of an SQLite file, with one transaction per batch.
//!
//! The event's key is the primary key of the table, so a redelivery changes nothing. The file is in WAL mode and synced
//! at each commit. If the file was moved away or replaced, the path is opened again, so that no row goes to a file that
//! nobody reads.

use std::{fs, os::unix::fs::OpenOptionsExt, path::PathBuf, sync::Arc, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    Delivery, Failure, FailureText, Kind, OpenError,
    row::{self, COLUMNS, Row, VERSION, default_table, table_name},
};
use crate::{
    disk,
    file_id::FileId,
    folder,
    settings::{Wrong, yes},
};

/// How long a statement waits for another writer of the file.
const BUSY: Duration = Duration::from_secs(5);

/// A handler that writes rows to an SQLite file.
pub(super) struct Sqlite {
    settings: Arc<Settings>,
    open: Arc<Mutex<Option<Open>>>,
}

/// The kind's own configuration keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The path of the file. Its directory is created if it is missing.
    pub path: PathBuf,
    /// The name of the table in the file.
    #[serde(default = "default_table")]
    pub table: String,
    /// Whether to create a missing table, and to add missing columns to a table that an older version of bikhook
    /// created.
    #[serde(default = "yes")]
    pub create: bool,
}

/// The open file, with its identity at the time of opening.
struct Open {
    connection: Connection,
    file: FileId,
}

impl Kind for Sqlite {
    const NAME: &'static str = "sqlite";
    const ABOUT: &'static str = "writes a row per event into a table of an SQLite file, each event once";
    /// One delivery writes to the file while the other prepares its rows.
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 500;
    const HARMLESS: &'static [&'static str] = &["path", "table", "create"];
    type Keys = Settings;
    type Settings = Settings;

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        table_name(&keys.table, 1)?;
        Ok(keys)
    }

    fn destination(settings: &Settings) -> String {
        format!("{}, table {}", settings.path.display(), settings.table)
    }

    fn files(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
        vec![("path", settings.path.clone())]
    }

    fn shown(_settings: &Settings, delivery: &Delivery) -> String {
        Row::of(delivery).to_json()
    }

    async fn open(_name: &str, settings: Settings) -> Result<Self, OpenError> {
        let path = settings.path.clone();
        tokio::task::spawn_blocking(move || folder::make(folder::of(&path), 0o750))
            .await?
            .map_err(|error| Error::Io(settings.path.clone(), error).to_string())?;
        Ok(Self { settings: Arc::new(settings), open: Arc::default() })
    }

    async fn look(&self) -> Result<(), Failure> {
        let mut open = Arc::clone(&self.open).lock_owned().await;
        let settings = Arc::clone(&self.settings);
        let looked = tokio::task::spawn_blocking(move || {
            if open.is_none() {
                *open = Some(settings.open_file()?);
            }
            Ok::<_, Error>(())
        });
        looked.await?.map_err(|error| match error.verdict() {
            (Remedy::Wait, _) => error.into(),
            (_, class) => Failure::misconfigured(class, error.text()),
        })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let events = events.to_vec();
        // Prepare the rows while another delivery may be using the file.
        let making = tokio::task::spawn_blocking(move || events.iter().map(Row::of).collect::<Vec<Row>>());
        let rows = making.await?;
        let mut open = Arc::clone(&self.open).lock_owned().await;
        let settings = Arc::clone(&self.settings);
        Ok(tokio::task::spawn_blocking(move || settings.deliver(&mut open, &rows)).await??)
    }
}

/// Opens the file, creates or extends the table, and inserts rows.
impl Settings {
    fn deliver(&self, slot: &mut Option<Open>, rows: &[Row]) -> Result<(), Error> {
        // After an error the slot stays empty, and the next delivery reopens the file.
        let mut open = match slot.take() {
            Some(open) if FileId::at(&self.path).is_ok_and(|(file, _)| file == open.file) => open,
            _ => self.open_file()?,
        };
        self.insert(&mut open.connection, rows).map_err(|error| self.error(error))?;
        *slot = Some(open);
        Ok(())
    }

    fn open_file(&self) -> Result<Open, Error> {
        // Create the file here, because SQLite would make it readable by everybody. SQLite's -wal and -shm files get
        // the same mode. An error is ignored, because the file may exist, and SQLite reports any other problem.
        let _ = fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(&self.path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.error(error))?;
        let (file, _) = FileId::at(&self.path).map_err(|error| Error::Io(self.path.clone(), error))?;
        self.prepare(&mut connection)?;
        Ok(Open { connection, file })
    }

    fn prepare(&self, connection: &mut Connection) -> Result<(), Error> {
        let error = |error| self.error(error);
        connection.busy_timeout(BUSY).map_err(error)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_row| Ok(())).map_err(error)?;
        connection.execute_batch("PRAGMA synchronous = FULL").map_err(error)?;
        let found = self.columns(connection).map_err(error)?;
        if !found.is_empty() && lacking(&found).is_empty() {
            return self.check(&found);
        }
        if !self.create {
            return Err(self.unfit(&found));
        }
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(error)?;
        let found = self.columns(&transaction).map_err(error)?;
        if found.is_empty() {
            let columns = row::definitions(|column| column.sqlite);
            let create = format!("CREATE TABLE \"{}\" ({columns})", self.table);
            transaction.execute_batch(&create).map_err(error)?;
        } else if self.version(&transaction).is_some_and(|version| version < VERSION) {
            for column in lacking(&found) {
                let add = format!("ALTER TABLE \"{}\" ADD COLUMN {column}", self.table);
                transaction.execute_batch(&add).map_err(error)?;
            }
        } else {
            return Err(self.unfit(&found));
        }
        let keep =
            "CREATE TABLE IF NOT EXISTS bikhook_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL);";
        transaction.execute_batch(keep).map_err(error)?;
        let version = "INSERT OR REPLACE INTO bikhook_tables VALUES (?1, ?2)";
        transaction.execute(version, params![self.table, VERSION]).map_err(error)?;
        self.check(&self.columns(&transaction).map_err(error)?)?;
        transaction.commit().map_err(error)
    }

    /// The value of [`VERSION`] when the table was created or last extended; `None` if unknown.
    fn version(&self, connection: &Connection) -> Option<u32> {
        let select = "SELECT version FROM bikhook_tables WHERE name = ?1";
        connection.query_row(select, [&self.table], |row| row.get(0)).ok()
    }

    fn columns(&self, connection: &Connection) -> rusqlite::Result<Vec<Found>> {
        let mut select = connection
            .prepare("SELECT name, \"notnull\", dflt_value IS NULL, pk FROM pragma_table_info(?1)")?;
        let found = select.query_map([&self.table], |row| {
            let required = row.get::<_, bool>(1)? && row.get::<_, bool>(2)?;
            Ok(Found { name: row.get(0)?, required, primary: row.get::<_, i64>(3)? == 1 })
        })?;
        found.collect()
    }

    fn unfit(&self, found: &[Found]) -> Error {
        let table = &self.table;
        if found.is_empty() {
            return Error::Unfit(format!("there is no table {table:?}: create it, or set `create = true`"));
        }
        let lacking = lacking(found).join(", ");
        Error::Unfit(format!("the table {table:?} lacks {lacking}: add them, or name another `table`"))
    }

    fn check(&self, found: &[Found]) -> Result<(), Error> {
        let table = &self.table;
        let known = |name: &str| COLUMNS.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        if let Some(other) = found.iter().find(|found| found.required && !known(&found.name)) {
            return Err(Error::Unfit(format!(
                "the table {table:?} has a column {:?} that is NOT NULL and has no default: add a default, or name \
                 another `table`",
                other.name
            )));
        }
        if !found.iter().any(|found| found.primary && found.name.eq_ignore_ascii_case(COLUMNS[0].name)) {
            return Err(Error::Unfit(format!(
                "the table {table:?} has no primary key `key`: add it, or name another `table`"
            )));
        }
        Ok(())
    }

    fn insert(&self, connection: &mut Connection, rows: &[Row]) -> rusqlite::Result<()> {
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        let places: Vec<String> = (1..=COLUMNS.len()).map(|at| format!("?{at}")).collect();
        let insert = format!(
            "INSERT INTO \"{}\" ({}) VALUES ({}) ON CONFLICT (key) DO NOTHING",
            self.table,
            names.join(", "),
            places.join(", ")
        );
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut statement = transaction.prepare_cached(&insert)?;
        for row in rows {
            statement.execute(params![
                row.key,
                row.seq,
                row.received_at.to_string(),
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
                row.created_at.map(|time| time.to_string()),
                row.failure_reason,
                row.attempt,
                row.replay,
                row.event,
                row.raw,
            ])?;
        }
        drop(statement);
        transaction.commit()
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        Error::Sqlite(self.path.clone(), error)
    }
}

/// A column of the existing table.
struct Found {
    name: String,
    /// Each row must have a value for the column: it is NOT NULL and has no default.
    required: bool,
    /// The column is the first one of the primary key.
    primary: bool,
}

fn lacking(found: &[Found]) -> Vec<String> {
    row::lacking(|column| column.sqlite, |name| found.iter().any(|it| it.name.eq_ignore_ascii_case(name)))
}

/// Why the file could not be opened or written, or why its table does not fit.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}: {_1}: the user that runs bikhook must be able to write there", _0.display())]
    Io(PathBuf, std::io::Error),
    #[error("{}: {_1}", _0.display())]
    Sqlite(PathBuf, rusqlite::Error),
    #[error("{_0}")]
    Unfit(String),
}

/// How to resolve an error.
enum Remedy {
    /// Try again. Both a delivery and [`Kind::look`] return a [`Failure::Retry`], because the error is temporary.
    Wait,
    /// Try again. A delivery returns a [`Failure::Retry`], but [`Kind::look`] a [`Failure::Misconfigured`].
    Retry,
    /// Reject the event: the table never accepts it. Other events may succeed.
    Refuse,
    /// Change the settings or the table: a retry does not help.
    Fix,
}

impl Error {
    /// The remedy, and an error class that is safe for logs.
    fn verdict(&self) -> (Remedy, &'static str) {
        match self {
            Self::Io(_, error) if error.kind() == std::io::ErrorKind::NotFound => {
                (Remedy::Retry, "not found")
            }
            Self::Io(..) => (Remedy::Retry, "no permission"),
            Self::Unfit(_) => (Remedy::Fix, "unfit table"),
            Self::Sqlite(path, error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (Remedy::Wait, "locked"),
                Some(ErrorCode::DiskFull) => (Remedy::Wait, "disk full"),
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (Remedy::Retry, "read-only"),
                Some(ErrorCode::CannotOpen) => (Remedy::Retry, "cannot open"),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => (Remedy::Fix, "not a database"),
                Some(ErrorCode::ConstraintViolation) => (Remedy::Refuse, "constraint"),
                Some(ErrorCode::TooBig) => (Remedy::Refuse, "too big"),
                // SQLite does not report every full disk as `DiskFull`. It reports an I/O error if a quota is
                // exceeded, or if the disk is full and the -shm file cannot grow.
                _ if disk::is_full_sqlite(error, path) => (Remedy::Wait, "disk full"),
                _ => (Remedy::Retry, "sqlite"),
            },
        }
    }

    /// The error text. SQLite's message may quote an event, for example if a trigger of the table raised the error. So
    /// the message goes into `saying`, and a page shows it only while the page shows personal data.
    fn text(&self) -> FailureText {
        match self {
            Self::Sqlite(path, error) => FailureText::from(path.display()).saying(error),
            error => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.text();
        match error.verdict() {
            (Remedy::Refuse, class) => Self::refuse(class, text),
            (Remedy::Fix, class) => Self::misconfigured(class, text),
            (Remedy::Wait | Remedy::Retry, class) => Self::retry(class, text),
        }
    }
}
