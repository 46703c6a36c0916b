//! Insight's file: its lock, its connections and its format.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::public_id::key_file_of;
use crate::{
    folder::with_suffix,
    lock::{Lock, LockError, lock_of},
    secret,
};

/// The format that this version writes.
const FORMAT: i64 = 3;
/// "biki": marks the file as insight's.
const APPLICATION_ID: i64 = 0x6269_6b69;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writing connection, in KiB. It is meant to hold the indexes by message and by customer.
const WRITER_CACHE_KIB: i64 = 64 << 10;
/// Size of the write-ahead log, in pages, that starts a checkpoint.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Migration from format 1 to 2: adds the vocabularies, and cuts texts that are too long, unless the cut text already
/// exists.
const FROM_1_TO_2: &str = "
    UPDATE OR IGNORE word SET text = substr(text, 1, 200) || '…' WHERE length(text) > 201;
    UPDATE OR IGNORE reason SET text = substr(text, 1, 1000) || '…' WHERE length(text) > 1001;
    CREATE TABLE vocabulary (
      kind        INTEGER NOT NULL,
      word        INTEGER NOT NULL,
      PRIMARY KEY (kind, word)
    ) WITHOUT ROWID;
    INSERT OR IGNORE INTO vocabulary
      SELECT 0, source FROM slice UNION SELECT 0, source FROM heard UNION SELECT 0, source FROM arrival
      UNION SELECT 1, store FROM slice WHERE store IS NOT NULL
      UNION SELECT 1, store FROM contact WHERE store IS NOT NULL
      UNION SELECT 2, channel FROM slice WHERE channel IS NOT NULL
      UNION SELECT 2, channel FROM contact WHERE channel <> 0
      UNION SELECT 3, owner FROM slice WHERE owner IS NOT NULL
      UNION SELECT 4, owner_id FROM slice WHERE owner_id IS NOT NULL
      UNION SELECT 5, status FROM sighting WHERE status <> 0
      UNION SELECT 6, name FROM arrival UNION SELECT 6, name FROM occurrence
      UNION SELECT 7, class FROM failure;
";

/// The tables of customers.
const CUSTOMERS: &str = include_str!("customers.sql");

/// Migration from format 2 to 3: adds the columns `said_at` and `role` of messages. SQL cannot make the keys and public
/// ids of customers. So the customers stay in `old_contact` until the ledger moves them. The ledger also sets the role
/// of answers.
const FROM_2_TO_3: &str = "
    DROP INDEX contact_address;
    DROP INDEX contact_customer;
    DROP INDEX contact_last;
    DROP INDEX contact_waiting;
    ALTER TABLE contact RENAME TO old_contact;
    ALTER TABLE message ADD COLUMN said_at INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE message ADD COLUMN role INTEGER;
    UPDATE message SET
      said_at = min(first_at, iif(created_at >= 946684800000, created_at, first_at)),
      created_at = iif(created_at >= 946684800000, created_at - min(first_at, created_at), NULL),
      role = iif(incoming, iif(deleted, 3, 2), NULL);
    CREATE INDEX message_role ON message (contact, role, said_at) WHERE role IS NOT NULL;
";

/// Why insight's file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum InsightOpenError {
    /// Another process has locked the file.
    #[error("insight's file {path} is in use by another process ({lock})")]
    Locked { path: String, lock: LockError },
    /// The file is not insight's, or it has a newer format.
    #[error(
        "{path} is not an insight file of this version ({what}): set another [insight] path, or move the file away"
    )]
    Foreign {
        path: String,
        /// A description of the file that was found instead.
        what: String,
    },
    #[error("cannot open insight's file {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("cannot open insight's file {path}: {source}")]
    Engine { path: String, source: rusqlite::Error },
    /// The secret of public ids cannot be used.
    #[error(transparent)]
    IdKey(#[from] secret::FileError),
    /// The failure classes could not be loaded.
    #[error(transparent)]
    FailureClasses(#[from] super::failures::FailureClassesError),
}

/// The file, locked for this process for the lifetime of this value.
pub struct InsightFile {
    path: PathBuf,
    _lock: Lock,
}

impl InsightFile {
    /// Locks the file for this process. Creates the file and its folder (mode 0700) if they are missing.
    ///
    /// # Errors
    /// Returns [`InsightOpenError`] if another process has the lock, or the file system returns an error.
    pub fn lock(path: &Path) -> Result<Self, InsightOpenError> {
        let (lock, _file) = Lock::take_database(path).map_err(|error| {
            let path = path.display().to_string();
            match error {
                LockError::Io(source) => InsightOpenError::Io { path, source },
                lock @ LockError::Held { .. } => InsightOpenError::Locked { path, lock },
            }
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Opens the connection that writes. Creates the schema in a new file, and migrates an old one.
    ///
    /// # Errors
    /// Returns [`InsightOpenError`] if the file is not insight's, has a newer format, or SQLite fails.
    pub fn writer(&self) -> Result<Connection, InsightOpenError> {
        let path = self.path.display().to_string();
        match self.open() {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(what)) => Err(InsightOpenError::Foreign { path, what }),
            Err(source) if source.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
                Err(InsightOpenError::Foreign { path, what: "it is not a database".to_owned() })
            }
            Err(source) => Err(InsightOpenError::Engine { path, source }),
        }
    }

    /// Opens the connection that writes. If the file is not insight's or has a newer format, the inner error says so.
    fn open(&self) -> rusqlite::Result<Result<Connection, String>> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let format = pragma("user_version")?;
        match (tables, pragma("application_id")?, format) {
            (0, _, _) | (_, APPLICATION_ID, 1..=FORMAT) => {}
            (_, APPLICATION_ID, format) => {
                return Ok(Err(format!("it has format {format}, this version uses {FORMAT}")));
            }
            _ => return Ok(Err("it is a database of another program".to_owned())),
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A power cut may undo the last transactions. Then the cursor also falls back, so insight processes their
        // events again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(64);
        if tables == 0 {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {} {CUSTOMERS} PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = {FORMAT}; COMMIT;",
                include_str!("schema.sql")
            ))?;
        } else if format < FORMAT {
            tracing::info!(from = format, to = FORMAT, "migration of insight's file started");
            let first = if format < 2 { FROM_1_TO_2 } else { "" };
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {first} {FROM_2_TO_3} {CUSTOMERS} PRAGMA user_version = {FORMAT}; COMMIT;"
            ))?;
        }
        Ok(Ok(connection))
    }

    /// Opens a connection that only reads.
    ///
    /// # Errors
    /// Returns SQLite errors.
    pub fn reader(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }
}

/// Insight's file at `path`, and the files that belong to it. Only insight may write to these files.
pub fn files(path: &Path) -> [PathBuf; 5] {
    [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm"), lock_of(path), key_file_of(path)]
}
