//! The only thread that writes.
//!
//! It collects the queued operations into one group, stores the group in one transaction, and commits. It adds the keys
//! to the index in memory (`directory`) only after the commit. So after a failed commit, the state in memory has no key
//! and no seq of the group. If the error of the commit was transient, the database has no row of the group either. Once
//! the group is durable (`durable`), the lanes see the events and every caller is answered. Between two groups the
//! writer does its `chores`, for example the deletion of some expired events, or the end of a checkpoint.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc;

use super::{
    checkpoint,
    directory::Directory,
    durable::{CommittedGroup, Durable, QueuedChange, answer},
    eras::{Era, Eras, Moment},
    file::DatabaseFile,
    group::CommitGroup,
    lanes::{EnrolledLanes, Lanes, StoredLane, drop_dead, each, stored_lanes},
    op::{Append, JournalChange, ReplySender, WriterOp},
    pauses, places,
    presence::Tampering,
    replays,
    retention::{EvictedKeys, Retention},
    room::DiskRoom,
    settings::Settings,
    shared::SharedState,
    stall::Stage,
};
use crate::{
    clock::{Clock, Correction, Timestamp},
    event::{ContentDigest, Event, Key},
    journal::{AppendBatch, AppendError, AppendReceipt, Error, JournalState, Replays},
};

/// A group is complete once its appends have this many bytes. A single append may be larger.
const GROUP_BYTES: usize = 1 << 19;
/// Maximum number of operations in a group.
const GROUP_OPS: usize = 4_096;
/// Pending settles are added to a commit of appends once they have waited this long. A commit with a
/// `JournalChange` takes them at once.
const SETTLE_RIDES: Duration = Duration::from_millis(100);
/// Pending settles get a commit of their own once they have waited this long.
const SETTLE_LATEST: Duration = Duration::from_millis(900);
/// Delay after a failed commit of pending settles, before they get a commit of their own again.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

/// The state of the writer thread.
pub(super) struct JournalWriter {
    /// Syncs the commits and answers the callers. It is the first field, so it is dropped before all others.
    pub durable: Durable,
    /// The only connection that writes.
    pub connection: Connection,
    pub shared: Arc<SharedState>,
    /// The keys in the deduplication window.
    pub directory: Directory,
    /// Lanes, cursors and pending settles.
    pub lanes: Lanes,
    /// Progress of the deletion by age.
    pub retention: Retention,
    /// Measures the free space on the disk.
    pub room: DiskRoom,
    /// When the free space was last measured.
    pub room_measured: Option<Instant>,
    /// The highest seq ever assigned.
    pub tip: u64,
    /// The latest `received_at` since the last correction of the trusted clock.
    pub received_at: Timestamp,
    /// The trusted clock, which stamps stored rows.
    pub clock: Clock,
    /// The corrections of the trusted clock.
    pub eras: Eras,
    /// When the trusted clock was last compared with the wall clock, and when its time was last stored in the journal.
    pub clock_seen: [Option<Instant>; 2],
    pub settings: Settings,
    /// Chores failed and are paused until this time. The failure is logged once.
    pub chores_paused: Option<Instant>,
    /// Deletion met an unreadable page and is paused until this time. The failure is logged once.
    pub deletion_paused: Option<Instant>,
    /// Holds the file lock. Fields are dropped in order, so the lock outlives the connection.
    pub file: Arc<DatabaseFile>,
}

/// The operations of one group, with their reply channels.
#[derive(Default)]
struct Work {
    appends: Vec<Append>,
    changes: Vec<QueuedChange>,
    close: Option<ReplySender<()>>,
}

impl Work {
    fn refuse_appends(&mut self, error: &AppendError) {
        for append in self.appends.drain(..) {
            answer(append.reply, Err(error.clone()));
        }
    }

    fn refuse(mut self, error: &AppendError) {
        self.refuse_appends(error);
        for (_, reply) in self.changes {
            answer(reply, Err(error.clone().into()));
        }
    }
}

/// Results of a transaction, to be applied to the writer's state after the commit.
#[derive(Default)]
struct StoredGroup {
    /// The trusted time of the group.
    came_at: Timestamp,
    /// The `received_at` of all new events: `came_at`, or the last `received_at` before this group if that is later.
    received_at: Timestamp,
    receipts: Vec<AppendReceipt>,
    entries: Vec<(Key, ContentDigest)>,
    events: Vec<Arc<Event>>,
    answers: Vec<Vec<i64>>,
    enrolled: Option<EnrolledLanes>,
    replays: Option<(Replays, Vec<StoredLane>)>,
    corrected: Option<(Era, Correction)>,
    evicted: EvictedKeys,
    settled: bool,
}

impl JournalWriter {
    /// Runs until [`WriterOp::Close`], or until all senders are dropped.
    pub(super) fn run(mut self, mut ops: mpsc::Receiver<WriterOp>) {
        let shared = Arc::clone(&self.shared);
        // After a panic, `_watched` sets the state to `Failed`. It is dropped before `ops`, so callers with a queued
        // operation see that state when they notice that no answer will come.
        let _watched = shared.watch("journal");
        while let Some(mut work) = self.next_group(&mut ops) {
            let oldest = work.appends.first().map_or_else(Instant::now, |append| append.since);
            shared.waiting.enter(Stage::Write, oldest);
            let close = work.close.take();
            self.group(work, close.is_some(), !ops.is_empty());
            if let Some(reply) = close {
                // Operations that are still queued get the answer `Stopped`.
                ops.close();
                while let Ok(op) = ops.try_recv() {
                    refuse(op);
                }
                self.close(reply);
                return;
            }
            self.chores();
            shared.waiting.leave(Stage::Write);
        }
    }

    /// Waits for one operation, then takes what else is queued, up to the limits of a group. `None` if all senders are
    /// dropped.
    fn next_group(&mut self, ops: &mut mpsc::Receiver<WriterOp>) -> Option<Work> {
        let mut work = Work::default();
        let mut bytes = 0;
        let mut next = ops.blocking_recv()?;
        for taken in 1.. {
            match next {
                WriterOp::Append(append) => {
                    bytes += append.bytes();
                    work.appends.push(append);
                }
                WriterOp::Settle(lane, ends) => self.lanes.queue_settle(lane, ends),
                WriterOp::Change(change, reply) => work.changes.push((change, reply)),
                WriterOp::Tick => {}
                WriterOp::Close(reply) => {
                    work.close = Some(reply);
                    break;
                }
            }
            if bytes >= GROUP_BYTES || taken >= GROUP_OPS {
                break;
            }
            match ops.try_recv() {
                Ok(op) => next = op,
                Err(_) => break,
            }
        }
        Some(work)
    }

    /// Processes one group: store, commit, apply, sync, answer. `more` is true if further operations are queued.
    fn group(&mut self, mut work: Work, closing: bool, more: bool) {
        self.measure_room();
        if let Some(error) = self.refusal() {
            work.refuse_appends(&error);
        }
        if self.shared.failed() {
            return work.refuse(&AppendError::Failed);
        }
        let Work { appends, changes, .. } = &work;
        let patience = if appends.is_empty() { SETTLE_LATEST } else { SETTLE_RIDES };
        let rests = appends.is_empty() && self.lanes.has_failed_within(SETTLE_AGAIN);
        let settle = match self.lanes.oldest_wait() {
            Some(waited) => closing || !changes.is_empty() || (waited >= patience && !rests),
            None => false,
        };
        if appends.is_empty() && changes.is_empty() && !settle {
            return;
        }
        let began = Instant::now();
        let now = Moment { at: self.clock.now(), era: self.eras.now() };
        let frames = self.shared.wal_frames.load(Relaxed);
        match self.transact(&work, now, settle) {
            Ok(stored) => {
                self.check_log_since(frames);
                let committed = self.apply(stored, work, began);
                self.durable.make(committed, more);
            }
            Err(error) => {
                if settle {
                    self.lanes.commit_failed();
                }
                // After a transient error, nothing was stored. After any other error, what is on disk is unknown, so
                // `classify` fails the journal.
                let verdict = self.classify("commit", &error);
                self.roll_back();
                work.refuse(&verdict);
            }
        }
    }

    /// Runs the transaction. It does not change the writer's own state, except that [`JournalChange::AcceptClock`]
    /// confirms the clock.
    fn transact(&self, work: &Work, now: Moment, settle: bool) -> rusqlite::Result<StoredGroup> {
        let Work { appends, changes, .. } = work;
        let received_at = now.at.max(self.received_at);
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let drafts = appends.iter().map(|append| append.batch.drafts.len()).sum();
        let mut group =
            CommitGroup::new(&self.connection, &self.directory, self.tip, now, received_at, drafts)?;
        let mut receipts = Vec::with_capacity(appends.len());
        for append in appends {
            receipts.push(group.append(&append.batch)?);
        }
        if settle {
            let drafts = self.lanes.write(&self.connection, now)?;
            group.append(&AppendBatch { drafts, ..AppendBatch::default() })?;
        }
        group.finish()?;
        let CommitGroup { entries, events, .. } = group;
        let evicted = self.make_room_for_keys(entries.len() as u64)?;
        let mut stored = StoredGroup {
            came_at: now.at,
            received_at,
            receipts,
            entries,
            events,
            evicted,
            settled: settle,
            ..StoredGroup::default()
        };
        for (change, _) in changes {
            let ids = self.write_change(change, now, &mut stored)?;
            stored.answers.push(ids);
        }
        if changes.iter().any(|(change, _)| change.affects_replays()) {
            stored.replays = Some((replays::load(&self.connection)?, stored_lanes(&self.connection)?));
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(stored)
    }

    /// Writes a change within the open transaction. Returns the ids of the rows that it changed. A change without ids
    /// returns `[1]` if it had an effect; an enrolment and a flush return nothing.
    fn write_change(
        &self,
        change: &JournalChange,
        now: Moment,
        stored: &mut StoredGroup,
    ) -> rusqlite::Result<Vec<i64>> {
        let connection = &self.connection;
        let tip = self.tip + stored.events.len() as u64;
        match change {
            JournalChange::Enrol(enrolments) => {
                stored.enrolled = Some(self.lanes.enrol(connection, enrolments, tip, now)?);
                Ok(Vec::new())
            }
            JournalChange::Rename { old, new } => places::rename(connection, old, new),
            JournalChange::RetryDead(ids) => {
                each(connection, ids, "UPDATE dead SET retrying = 1 WHERE id = ?1")
            }
            JournalChange::DropDead { ids, by } => drop_dead(connection, ids, by, now),
            JournalChange::Pause { handler, pause } => pauses::insert(connection, handler, pause),
            JournalChange::Resume(handler) => pauses::remove(connection, handler),
            JournalChange::StartReplay(new) => replays::insert(connection, new, now.at),
            JournalChange::ChangeReplay(id, state) => replays::change(connection, *id, *state, now.at),
            JournalChange::DropQuarantined(ids) => {
                each(connection, ids, "DELETE FROM quarantine WHERE id = ?1")
            }
            JournalChange::AcceptClock => {
                if stored.corrected.is_none()
                    && let Some(correction) = self.clock.correction(true)
                {
                    stored.corrected = Some((self.begin_era(tip + 1, &correction, "accepted")?, correction));
                }
                let confirmed = self.clock.confirm() || stored.corrected.is_some();
                Ok(Vec::from_iter(confirmed.then_some(1)))
            }
            JournalChange::Flush => Ok(Vec::new()),
        }
    }

    /// Applies the results of a committed transaction to the writer's state. Returns the group for the sync.
    fn apply(&mut self, stored: StoredGroup, work: Work, began: Instant) -> CommittedGroup {
        let Work { appends, changes, .. } = work;
        for (offset, (key, _)) in stored.entries.iter().enumerate() {
            self.directory.insert(key, self.tip + 1 + offset as u64);
        }
        self.apply_eviction(stored.evicted);
        if stored.settled {
            self.lanes.apply_settles();
        }
        if let Some(enrolled) = stored.enrolled {
            self.lanes.apply_enrolment(enrolled);
        }
        for ((change, _), answer) in changes.iter().zip(&stored.answers) {
            if let (JournalChange::Rename { old, new }, false) = (change, answer.is_empty()) {
                self.lanes.apply_rename(old, new);
            }
        }
        let replays = stored.replays.map(|(replays, lanes)| {
            self.lanes.apply_replay_lanes(lanes);
            replays
        });
        self.received_at = stored.received_at;
        if !stored.events.is_empty() {
            self.tip += stored.events.len() as u64;
            self.shared.oldest_key_ms.fetch_min(stored.came_at.as_ms(), Relaxed);
        }
        if let Some(corrected) = stored.corrected {
            self.apply_correction(corrected);
        }
        self.shared.keys.store(self.directory.len(), Relaxed);
        CommittedGroup {
            began,
            tip: self.tip,
            frames: self.shared.wal_frames.load(Relaxed),
            events: stored.events,
            replays,
            appends: appends.into_iter().zip(stored.receipts).collect(),
            changes: changes.into_iter().zip(stored.answers).collect(),
        }
    }

    pub(super) fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
            && !self.connection.is_autocommit()
        {
            self.shared.fail(&format!("rollback: {error}"));
        }
    }

    /// Busy and full are transient errors. Any other error fails the journal, because after a failed write or sync the
    /// data on disk is unknown.
    pub(super) fn classify(&mut self, doing: &str, error: &rusqlite::Error) -> AppendError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => AppendError::Busy,
            _ if self.room.is_refused(error) => {
                self.show_room(None, self.room.short);
                AppendError::Full
            }
            _ => {
                self.shared.fail(&format!("{doing}: {error}"));
                AppendError::Failed
            }
        }
    }

    /// The error for appends in the current state; `None` if they are accepted.
    fn refusal(&self) -> Option<AppendError> {
        match &*self.shared.state.borrow() {
            JournalState::Ready | JournalState::Stalled => None,
            JournalState::Full { .. } => Some(AppendError::Full),
            JournalState::Failed(_) => Some(AppendError::Failed),
            JournalState::Closed => Some(AppendError::Stopped),
        }
    }

    fn close(self, reply: ReplySender<()>) {
        // The last group has written the pending settles. Only the current time remains to be stored. The next start
        // needs it.
        if !self.shared.failed()
            && let Err(error) = self.note_clock()
        {
            tracing::warn!(%error, "current time could not be stored in the journal");
        }
        drop(self.durable);
        // If the write-ahead log was deleted or moved, this connection still has it open. So all its frames can be
        // copied into the database.
        if matches!(self.shared.tampering.get(), Some(Tampering::LogGone(_))) {
            match checkpoint::finish(&self.connection, &self.shared) {
                Ok(true) => {
                    tracing::warn!(
                        "write-ahead log copied into the database at close; nothing in it is lost"
                    );
                }
                Ok(false) => {
                    tracing::warn!(
                        "write-ahead log could not be copied into the database: another process reads it"
                    );
                }
                Err(error) => tracing::warn!(%error, "write-ahead log could not be copied into the database"),
            }
        }
        let result = if self.shared.failed() { Err(Error::Failed) } else { Ok(()) };
        self.shared.close();
        self.shared.before_close(&self.connection);
        let Self { connection, file, .. } = self;
        drop(connection);
        drop(file);
        answer(reply, result);
    }
}

/// Rejects an operation that was queued after a close.
fn refuse(op: WriterOp) {
    match op {
        WriterOp::Append(append) => answer(append.reply, Err(AppendError::Stopped)),
        WriterOp::Change(_, reply) => answer(reply, Err(Error::Stopped)),
        WriterOp::Close(reply) => answer(reply, Err(Error::Stopped)),
        WriterOp::Settle(..) | WriterOp::Tick => {}
    }
}
