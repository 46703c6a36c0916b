//! Insight's file: its lock, its connections, its format.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    folder::{self, with_suffix},
    lock::{Lock, LockError, lock_of},
};

/// The format that this version writes.
const FORMAT: i64 = 2;
/// "biki": marks the file as insight's.
const APPLICATION_ID: i64 = 0x6269_6b69;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What the writing connection keeps of the file in memory, in KiB: the indexes by message and by customer.
const WRITER_CACHE_KIB: i64 = 64 << 10;
/// Pages of the log after which it is taken over into the file.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Words get their vocabularies; those that are too long are cut, unless what is left is a word already.
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

/// Why insight's file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("insight's file {path} is in use by another process ({lock})")]
    Locked {
        /// The file.
        path: String,
        /// Its lock.
        lock: LockError,
    },
    /// The file is not insight's, or of a newer version.
    #[error(
        "{path} is not a file of this version's insight ({what}): name another in [insight] path, or move it away"
    )]
    Foreign {
        /// The file.
        path: String,
        /// What was found.
        what: String,
    },
    /// The file system said no.
    #[error("cannot open insight's file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// SQLite said no.
    #[error("cannot open insight's file {path}: {source}")]
    Engine {
        /// The file.
        path: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// The table of failures is wrong.
    #[error(transparent)]
    Failures(#[from] super::failures::FailuresError),
}

/// The file, locked for this process while this value lives.
pub struct InsightFile {
    path: PathBuf,
    _lock: Lock,
}

impl InsightFile {
    /// Locks the file for this process; makes it and its folder (0700) where they are missing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.display().to_string(), source };
        folder::make(folder::of(path), 0o700).map_err(io)?;
        let lock = Lock::take(path).map_err(|error| match error {
            LockError::Io(source) => io(source),
            lock @ LockError::Held { .. } => OpenError::Locked { path: path.display().to_string(), lock },
        })?;
        // It holds personal data: nobody but its owner reads it. SQLite gives its other files the same mode.
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The connection that writes: makes the schema where the file is new.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn writer(&self) -> Result<Connection, OpenError> {
        self.open().map_err(|error| {
            let path = self.path.display().to_string();
            match error {
                Wrong::Foreign(what) => OpenError::Foreign { path, what },
                Wrong::Engine(source)
                    if source.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
                {
                    OpenError::Foreign { path, what: "it is no database".to_owned() }
                }
                Wrong::Engine(source) => OpenError::Engine { path, source },
            }
        })
    }

    fn open(&self) -> Result<Connection, Wrong> {
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
                return Err(Wrong::Foreign(format!("it has format {format}, this version has {FORMAT}")));
            }
            _ => return Err(Wrong::Foreign("it is another program's".to_owned())),
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A power cut may take the last seconds: the cursor goes with them, and they are learnt again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(64);
        if tables == 0 {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;",
                include_str!("schema.sql")
            ))?;
        } else if format < FORMAT {
            tracing::info!(from = format, to = FORMAT, "insight's file is brought to this version's format");
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {FROM_1_TO_2} PRAGMA user_version = {FORMAT}; COMMIT;"
            ))?;
        }
        Ok(connection)
    }

    /// A connection that only reads.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn reader(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }
}

/// Every file that belongs to insight's at `path`: nothing else may write there.
pub fn files(path: &Path) -> [PathBuf; 4] {
    [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm"), lock_of(path)]
}

enum Wrong {
    Foreign(String),
    Engine(rusqlite::Error),
}

impl From<rusqlite::Error> for Wrong {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}
