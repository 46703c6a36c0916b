//! The embedded journal: one SQLite file, written by one thread.
//!
//! The tables are append-only. The keys of the deduplication window are indexed in memory (`directory`): a unique
//! index on random ids would dirty one page per event and slow down as it grows. Requests that arrive together share
//! one commit (`writer`, `group`). Checkpoints run in a thread beside the writer (`checkpoint`). After a failed
//! write, sync or checkpoint the data on disk is unknown, so the journal reports the failure and rejects everything.
//! A full disk is not a failure: intake resumes when there is space again.

mod checkpoint;
mod directory;
mod durable;
mod eras;
mod file;
mod group;
mod lanes;
mod offline;
mod op;
mod pauses;
mod places;
mod presence;
mod reader;
mod recent;
mod replays;
mod retention;
mod room;
mod settings;
mod shared;
mod stall;
mod timekeeping;
mod writer;

pub use offline::Offline;
pub use places::rename_offline;
pub use settings::Settings;
pub(crate) use shared::NOTHING_LOST;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Instant,
};

use rusqlite::{Connection, DEFAULT_NAME, OptionalExtension, config::DbConfig, wal::CheckpointMode};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    checkpoint::Copier,
    directory::Directory,
    durable::Durable,
    eras::Eras,
    file::DatabaseFile,
    group::{ENTRY, entry},
    lanes::Lanes,
    op::{Append, Change, Op},
    presence::Presence,
    recent::Recent,
    retention::Retention,
    room::Room,
    shared::Shared,
    stall::Waiting,
    writer::Writer,
};
use super::{
    AppendError, Batch, BoxFuture, Claim, DeadLetter, DeadQuery, Ends, Enrolment, Error, EventPage,
    EventQuery, Figures, HandlerPlace, Journal, LaneId, LaneState, NewReplay, OpenError, Passage, Pause,
    Pauses, QuarantineEntry, QuarantineQuery, Receipt, RenameError, RenameRefusal, ReplayState, Replays,
    State,
};
use crate::{
    clock::{Clock, LastKnown, Timestamp},
    disk,
    event::{Class, Event},
    folder::with_suffix,
    lock::lock_of,
    metrics::Metrics,
    panics,
};

/// Capacity of the writer's queue. Callers wait while it is full.
const QUEUE: usize = 4_096;
/// Maximum number of pages that one claim searches. If they have no event of the class, the claim returns empty, to
/// stay short.
const WINDOWS: usize = 16;
/// Maximum number of idle read connections that stay open.
const READERS: usize = 4;

/// The embedded journal, in one SQLite file.
pub struct Sqlite {
    file: Arc<DatabaseFile>,
    shared: Arc<Shared>,
    clock: Clock,
    ops: mpsc::Sender<Op>,
    readers: Arc<Mutex<Vec<Connection>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    enrolled: RwLock<Vec<LaneId>>,
}

impl Sqlite {
    /// Opens the journal with the clock of the operating system.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open_with`].
    pub fn open(settings: Settings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        Self::open_with(settings, metrics, Clock::system())
    }

    /// Opens the file, migrates an older format, syncs and empties the write-ahead log, rebuilds the key directory,
    /// and compares the clock with the last known time.
    ///
    /// # Errors
    /// Returns an [`OpenError`]. If the file is in use, newer or foreign, nothing was changed.
    pub fn open_with(settings: Settings, metrics: Arc<Metrics>, clock: Clock) -> Result<Self, OpenError> {
        let file = Arc::new(DatabaseFile::lock(&settings.path)?);
        let engine = |error: rusqlite::Error| file.engine(&error);
        let io = |source| OpenError::Io { path: file.path().display().to_string(), source };
        let mut connection = file.writer()?;
        connection.set_prepared_statement_cache_capacity(64);
        // Commits that a killed process did not sync are visible. Nothing may be delivered or answered by them before
        // they are on disk, also where the checkpoint below fails.
        let log = file.log().map_err(io)?;
        if let Err(source) = log.sync_data() {
            // Closing the connection must not copy a log whose data on disk is unknown.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(engine)?;
            let path = with_suffix(file.path(), "-wal").display().to_string();
            return Err(OpenError::Unsynced { path, source });
        }
        match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
            // The pages can still be read from the log, and there may be space later.
            Err(error) if disk::is_full_sqlite(&error, &settings.path) => {
                tracing::warn!(
                    %error,
                    "journal's write-ahead log could not be emptied: the disk is full or a quota is exceeded"
                );
            }
            emptied => drop(emptied.map_err(engine)?),
        }
        let restored = Restored::read(&connection).map_err(engine)?;
        if let Some(known) = restored.known {
            clock.start(known);
        }
        // From here on `durable` syncs the commits.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(engine)?;
        let page_bytes =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(engine)?;
        let presence = Presence::new(Arc::clone(&file), page_bytes).map_err(io)?;
        let shared = Arc::new(Shared {
            recent: Recent::default(),
            tip: watch::Sender::new(restored.tip),
            state: watch::Sender::new(State::Ready),
            retries: watch::Sender::new(0),
            paused: watch::Sender::new(restored.paused),
            replays: watch::Sender::new(restored.replays),
            low: AtomicU64::new(restored.low),
            keys: AtomicU64::new(restored.directory.len()),
            oldest_key_ms: AtomicI64::new(restored.oldest_key.map_or(i64::MAX, Timestamp::as_ms)),
            wal_frames: AtomicU32::new(0),
            reset_wanted: AtomicBool::new(false),
            pages: RwLock::new(()),
            waiting: Waiting::new(),
            presence,
            tampering: OnceLock::new(),
            metrics,
        });
        shared.metrics.journal_ready.set(1);
        shared.metrics.clock_trusted.set(i64::from(clock.status().trusted));
        shared.metrics.tip.set(i64::try_from(restored.tip).unwrap_or(i64::MAX));
        shared.metrics.keys_limit.set(settings.dedup_keys.try_into().unwrap_or(i64::MAX));
        let frames = Arc::clone(&shared);
        connection
            .wal_hook(Some(move |_: &mut _, pages| {
                frames.wal_frames.store(u32::try_from(pages).unwrap_or_default(), Relaxed);
                Ok(())
            }))
            .map_err(engine)?;
        let (ops, queue) = mpsc::channel(QUEUE);
        let copier =
            Copier { connection: file.checkpointer()?, shared: Arc::clone(&shared), file: Arc::clone(&file) };
        let checkpointer = checkpoint::spawn(Arc::clone(&shared), ops.downgrade(), move || copier.copy());
        let (stall, running) = stall::spawn(Arc::clone(&shared), *settings.deadline).map_err(io)?;
        let writer = Writer {
            connection,
            shared: Arc::clone(&shared),
            durable: Durable::new(log, Arc::clone(&shared)).map_err(io)?,
            directory: restored.directory,
            lanes: restored.lanes,
            retention: Retention::new(restored.low),
            room: Room::new(file.path(), settings.disk_reserve),
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
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            // Dropped when the writer ends, which ends the thread that watches for a stalled disk.
            let _running = running;
            writer.run(queue);
        });
        let threads = vec![checkpointer.map_err(io)?, stall, thread.map_err(io)?];
        Ok(Self {
            shared,
            clock,
            ops,
            readers: Arc::default(),
            threads: Mutex::new(threads),
            enrolled: RwLock::default(),
            file,
        })
    }

    /// Runs a read on a blocking thread, with a connection of the pool. Each page holds a lock that keeps the writer
    /// from resetting the log, so `read` should decode the rows after the page has ended.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Pages) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let pages = Pages {
            file: Arc::clone(&self.file),
            shared: Arc::clone(&self.shared),
            pool: Arc::clone(&self.readers),
        };
        let done = tokio::task::spawn_blocking(move || read(&pages)).await;
        done.unwrap_or_else(|ended| Err(Error::Read(panics::why_ended(&ended).into())))
    }

    async fn change(&self, change: Change) -> Result<Vec<i64>, Error> {
        let (reply, answer) = oneshot::channel();
        self.ops.send(Op::Change(change, reply)).await.map_err(|_closed| self.gone())?;
        answer.await.map_err(|_closed| self.gone())?
    }

    /// True for lanes of this run: those of enrolled handlers, and those of replays that have not ended.
    fn is_known(&self, lane: &LaneId) -> bool {
        match lane.replay {
            None => self.enrolled.read().unwrap_or_else(PoisonError::into_inner).contains(lane),
            Some(id) => self.shared.replays.borrow().get(&id).is_some_and(|replay| !replay.state.has_ended()),
        }
    }

    /// The error to return when the writer does not answer.
    fn gone(&self) -> Error {
        if self.shared.failed() { Error::Failed } else { Error::Stopped }
    }
}

/// Access to pages of the database file.
struct Pages {
    file: Arc<DatabaseFile>,
    shared: Arc<Shared>,
    pool: Arc<Mutex<Vec<Connection>>>,
}

impl Pages {
    /// Runs one read transaction.
    fn page<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let wrong = |error: rusqlite::Error| Error::Read(error.to_string().into());
        if *self.shared.state.borrow() == State::Closed {
            return Err(Error::Stopped);
        }
        let pooled = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => self.file.reader().map_err(wrong)?,
        };
        let result = {
            let _page = self.shared.pages.read().unwrap_or_else(PoisonError::into_inner);
            read(&connection)
        };
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < READERS {
            pool.push(connection);
        }
        result.map_err(wrong)
    }

    fn claim(&self, class: Class, after: u64, max: usize) -> Result<Claim, Error> {
        let tip = *self.shared.tip.borrow();
        let mut after = after.max(self.shared.low.load(Relaxed).saturating_sub(1));
        for _ in 0..WINDOWS {
            if after >= tip {
                break;
            }
            let through = tip.min(after + reader::PAGE);
            let rows = self.page(|connection| reader::claim(connection, class, after, through, max))?;
            let claim = rows.decode()?;
            if !claim.events.is_empty() {
                return Ok(claim);
            }
            after = claim.through;
        }
        Ok(Claim { events: Vec::new(), through: after })
    }
}

impl Journal for Sqlite {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn accept_clock(&self) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move { Ok(!self.change(Change::AcceptClock).await?.is_empty()) })
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Receipt, AppendError>> {
        Box::pin(async move {
            let gone = || if self.shared.failed() { AppendError::Failed } else { AppendError::Stopped };
            let (reply, answer) = oneshot::channel();
            self.ops
                .send(Op::Append(Append { since: Instant::now(), batch, reply }))
                .await
                .map_err(|_closed| gone())?;
            answer.await.map_err(|_closed| gone())?
        })
    }

    fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    fn tip(&self) -> watch::Receiver<u64> {
        self.shared.tip.subscribe()
    }

    fn enrol(&self, handlers: Vec<Enrolment>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let lanes = handlers
                .iter()
                .flat_map(|one| Class::ALL.map(|class| LaneId::live(Arc::clone(&one.handler), class)))
                .collect();
            self.change(Change::Enrol(handlers)).await?;
            *self.enrolled.write().unwrap_or_else(PoisonError::into_inner) = lanes;
            Ok(())
        })
    }

    fn handlers(&self) -> BoxFuture<'_, Result<Vec<HandlerPlace>, Error>> {
        Box::pin(async move {
            self.flush().await?;
            let enrolled = self.enrolled.read().unwrap_or_else(PoisonError::into_inner).clone();
            let tip = *self.shared.tip.borrow();
            let low = self.shared.low.load(Relaxed);
            self.read(move |pages| {
                pages.page(|connection| {
                    places::all(connection, tip, low, |name| {
                        enrolled.iter().any(|lane| &*lane.handler == name)
                    })
                })
            })
            .await
        })
    }

    fn rename_handler(&self, old: Arc<str>, new: Arc<str>) -> BoxFuture<'_, Result<(), RenameError>> {
        Box::pin(async move {
            let is_at_work = |name: &Arc<str>| self.is_known(&LaneId::live(Arc::clone(name), Class::Other));
            if is_at_work(&old) {
                return Err(RenameRefusal::Configured.into());
            }
            if is_at_work(&new) {
                return Err(RenameRefusal::AtWork.into());
            }
            let (from, to) = (Arc::clone(&old), Arc::clone(&new));
            let refused = self
                .read(move |pages| pages.page(|connection| places::refusal(connection, &from, &to)))
                .await?;
            if let Some(refusal) = refused {
                return Err(refusal.into());
            }
            let renamed = self.change(Change::Rename { old, new }).await?;
            // The check above found no reason to refuse, so another rename came in between.
            if renamed.is_empty() { Err(RenameRefusal::Progressed.into()) } else { Ok(()) }
        })
    }

    fn lane(&self, lane: LaneId) -> BoxFuture<'_, Result<LaneState, Error>> {
        Box::pin(async move {
            self.flush().await?;
            let handler = Arc::clone(&lane.handler);
            let state =
                self.read(move |pages| pages.page(|connection| reader::lane(connection, &lane))).await?;
            state.ok_or(Error::NoLane(handler))
        })
    }

    fn set_aside(&self, lane: LaneId, after: u64, through: u64) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        Box::pin(async move {
            self.flush().await?;
            self.read(move |pages| {
                pages.page(|connection| reader::set_aside(connection, &lane, after, through))
            })
            .await
        })
    }

    fn claim(&self, class: Class, after: u64, max: usize) -> BoxFuture<'_, Result<Claim, Error>> {
        Box::pin(async move {
            if let Some(claim) = self.shared.recent.claim(class, after, max) {
                return Ok(claim);
            }
            self.read(move |pages| pages.claim(class, after, max)).await
        })
    }

    fn settle(&self, lane: LaneId, ends: Ends) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            if !self.is_known(&lane) {
                return Err(Error::NoLane(lane.handler));
            }
            if self.shared.failed() {
                return Err(Error::Failed);
            }
            self.ops.send(Op::Settle(lane, ends)).await.map_err(|_closed| self.gone())
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.change(Change::Flush).await.map(drop) })
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<Arc<Event>>, Error>> {
        Box::pin(self.read(move |pages| {
            pages.page(|connection| reader::get(connection, seq))?.map(reader::RawEvent::decode).transpose()
        }))
    }

    fn passages(&self, class: Class, seq: u64) -> BoxFuture<'_, Result<Vec<Passage>, Error>> {
        Box::pin(self.read(move |pages| pages.page(|connection| reader::passages(connection, class, seq))))
    }

    fn received_from(&self, time: Timestamp) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(self.read(move |pages| pages.page(|connection| reader::first_at_or_after(connection, time))))
    }

    fn events(&self, query: EventQuery) -> BoxFuture<'_, Result<EventPage, Error>> {
        Box::pin(
            self.read(move |pages| {
                reader::page(pages.page(|connection| reader::events(connection, &query))?)
            }),
        )
    }

    fn dead_letters(&self, query: DeadQuery) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        Box::pin(self.read(move |pages| {
            let rows = pages.page(|connection| reader::dead_letters(connection, &query))?;
            rows.into_iter().map(reader::RawDead::decode).collect()
        }))
    }

    fn dead_letter(&self, id: i64) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>> {
        Box::pin(self.read(move |pages| {
            pages
                .page(|connection| reader::dead_letter(connection, id))?
                .map(reader::RawDead::decode)
                .transpose()
        }))
    }

    fn retry_dead(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>> {
        Box::pin(self.change(Change::RetryDead(ids)))
    }

    fn drop_dead(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>> {
        Box::pin(self.change(Change::DropDead(ids)))
    }

    fn retries(&self) -> watch::Receiver<u64> {
        self.shared.retries.subscribe()
    }

    fn retrying(&self, lane: LaneId) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        Box::pin(self.read(move |pages| pages.page(|connection| reader::retrying(connection, &lane))))
    }

    fn pause(&self, handler: Arc<str>, reason: String) -> BoxFuture<'_, Result<(), Error>> {
        let pause = Pause { at: self.clock.now(), reason };
        Box::pin(async move { self.change(Change::Pause { handler, pause }).await.map(drop) })
    }

    fn resume(&self, handler: Arc<str>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move { Ok(!self.change(Change::Resume(handler)).await?.is_empty()) })
    }

    fn paused(&self) -> watch::Receiver<Pauses> {
        self.shared.paused.subscribe()
    }

    fn start_replay(&self, replay: NewReplay) -> BoxFuture<'_, Result<i64, Error>> {
        Box::pin(async move {
            let handler = Arc::clone(&replay.handler);
            if !Class::ALL.iter().all(|class| self.is_known(&LaneId::live(Arc::clone(&handler), *class))) {
                return Err(Error::NoLane(handler));
            }
            let ids = self.change(Change::StartReplay(replay)).await?;
            ids.first().copied().ok_or_else(|| self.gone())
        })
    }

    fn change_replay(&self, id: i64, state: ReplayState) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move { Ok(!self.change(Change::TurnReplay(id, state)).await?.is_empty()) })
    }

    fn replays(&self) -> watch::Receiver<Replays> {
        self.shared.replays.subscribe()
    }

    fn quarantine(&self, query: QuarantineQuery) -> BoxFuture<'_, Result<Vec<QuarantineEntry>, Error>> {
        Box::pin(self.read(move |pages| pages.page(|connection| reader::quarantine(connection, &query))))
    }

    fn quarantined(&self, id: i64) -> BoxFuture<'_, Result<Option<QuarantineEntry>, Error>> {
        Box::pin(self.read(move |pages| pages.page(|connection| reader::quarantined(connection, id))))
    }

    fn drop_quarantined(&self, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<i64>, Error>> {
        Box::pin(self.change(Change::DropQuarantined(ids)))
    }

    fn figures(&self) -> BoxFuture<'_, Result<Figures, Error>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut figures = self.read(move |pages| stored_figures(pages, now)).await?;
            let metrics = &self.shared.metrics;
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            metrics.keys.set(gauge(figures.keys));
            metrics.window_seconds.set(figures.window_ms / 1_000);
            metrics.quarantine.set(gauge(figures.quarantined));
            for (handler, dead) in &figures.dead {
                metrics.dead_letters.get_or_create(&vec![("handler", Arc::clone(handler))]).set(gauge(*dead));
            }
            figures.wal_bytes = self.shared.wal_bytes();
            figures.room_bytes = u64::try_from(metrics.room_bytes.get()).unwrap_or_default();
            Ok(figures)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.ops.send(Op::Close(reply)).await.map_err(|_closed| self.gone())?;
            let result = answer.await.map_err(|_closed| self.gone())?;
            self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            let joined =
                tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
            // Release the file only after the threads have closed their connections: closing it drops all POSIX locks
            // of this process on it, including those of SQLite.
            let joined = joined.await.unwrap_or(false);
            if joined && self.file.release().is_ok() { result } else { Err(Error::Failed) }
        })
    }
}

fn stored_figures(pages: &Pages, now: Timestamp) -> Result<Figures, Error> {
    let oldest = pages.shared.oldest_key_ms.load(Relaxed);
    Ok(Figures {
        span: pages.page(reader::span)?,
        keys: pages.shared.keys.load(Relaxed),
        window_ms: if oldest == i64::MAX { 0 } else { now.as_ms().saturating_sub(oldest).max(0) },
        file_bytes: std::fs::metadata(pages.file.path()).map_or(0, |meta| meta.len()),
        quarantined: pages.page(reader::quarantine_count)?,
        dead: pages.page(reader::dead_counts)?,
        ..Figures::default()
    })
}

/// State that a start reads from the file.
struct Restored {
    tip: u64,
    low: u64,
    received_at: Timestamp,
    eras: Eras,
    known: Option<LastKnown>,
    directory: Directory,
    oldest_key: Option<Timestamp>,
    lanes: Lanes,
    paused: Pauses,
    replays: Replays,
}

impl Restored {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mark = |name: &str| -> rusqlite::Result<Option<i64>> {
            connection
                .query_row("SELECT value FROM mark WHERE name = ?1", [name], |row| row.get(0))
                .optional()
        };
        let eras = Eras::load(connection)?;
        let last_event: Option<(u64, i64)> = connection
            .query_row("SELECT seq, received_at FROM event ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let mut tip = mark("seq")?.and_then(|seq| u64::try_from(seq).ok()).unwrap_or_default();
        let mut received_at = mark("received_at")?.unwrap_or_default();
        if let Some((seq, at)) = last_event {
            tip = tip.max(seq);
            if eras.of(seq) == eras.now() {
                received_at = received_at.max(at);
            }
        }
        let last_settle: Option<i64> = connection
            .query_row("SELECT at FROM settle ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let noted = mark("clock")?;
        // Events stored after the last noted time are later and of the same era. Settles count only if no time was
        // noted.
        let at = noted.into_iter().chain([received_at]).chain(last_settle.filter(|_| noted.is_none())).max();
        let deletion = mark("deletion")?.map(Timestamp::from_ms);
        let known = at.filter(|at| *at != 0).map(|at| LastKnown {
            at: Timestamp::from_ms(at),
            deletion,
            noted: noted.is_some(),
        });
        let mut directory = Directory::new();
        let mut oldest_key = None;
        let mut next = None;
        let mut runs = connection.prepare("SELECT first, came_at, entries FROM key_run ORDER BY first")?;
        let mut rows = runs.query([])?;
        while let Some(row) = rows.next()? {
            let (first, at): (u64, i64) = (row.get(0)?, row.get(1)?);
            let entries = row.get_ref(2)?.as_blob().unwrap_or_default();
            let is_whole = !entries.is_empty() && entries.len().is_multiple_of(ENTRY);
            if !is_whole || next.is_some_and(|next| next != first) {
                return Err(DamagedKeys { seq: next.unwrap_or(first) }.into());
            }
            oldest_key.get_or_insert(eras.aged(eras.of(first), Timestamp::from_ms(at)));
            let mut seq = first;
            for index in 0..entries.len() / ENTRY {
                if let Some((key, _)) = entry(entries, index) {
                    directory.insert(&key, seq);
                }
                seq += 1;
            }
            next = Some(seq);
        }
        // Keys are evicted from the oldest on, so the remaining runs must end at the tip.
        if let Some(seq) = next.filter(|next| *next != tip + 1) {
            return Err(DamagedKeys { seq }.into());
        }
        let low = reader::span(connection)?.map_or(tip + 1, |(low, _)| low);
        let lanes = Lanes::load(connection)?;
        let paused = pauses::load(connection)?;
        let replays = replays::load(connection)?;
        Ok(Self {
            tip,
            low,
            received_at: Timestamp::from_ms(received_at),
            eras,
            known,
            directory,
            oldest_key,
            lanes,
            paused,
            replays,
        })
    }
}

/// The rows of the deduplication window have a gap or an invalid length: a duplicate could be stored as a new event.
#[derive(Debug, thiserror::Error)]
#[error(
    "the deduplication keys (table key_run) are damaged at seq {seq}; the events are in another table: restore a backup"
)]
struct DamagedKeys {
    seq: u64,
}

impl From<DamagedKeys> for rusqlite::Error {
    fn from(damaged: DamagedKeys) -> Self {
        Self::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(damaged))
    }
}

/// All files that belong to a journal at `path`, for code that copies or deletes a journal.
pub fn files(path: &std::path::Path) -> [std::path::PathBuf; 4] {
    [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm"), lock_of(path)]
}
