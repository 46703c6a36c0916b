//! Opens the journal: prepares the file, restores the state, and starts the threads.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, RwLock, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, DEFAULT_NAME, config::DbConfig, wal::CheckpointMode};
use tokio::sync::mpsc;

use super::{
    SqliteJournal,
    checkpoint::{self, Copier},
    durable::Durable,
    file::DatabaseFile,
    op::WriterOp,
    page_reader::PageReader,
    presence::Presence,
    restored::RestoredState,
    retention::Retention,
    room::DiskRoom,
    settings::Settings,
    shared::SharedState,
    stall,
    writer::JournalWriter,
};
use crate::{clock::Clock, disk, folder::with_suffix, journal::JournalOpenError, metrics::Metrics};

/// Capacity of the writer's queue, in operations. Callers wait while it is full.
const QUEUE: usize = 4_096;

impl SqliteJournal {
    /// Opens the journal with the clock of the operating system.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open_with`].
    pub fn open(settings: Settings, metrics: Arc<Metrics>) -> Result<Self, JournalOpenError> {
        Self::open_with(settings, metrics, Clock::system())
    }

    /// Opens the file, migrates an older format, syncs and empties the write-ahead log, rebuilds the key directory,
    /// and compares the clock with the last known time.
    ///
    /// # Errors
    /// Returns a [`JournalOpenError`]. If the file is in use, has a newer format, or is not a journal, nothing was
    /// changed.
    pub fn open_with(
        settings: Settings,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, JournalOpenError> {
        let file = Arc::new(DatabaseFile::lock(&settings.path)?);
        let engine = |error: rusqlite::Error| file.engine(&error);
        let io = |source| JournalOpenError::io(file.path(), source);
        let mut connection = file.writer()?;
        connection.set_prepared_statement_cache_capacity(64);
        let log = sync_log(&file, &connection)?;
        empty_log(&file, &connection)?;
        let restored = RestoredState::read(&connection).map_err(engine)?;
        if let Some(known) = restored.known {
            clock.start(known);
        }
        // From here on the module `durable` syncs the commits, so SQLite need not.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(engine)?;
        let page_bytes =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(engine)?;
        let presence = Presence::new(Arc::clone(&file), page_bytes).map_err(io)?;
        let shared = Arc::new(SharedState::new(presence, metrics, &restored));
        set_metrics(&shared.metrics, &clock, restored.tip, &settings);
        count_frames(&mut connection, &shared).map_err(engine)?;
        let (ops, queue) = mpsc::channel(QUEUE);
        let copier =
            Copier { connection: file.checkpointer()?, shared: Arc::clone(&shared), file: Arc::clone(&file) };
        let writer = JournalWriter {
            connection,
            shared: Arc::clone(&shared),
            durable: Durable::new(log, Arc::clone(&shared)).map_err(io)?,
            directory: restored.directory,
            lanes: restored.lanes,
            retention: Retention::new(restored.low),
            room: DiskRoom::new(file.path(), settings.disk_reserve),
            room_measured: None,
            tip: restored.tip,
            received_at: restored.received_at,
            clock: clock.clone(),
            eras: restored.eras,
            clock_seen: [None; 2],
            settings,
            chores_paused: None,
            deletion_paused: None,
            file: Arc::clone(&file),
        };
        let threads = Mutex::new(start_threads(writer, queue, &ops, copier).map_err(io)?);
        let pages = PageReader::new(file, Arc::clone(&shared));
        Ok(Self { pages, shared, clock, ops, threads, enrolled: RwLock::default() })
    }
}

/// Syncs and returns the write-ahead log. The log may hold commits that a killed process did not sync. After the start,
/// their events are delivered, and duplicates of these events get a 200. So the commits must be on disk first, even if
/// the following checkpoint fails.
fn sync_log(file: &DatabaseFile, connection: &Connection) -> Result<File, JournalOpenError> {
    let log = file.log().map_err(|source| JournalOpenError::io(file.path(), source))?;
    if let Err(source) = log.sync_data() {
        // Closing the connection must not copy a log whose data on disk is unknown.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(|error| file.engine(&error))?;
        let path = with_suffix(file.path(), "-wal").display().to_string();
        return Err(JournalOpenError::Unsynced { path, source });
    }
    Ok(log)
}

fn empty_log(file: &DatabaseFile, connection: &Connection) -> Result<(), JournalOpenError> {
    match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
        // A full disk is not an error here, because the pages can still be read from the log, and there may be space
        // later.
        Err(error) if disk::is_full_sqlite(&error, file.path()) => {
            tracing::warn!(
                %error,
                "journal's write-ahead log could not be emptied: the disk is full or a quota is exceeded"
            );
            Ok(())
        }
        emptied => emptied.map(drop).map_err(|error| file.engine(&error)),
    }
}

fn set_metrics(metrics: &Metrics, clock: &Clock, tip: u64, settings: &Settings) {
    metrics.journal_ready.set(1);
    metrics.clock_trusted.set(i64::from(clock.status().trusted));
    metrics.tip.set(i64::try_from(tip).unwrap_or(i64::MAX));
    metrics.keys_limit.set(settings.dedup_keys.try_into().unwrap_or(i64::MAX));
}

/// Keeps `wal_frames` up to date after each commit.
fn count_frames(connection: &mut Connection, shared: &Arc<SharedState>) -> rusqlite::Result<()> {
    let shared = Arc::clone(shared);
    connection.wal_hook(Some(move |_: &mut _, pages| {
        shared.wal_frames.store(u32::try_from(pages).unwrap_or_default(), Relaxed);
        Ok(())
    }))
}

/// Starts the checkpointer, the thread that watches for a stalled disk, and the writer.
fn start_threads(
    writer: JournalWriter,
    queue: mpsc::Receiver<WriterOp>,
    ops: &mpsc::Sender<WriterOp>,
    copier: Copier,
) -> io::Result<Vec<JoinHandle<()>>> {
    let (shared, deadline) = (Arc::clone(&writer.shared), *writer.settings.deadline);
    let checkpointer = checkpoint::spawn(Arc::clone(&shared), ops.downgrade(), move || copier.copy());
    let (stall, running) = stall::spawn(shared, deadline)?;
    let writer = thread::Builder::new().name("journal".to_owned()).spawn(move || {
        // Dropped when the writer ends, which ends the thread that watches for a stalled disk.
        let _running = running;
        writer.run(queue);
    });
    Ok(vec![checkpointer?, stall, writer?])
}
