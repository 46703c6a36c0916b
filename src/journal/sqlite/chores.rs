//! The writer's maintenance between two groups (a group is the batches of one commit): one step of retention, the last
//! frames of a checkpoint, a measurement of the free space, a comparison of the clocks, and a check of the log.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    checkpoint,
    room::{Shortage, SpaceMeasurement},
    writer::JournalWriter,
};
use crate::{disk, journal::JournalState};

const ROOM_INTERVAL: Duration = Duration::from_millis(100);
/// Delay before failed maintenance is retried.
const CHORES_PAUSE: Duration = Duration::from_secs(1);
/// Delay before deletion is retried after it met an unreadable page.
const DELETION_PAUSE: Duration = Duration::from_secs(300);

impl JournalWriter {
    pub(super) fn measure_room(&mut self) {
        if self.room_measured.is_some_and(|at| at.elapsed() < ROOM_INTERVAL) || self.shared.failed() {
            return;
        }
        self.room_measured = Some(Instant::now());
        let frames = self.shared.wal_frames.load(Relaxed);
        let presence = &self.shared.presence;
        if let Err(tampered) = presence.check(frames).and_then(|()| presence.check_lock()) {
            return self.shared.tampered(tampered);
        }
        let (measured, shortage) = self.room.check(&self.connection);
        self.show_room(measured, shortage);
    }

    pub(super) fn show_room(&self, measured: Option<SpaceMeasurement>, shortage: Option<Shortage>) {
        if let Some(measured) = measured {
            self.shared.metrics.room_bytes.set(measured.room().try_into().unwrap_or(i64::MAX));
        }
        let Some(shortage) = shortage else {
            if self.shared.change_state(|state| {
                matches!(state, JournalState::Full { .. }).then_some(JournalState::Ready)
            }) {
                tracing::info!("journal's disk has room again; intake continues");
            }
            return;
        };
        // `held_by` is a handler whose undelivered events retention must keep. Deleting these events would only free
        // pages inside the database file. Only the check for `Reserve` counts free pages as space, so `held_by` is set
        // only for a `Reserve` shortage.
        let held_by = match shortage {
            Shortage::Reserve => self.held_by(),
            Shortage::FileSystem | Shortage::Refused => None,
        };
        let mut was_full = false;
        let turned = self.shared.change_state(|state| {
            was_full = matches!(state, JournalState::Full { .. });
            Some(JournalState::Full { held_by: held_by.clone() })
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
        tracing::error!(
            held_by = held_by.as_deref(),
            free_bytes = measured.map(|space| space.free),
            free_page_bytes = measured.map(|space| space.pages),
            reserve_bytes = measured.map(|space| space.reserve),
            "{why}"
        );
        self.warn_deletion_delayed();
    }

    /// Checks the log after a commit. `frames` is the number of frames before the commit. Every commit is checked,
    /// because a commit to a truncated log extends the file to its expected length. Later checks would miss the gap,
    /// because they look only at the length and at newer frames.
    pub(super) fn check_log_since(&self, frames: u32) {
        let now = self.shared.wal_frames.load(Relaxed);
        if now != frames
            && let Err(tampered) = self.shared.presence.check_log(frames, now)
        {
            self.shared.tampered(tampered);
        }
    }

    /// Maintenance between two groups.
    pub(super) fn chores(&mut self) {
        let frames = self.shared.wal_frames.load(Relaxed);
        self.shared.metrics.wal_bytes.set(self.shared.wal_bytes().try_into().unwrap_or(i64::MAX));
        if self.shared.failed() {
            return;
        }
        self.compare_clocks();
        self.check_log_since(frames);
        if self.shared.failed() || self.chores_paused.is_some_and(|until| Instant::now() < until) {
            return;
        }
        // Delete even if the checkpoint failed. If it failed because the file cannot grow, rows can still be deleted.
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
                let verdict = self.classify(doing, &error);
                self.roll_back();
                self.chores_paused = Some(Instant::now() + CHORES_PAUSE);
                // Log this once, because the maintenance is retried every second.
                if !was_paused {
                    tracing::warn!(%error, ?verdict, doing, "retention or checkpoint failed; both are tried again");
                }
            }
        }
    }

    /// Deletes a limited number of expired rows. An unreadable page pauses only the deletion. It does not stop intake,
    /// because intake does not need the old events to be deleted. A restart would not help, because it would meet the
    /// same page.
    fn delete(&mut self) -> Result<(), (&'static str, rusqlite::Error)> {
        if self.deletion_paused.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let done = self.delete_slice();
        self.shared.low.store(self.retention.low, Relaxed);
        let evicted = match done {
            Ok(evicted) => evicted,
            // If the page is unreadable because another program changed the file, `is_intact` fails the journal.
            Err(error) if disk::is_unreadable_sqlite(&error) && self.shared.is_intact() => {
                self.pause_deletion(&error);
                return Ok(());
            }
            Err(error) => return Err(("retention", error)),
        };
        if self.deletion_paused.take().is_some() {
            tracing::info!("deletion by retention resumed");
        }
        self.apply_eviction(evicted);
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

    /// Copies the last frames of a checkpoint if the checkpointer asks for that. If the log is over its limit, intake
    /// waits here until all frames are copied.
    fn finish_checkpoint(&self, frames: u32) -> Result<(), (&'static str, rusqlite::Error)> {
        let must = frames > checkpoint::MAX_FRAMES;
        if !must && !self.shared.reset_wanted.load(Relaxed) {
            return Ok(());
        }
        let mut warned = false;
        loop {
            let done =
                checkpoint::finish(&self.connection, &self.shared).map_err(|error| ("checkpoint", error))?;
            if done || !must {
                return Ok(());
            }
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!(
                    "journal's write-ahead log reached its limit while another process reads the file; intake waits"
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
