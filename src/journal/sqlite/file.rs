//! The database file: its lock, its connections, its format.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, FileControl, OpenFlags};

use crate::{
    disk,
    folder::{self, with_suffix},
    journal::JournalOpenError,
    lock::{Lock, LockError},
};

/// The format that this version of bikhook writes.
pub(super) const FORMAT: i64 = 4;
/// "bikh" in ASCII, which identifies the database as a bikhook journal.
const APPLICATION_ID: i64 = 0x6269_6b68;
/// The file grows in steps of this size, because growing makes a sync slow.
const CHUNK_BYTES: i32 = 32 << 20;
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The database file of a journal, locked for this process until this value is dropped or released.
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Stays open until the last connection is closed, because closing this file drops all POSIX locks of this process
    /// on it, including those of SQLite.
    data: Mutex<Option<File>>,
    lock: Lock,
}

impl DatabaseFile {
    /// Locks the file for this process. Creates the file (0600) and its folder (0700) if they are missing.
    ///
    /// # Errors
    /// Returns [`JournalOpenError::Locked`], which names the lock file and its holder, or [`JournalOpenError::Io`].
    pub(super) fn lock(path: &Path) -> Result<Self, JournalOpenError> {
        let (lock, data) = Lock::take_database(path).map_err(|error| match error {
            LockError::Io(source) => JournalOpenError::io(path, source),
            lock @ LockError::Held { .. } => {
                JournalOpenError::Locked { path: path.display().to_string(), lock }
            }
        })?;
        Ok(Self { path: path.to_owned(), data: Mutex::new(Some(data)), lock })
    }

    /// Releases the lock for other processes. Must be called after the last connection is closed.
    ///
    /// # Errors
    /// Returns an error if the lock cannot be released.
    pub(super) fn release(&self) -> std::io::Result<()> {
        drop(self.data().take());
        self.lock.release()
    }

    /// Syncs the database file. SQLite itself syncs the file at the end of a checkpoint. An earlier sync makes the sync
    /// by SQLite fast.
    ///
    /// # Errors
    /// Returns an error if the sync fails. After that, the data on disk is unknown.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        match &*self.data() {
            Some(data) => data.sync_data(),
            None => Ok(()),
        }
    }

    /// Opens the write-ahead log, to sync it or to read frames. The log exists once the writing connection is open. The
    /// returned file may be closed at any time. Closing it drops all POSIX locks of this process on the log, but SQLite
    /// has none there.
    ///
    /// # Errors
    /// Returns an error if the log cannot be opened.
    pub(super) fn log(&self) -> std::io::Result<File> {
        File::open(with_suffix(&self.path, "-wal"))
    }

    fn data(&self) -> MutexGuard<'_, Option<File>> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Path of the database file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True if the lock file is still the one that another process would find.
    pub(super) fn is_lock_in_place(&self) -> bool {
        self.lock.is_in_place()
    }

    /// Opens the connection that writes. Creates the schema in a new file, and migrates an older format.
    ///
    /// # Errors
    /// Returns [`JournalOpenError::Newer`] or [`JournalOpenError::Foreign`] before anything was changed, and
    /// [`JournalOpenError::Engine`] for SQLite errors.
    pub(super) fn writer(&self) -> Result<Connection, JournalOpenError> {
        let engine = |error: rusqlite::Error| self.engine(&error);
        self.format()?;
        let mut connection = self.connect().map_err(engine)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(engine)?;
        // 8 MiB and not more: with a large page cache, SQLite spent a fifth of the writer's time on truncating that
        // cache (measured).
        connection.pragma_update(None, "cache_size", -8 * 1024).map_err(engine)?;
        migrate(&mut connection).map_err(engine)?;
        connection.execute_batch(DEAD_BY_AGE).map_err(engine)?;
        connection.execute_batch(include_str!("schema-omitted.sql")).map_err(engine)?;
        Ok(connection)
    }

    /// Opens a connection for checkpoints.
    ///
    /// # Errors
    /// Returns SQLite errors.
    pub(super) fn checkpointer(&self) -> Result<Connection, JournalOpenError> {
        self.connect().map_err(|error| self.engine(&error))
    }

    /// Opens a connection that only reads.
    ///
    /// # Errors
    /// Returns SQLite errors.
    pub(super) fn reader(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "cache_size", -2 * 1024)?;
        Ok(connection)
    }

    /// Reads the format number; 0 while the file is empty. The file is not changed, unless its creation was
    /// interrupted and has to be rolled back.
    ///
    /// # Errors
    /// Returns [`JournalOpenError::Newer`] or [`JournalOpenError::Foreign`].
    pub(super) fn format(&self) -> Result<i64, JournalOpenError> {
        let empty = std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() == 0);
        if empty {
            return Ok(0);
        }
        let (is_ours, found) = self.header().map_err(|error| self.foreign(&error.to_string()))?;
        if !is_ours {
            return Err(self.foreign("it is a database of another program"));
        }
        if found > FORMAT {
            let path = self.path.display().to_string();
            return Err(JournalOpenError::Newer { path, found, known: FORMAT });
        }
        Ok(found)
    }

    /// The first value is `true` if the file is a journal or has no tables. The second is the format number.
    fn header(&self) -> rusqlite::Result<(bool, i64)> {
        let connection = self.probe()?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let is_ours = pragma("application_id")? == APPLICATION_ID
            || !connection.prepare("SELECT 1 FROM sqlite_schema")?.exists([])?;
        Ok((is_ours, pragma("user_version")?))
    }

    /// Opens a connection that can read the file. A power cut while the file was created leaves a rollback journal,
    /// and only a writable connection can roll it back.
    fn probe(&self) -> rusqlite::Result<Connection> {
        let read = self.reader().and_then(|reader| {
            reader.pragma_query_value(None, "user_version", |_| Ok(()))?;
            Ok(reader)
        });
        match read {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => self.connect(),
            read => read,
        }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let mut chunk = CHUNK_BYTES;
        connection.file_control(DEFAULT_NAME, FileControl::ChunkSize(&mut chunk))?;
        Ok(connection)
    }

    pub(super) fn foreign(&self, what: &str) -> JournalOpenError {
        JournalOpenError::Foreign { path: self.path.display().to_string(), what: what.to_owned() }
    }

    pub(super) fn older(&self, found: i64) -> JournalOpenError {
        JournalOpenError::Older { path: self.path.display().to_string(), found, known: FORMAT }
    }

    /// Converts an SQLite error. It is lasting if a restart cannot help.
    pub(super) fn engine(&self, error: &rusqlite::Error) -> JournalOpenError {
        let lasting = match error {
            // A stored value is invalid.
            rusqlite::Error::FromSqlConversionFailure(..) => true,
            error => match error.sqlite_error_code() {
                Some(
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::PermissionDenied
                    | ErrorCode::ReadOnly,
                ) => true,
                Some(ErrorCode::CannotOpen) => self.may_not_be_opened(),
                _ => false,
            },
        };
        let full = disk::is_full_sqlite(error, &self.path);
        let why = if full { ": the disk is full or a quota is exceeded" } else { "" };
        JournalOpenError::Engine {
            path: self.path.display().to_string(),
            what: format!("{error}{why}"),
            lasting,
        }
    }

    /// True if one of the files exists but this process may not open it.
    fn may_not_be_opened(&self) -> bool {
        ["", "-wal", "-shm"].iter().any(|suffix| {
            let opened = OpenOptions::new().read(true).write(true).open(with_suffix(&self.path, suffix));
            opened.is_err_and(|error| error.kind() != io::ErrorKind::NotFound && folder::is_lasting(&error))
        })
    }
}

/// Index for finding expired dead letters without reading those that are kept. A file of any format may lack it, so
/// it is created at each start.
const DEAD_BY_AGE: &str = "CREATE INDEX IF NOT EXISTS dead_died_at ON dead (died_at, retrying, lane, era)";

/// For each format after the first, the migration from the previous one.
const STEPS: [(i64, &str); 3] =
    [(2, include_str!("schema-2.sql")), (3, include_str!("schema-3.sql")), (4, include_str!("schema-4.sql"))];

/// Applies one step for each format newer than the file's. A new file gets the current schema at once.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == FORMAT {
        return Ok(());
    }
    if found > 0 {
        tracing::info!(
            from = found,
            to = FORMAT,
            "migration of the journal started; older versions cannot open it"
        );
    }
    let transaction = connection.transaction()?;
    match found {
        0 => transaction.execute_batch(include_str!("schema.sql"))?,
        found => {
            for (_, step) in STEPS.iter().filter(|(format, _)| *format > found) {
                transaction.execute_batch(step)?;
            }
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    if found > 0 {
        tracing::info!(from = found, to = FORMAT, "migration of the journal finished");
    }
    Ok(())
}
