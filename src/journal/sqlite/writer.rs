//! The only thread that writes.
//!
//! It collects the queued operations into one group, stores the group in one transaction, commits, and only then adds
//! the keys to the directory. A failed commit leaves nothing behind: no row, no key, no seq. Once the group is
//! durable (`durable`), the lanes see the events and every caller is answered. Between two groups the writer does its
//! chores: a slice of retention, the last frames of a checkpoint, a measurement of the free space.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc;

use super::{
    checkpoint,
    directory::Directory,
    durable::{Committed, Durable, answer},
    eras::{Era, Eras, Moment},
    file::DatabaseFile,
    group::Group,
    lanes::{Enrolled, KnownLane, Lanes, mark_settled},
    op::{Append, Change, Op, Reply},
    pauses, places,
    presence::Tampered,
    replays,
    retention::Retention,
    room::{Measured, Room, Shortage},
    settings::Settings,
    shared::Shared,
    stall::Stage,
};
use crate::{
    clock::{Clock, Correction, Timestamp},
    disk,
    journal::{AppendError, Batch, Error, Receipt, Replays, State},
};

/// A group is complete once it has this many bytes. A single larger request is still accepted.
const GROUP_BYTES: usize = 1 << 19;
/// Maximum number of operations in a group.
const GROUP_OPS: usize = 4_096;
/// Pending settles are added to a commit of appends once they have waited this long.
const SETTLE_RIDES: Duration = Duration::from_millis(100);
/// Pending settles get a commit of their own once they have waited this long.
const SETTLE_LATEST: Duration = Duration::from_millis(900);
/// Pending settles whose commit failed get a commit of their own again after this delay.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
const ROOM_EVERY: Duration = Duration::from_millis(100);
/// Delay before failed chores are retried.
const CHORES_PAUSE: Duration = Duration::from_secs(1);
/// Delay before deletion is retried after it met an unreadable page.
const DELETION_PAUSE: Duration = Duration::from_secs(300);

/// The state of the writer thread.
pub struct Writer {
    /// Syncs the commits and answers the callers. It is the first field, so it is dropped before all others.
    pub durable: Durable,
    /// The only connection that writes.
    pub connection: Connection,
    pub shared: Arc<Shared>,
    /// The keys in the deduplication window.
    pub directory: Directory,
    /// Lanes, cursors and pending settles.
    pub lanes: Lanes,
    /// Progress of the deletion by age.
    pub retention: Retention,
    /// Measures the free space on the disk.
    pub room: Room,
    /// When the free space was last measured.
    pub room_measured: Option<Instant>,
    /// The highest seq ever assigned.
    pub tip: u64,
    /// The latest `received_at` of this era.
    pub received_at: Timestamp,
    /// The trusted clock, which stamps stored rows.
    pub clock: Clock,
    /// The corrections of the trusted clock.
    pub eras: Eras,
    /// When the clocks were last compared, and when the time was last noted in the file.
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
    changes: Vec<(Change, Reply<Vec<i64>>)>,
    close: Option<Reply<()>>,
}

/// Results of a transaction, to be applied to the writer's state after the commit.
struct Stored {
    receipts: Vec<Receipt>,
    entries: Vec<(crate::event::Key, crate::event::ContentDigest)>,
    events: Vec<Arc<crate::event::Event>>,
    answers: Vec<Vec<i64>>,
    enrolled: Option<Enrolled>,
    replays: Option<(Replays, Vec<KnownLane>)>,
    corrected: Option<(Era, Correction)>,
    evicted: super::retention::Evicted,
    settled: bool,
}

impl Writer {
    /// Runs until [`Op::Close`], or until all senders are dropped.
    pub fn run(mut self, mut ops: mpsc::Receiver<Op>) {
        // Declared last, so dropped first: after a panic the state is `Failed` before callers notice that no answer
        // will come.
        let shared = Arc::clone(&self.shared);
        let _watched = shared.watch("journal");
        while let Some(work) = self.take(&mut ops) {
            let Work { appends, changes, close } = work;
            let oldest = appends.first().map_or_else(Instant::now, |append| append.since);
            shared.waiting.enter(Stage::Write, oldest);
            self.group(appends, changes, close.is_some(), !ops.is_empty());
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

    /// Waits for one operation, then takes what else is queued, up to the limits of a group.
    fn take(&mut self, ops: &mut mpsc::Receiver<Op>) -> Option<Work> {
        let mut work = Work::default();
        let mut bytes = 0;
        let mut next = ops.blocking_recv()?;
        for taken in 1.. {
            match next {
                Op::Append(append) => {
                    bytes += append.bytes();
                    work.appends.push(append);
                }
                Op::Settle(lane, ends) => self.lanes.pend(lane, ends),
                Op::Change(change, reply) => work.changes.push((change, reply)),
                Op::Tick => {}
                Op::Close(reply) => {
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
    fn group(
        &mut self,
        mut appends: Vec<Append>,
        changes: Vec<(Change, Reply<Vec<i64>>)>,
        closing: bool,
        more: bool,
    ) {
        self.measure_room();
        if let Some(error) = self.refusal() {
            for append in appends.drain(..) {
                answer(append.reply, Err(error.clone()));
            }
        }
        if self.shared.failed() {
            for (_, reply) in changes {
                answer(reply, Err(Error::Failed));
            }
            return;
        }
        let patience = if appends.is_empty() { SETTLE_LATEST } else { SETTLE_RIDES };
        let rests = appends.is_empty() && self.lanes.has_failed_within(SETTLE_AGAIN);
        let settle = match self.lanes.waited() {
            Some(waited) => closing || !changes.is_empty() || (waited >= patience && !rests),
            None => false,
        };
        if appends.is_empty() && changes.is_empty() && !settle {
            return;
        }
        let began = Instant::now();
        let now = Moment { at: self.clock.now(), era: self.eras.now() };
        let received_at = now.at.max(self.received_at);
        let frames = self.shared.wal_frames.load(Relaxed);
        let stored = self.transact(&appends, &changes, now, received_at, settle);
        match stored {
            Ok(stored) => {
                self.check_log_since(frames);
                let committed = self.take_over(stored, (now.at, received_at), began, appends, changes);
                self.durable.make(committed, more);
            }
            Err(error) => {
                if settle {
                    self.lanes.commit_failed();
                }
                self.give_up(&error, appends, changes);
            }
        }
    }

    /// Runs the transaction. It does not change the writer's own state.
    fn transact(
        &self,
        appends: &[Append],
        changes: &[(Change, Reply<Vec<i64>>)],
        now: Moment,
        received_at: Timestamp,
        settle: bool,
    ) -> rusqlite::Result<Stored> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let drafts = appends.iter().map(|append| append.batch.drafts.len()).sum();
        let mut group = Group::new(&self.connection, &self.directory, self.tip, now, received_at, drafts)?;
        let mut receipts = Vec::with_capacity(appends.len());
        for append in appends {
            receipts.push(group.append(&append.batch)?);
        }
        if settle {
            let drafts = self.lanes.write(&self.connection, now)?;
            group.append(&Batch { drafts, ..Batch::default() })?;
        }
        group.finish()?;
        let Group { entries, events, .. } = group;
        let (old, new) = (self.directory.len(), entries.len() as u64);
        let evicted =
            self.retention.make_room_for_keys(&self.connection, &self.eras, old, new, &self.settings)?;
        let mut answers = Vec::with_capacity(changes.len());
        let mut enrolled = None;
        let mut corrected = None;
        for (change, _) in changes {
            answers.push(match change {
                Change::Enrol(enrolments) => {
                    let tip = self.tip + events.len() as u64;
                    enrolled = Some(self.lanes.enrol(&self.connection, enrolments, tip, now)?);
                    Vec::new()
                }
                Change::Rename { old, new } => places::rename(&self.connection, old, new)?,
                Change::RetryDead(ids) => self.each(ids, "UPDATE dead SET retrying = 1 WHERE id = ?1")?,
                Change::DropDead(ids) => {
                    self.each(ids, &mark_settled("(?1)"))?;
                    self.each(ids, "DELETE FROM dead WHERE id = ?1")?
                }
                Change::Pause { handler, pause } => pauses::insert(&self.connection, handler, pause)?,
                Change::Resume(handler) => pauses::remove(&self.connection, handler)?,
                Change::StartReplay(new) => replays::insert(&self.connection, new, now.at)?,
                Change::TurnReplay(id, state) => replays::change(&self.connection, *id, *state, now.at)?,
                Change::DropQuarantined(ids) => self.each(ids, "DELETE FROM quarantine WHERE id = ?1")?,
                Change::AcceptClock => {
                    if corrected.is_none()
                        && let Some(correction) = self.clock.correction(true)
                    {
                        let first = self.tip + events.len() as u64 + 1;
                        corrected = Some((self.begin_era(first, &correction, "accepted")?, correction));
                    }
                    let confirmed = self.clock.confirm() || corrected.is_some();
                    Vec::from_iter(confirmed.then_some(1))
                }
                Change::Flush => Vec::new(),
            });
        }
        let replays = changes
            .iter()
            .any(|(change, _)| {
                matches!(change, Change::StartReplay(_) | Change::TurnReplay(..) | Change::Rename { .. })
            })
            .then(|| {
                Ok::<_, rusqlite::Error>((
                    replays::load(&self.connection)?,
                    self.lanes.reload(&self.connection)?,
                ))
            })
            .transpose()?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(Stored {
            receipts,
            entries,
            events,
            answers,
            enrolled,
            replays,
            corrected,
            evicted,
            settled: settle,
        })
    }

    /// Runs a statement for each id. Returns the ids for which it changed a row.
    fn each(&self, ids: &[i64], sql: &str) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut done = Vec::new();
        for id in ids {
            if statement.execute([id])? > 0 {
                done.push(*id);
            }
        }
        Ok(done)
    }

    /// Applies the results of a committed transaction to the writer's state. Returns the group for the sync.
    fn take_over(
        &mut self,
        stored: Stored,
        (came_at, received_at): (Timestamp, Timestamp),
        began: Instant,
        appends: Vec<Append>,
        changes: Vec<(Change, Reply<Vec<i64>>)>,
    ) -> Committed {
        let Stored { receipts, entries, events, answers, enrolled, replays, corrected, evicted, settled } =
            stored;
        for (offset, (key, _)) in entries.iter().enumerate() {
            self.directory.insert(key, self.tip + 1 + offset as u64);
        }
        self.retention.evicted(&mut self.directory, evicted, &self.shared);
        if settled {
            self.lanes.settled();
        }
        if let Some(enrolled) = enrolled {
            self.lanes.enrolled(enrolled);
        }
        for ((change, _), answer) in changes.iter().zip(&answers) {
            if let (Change::Rename { old, new }, false) = (change, answer.is_empty()) {
                self.lanes.renamed(old, new);
            }
        }
        let replays = replays.map(|(replays, lanes)| {
            self.lanes.reloaded(lanes);
            replays
        });
        self.received_at = received_at;
        if !events.is_empty() {
            self.tip += events.len() as u64;
            self.retention.stored(came_at, &self.shared);
        }
        if let Some(corrected) = corrected {
            self.corrected(corrected);
        }
        self.shared.keys.store(self.directory.len(), Relaxed);
        Committed {
            began,
            tip: self.tip,
            frames: self.shared.wal_frames.load(Relaxed),
            events,
            replays,
            appends: appends.into_iter().zip(receipts).collect(),
            changes: changes
                .into_iter()
                .zip(answers)
                .map(|((change, reply), ids)| (change, reply, ids))
                .collect(),
        }
    }

    /// Nothing was stored: every caller gets the error. Unless the error is transient, the journal has failed for
    /// good.
    fn give_up(
        &mut self,
        error: &rusqlite::Error,
        appends: Vec<Append>,
        changes: Vec<(Change, Reply<Vec<i64>>)>,
    ) {
        let verdict = self.judge("commit", error);
        self.roll_back();
        for append in appends {
            answer(append.reply, Err(verdict.clone()));
        }
        let change_error = match verdict {
            AppendError::Full => Error::Full,
            AppendError::Busy => Error::Read("busy".into()),
            AppendError::Failed | AppendError::Stopped => Error::Failed,
        };
        for (_, reply) in changes {
            answer(reply, Err(change_error.clone()));
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

    /// Busy and full are transient errors. Any other error fails the journal: after a failed write or sync the data
    /// on disk is unknown.
    pub(super) fn judge(&mut self, doing: &str, error: &rusqlite::Error) -> AppendError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => AppendError::Busy,
            _ if self.room.is_refused(error) => {
                self.show_room(None, self.room.shortage());
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
            State::Ready | State::Stalled => None,
            State::Full { .. } => Some(AppendError::Full),
            State::Failed(_) => Some(AppendError::Failed),
            State::Closed => Some(AppendError::Stopped),
        }
    }

    fn measure_room(&mut self) {
        if self.room_measured.is_some_and(|at| at.elapsed() < ROOM_EVERY) || self.shared.failed() {
            return;
        }
        self.room_measured = Some(Instant::now());
        let frames = self.shared.wal_frames.load(Relaxed);
        let presence = &self.shared.presence;
        if let Err(tampered) = presence.check(frames).and_then(|()| presence.check_lock()) {
            return self.shared.tampered(tampered);
        }
        let (measured, shortage) = self.room.look(&self.connection);
        self.show_room(measured, shortage);
    }

    fn show_room(&self, measured: Option<Measured>, shortage: Option<Shortage>) {
        if let Some(measured) = measured {
            self.shared.metrics.room_bytes.set(measured.room().try_into().unwrap_or(i64::MAX));
        }
        let Some(shortage) = shortage else {
            if self.shared.turn(|state| matches!(state, State::Full { .. }).then_some(State::Ready)) {
                tracing::info!("journal's disk has room again; intake continues");
            }
            return;
        };
        // Retention frees pages inside the database file only, so it cannot end the other shortages.
        let held_by = match shortage {
            Shortage::Reserve => {
                let (lanes, eras, deletion) = (&self.lanes, &self.eras, self.clock.deletion());
                self.retention.held_by(&self.connection, lanes, eras, deletion, &self.settings)
            }
            Shortage::FileSystem | Shortage::Refused => None,
        };
        let mut was_full = false;
        let turned = self.shared.turn(|state| {
            was_full = matches!(state, State::Full { .. });
            Some(State::Full { held_by: held_by.clone() })
        });
        if !turned || was_full {
            return;
        }
        let why = match shortage {
            Shortage::Reserve => "intake stops: the journal's disk is down to its reserve",
            Shortage::FileSystem => {
                "intake stops: only half of the reserve is free outside the journal's file; deleted events free no space there"
            }
            Shortage::Refused => {
                "intake stops: a write to the journal's disk failed, because the disk is full or a quota is exceeded"
            }
        };
        let Measured { free, pages, reserve } = measured.unwrap_or_default();
        tracing::error!(
            held_by = held_by.as_deref(),
            free_bytes = measured.map(|_| free),
            free_page_bytes = measured.map(|_| pages),
            reserve_bytes = measured.map(|_| reserve),
            "{why}"
        );
        self.tell_held_back();
    }

    /// Checks the log after a commit; before it, the log had that many frames. Each commit is checked: one over a log
    /// that was cut short makes the file as long as it should be, and nothing else would show it.
    fn check_log_since(&self, frames: u32) {
        let now = self.shared.wal_frames.load(Relaxed);
        if now != frames
            && let Err(tampered) = self.shared.presence.check_log(frames, now)
        {
            self.shared.tampered(tampered);
        }
    }

    /// Maintenance between two groups.
    fn chores(&mut self) {
        let frames = self.shared.wal_frames.load(Relaxed);
        self.shared.metrics.wal_bytes.set(self.shared.wal_bytes().try_into().unwrap_or(i64::MAX));
        if self.shared.failed() {
            return;
        }
        self.compare_clocks();
        self.check_log_since(frames);
        if self.shared.failed() {
            return;
        }
        if self.chores_paused.is_some_and(|until| Instant::now() < until) {
            return;
        }
        // Delete even if the checkpoint failed: a file that cannot grow can still have rows deleted.
        let copied = self.finish_checkpoint(frames);
        let frames = self.shared.wal_frames.load(Relaxed);
        let deleted = self.delete();
        self.check_log_since(frames);
        let done = copied.and(deleted);
        let was_paused = self.chores_paused.take().is_some();
        match done {
            Ok(()) if was_paused => tracing::info!("retention and checkpoints resumed"),
            Ok(()) => {}
            Err((doing, error)) => {
                let verdict = self.judge(doing, &error);
                self.roll_back();
                self.chores_paused = Some(Instant::now() + CHORES_PAUSE);
                // Log this once, because the chores are retried every second.
                if !was_paused {
                    tracing::warn!(%error, ?verdict, doing, "retention or checkpoint failed; both are tried again");
                }
            }
        }
    }

    /// Runs one slice of retention. An unreadable page pauses only the deletion: old events that stay longer are no
    /// reason to stop intake, and a restart would meet the same page.
    fn delete(&mut self) -> Result<(), (&'static str, rusqlite::Error)> {
        if self.deletion_paused.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let done = self.retention.slice(
            &self.connection,
            &self.lanes,
            (&self.eras, &self.clock),
            self.tip,
            self.received_at,
            &self.settings,
        );
        self.shared.low.store(self.retention.low(), Relaxed);
        let evicted = match done {
            Ok(evicted) => evicted,
            // A file that something else changed fails the journal.
            Err(error) if disk::is_unreadable_sqlite(&error) && self.shared.is_intact() => {
                self.pause_deletion(&error);
                return Ok(());
            }
            Err(error) => return Err(("retention", error)),
        };
        if self.deletion_paused.take().is_some() {
            tracing::info!("deletion by retention resumed");
        }
        self.retention.evicted(&mut self.directory, evicted, &self.shared);
        self.shared.keys.store(self.directory.len(), Relaxed);
        Ok(())
    }

    fn pause_deletion(&mut self, error: &rusqlite::Error) {
        self.roll_back();
        let was_paused = self.deletion_paused.replace(Instant::now() + DELETION_PAUSE).is_some();
        // Log this once, because deletion is retried every few minutes.
        if !was_paused {
            tracing::error!(
                %error,
                path = %self.file.path().display(),
                retry_seconds = DELETION_PAUSE.as_secs(),
                "retention cannot read a page of the journal; deletion is paused, intake continues: stop bikhook, check the file with `PRAGMA integrity_check` and restore a backup"
            );
        }
    }

    /// Copies the last frames of a checkpoint if that is requested. If the log is at its limit, intake waits here
    /// until the log is reset.
    fn finish_checkpoint(&self, frames: u32) -> Result<(), (&'static str, rusqlite::Error)> {
        let must = frames > checkpoint::MAX_FRAMES;
        if !must && !self.shared.reset_wanted.load(Relaxed) {
            return Ok(());
        }
        let mut told = false;
        loop {
            let done =
                checkpoint::finish(&self.connection, &self.shared).map_err(|error| ("checkpoint", error))?;
            if done || !must {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(
                    "journal's write-ahead log reached its limit while another process reads the file; intake waits"
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn close(self, reply: Reply<()>) {
        // All settles are durable by now. This notes the time for the next start.
        if !self.shared.failed()
            && let Err(error) = self.note_clock()
        {
            tracing::warn!(%error, "current time could not be stored in the journal");
        }
        drop(self.durable);
        self.shared.before_close(&self.connection);
        // The deleted log is still open with all its frames, so they can be copied into the database.
        if matches!(self.shared.tampering.get(), Some(Tampered::LogGone(_))) {
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
        let Self { connection, file, .. } = self;
        drop(connection);
        drop(file);
        answer(reply, result);
    }
}

/// Rejects an operation that was queued behind a close.
fn refuse(op: Op) {
    match op {
        Op::Append(append) => answer(append.reply, Err(AppendError::Stopped)),
        Op::Change(_, reply) => answer(reply, Err(Error::Stopped)),
        Op::Close(reply) => answer(reply, Err(Error::Stopped)),
        Op::Settle(..) | Op::Tick => {}
    }
}
