//! Timekeeping by the writer: it compares the trusted clock with the wall clock every second, starts a clock era
//! (`eras`) for each correction, and stores the current time, which the next start of the receiver needs.

use std::time::{Duration, Instant};

use super::{eras::Era, writer::JournalWriter};
use crate::clock::{ClockStatus, Correction};

/// Interval between comparisons of the two clocks.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// The interval at which the current time is stored.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Deletion by age measures age against a separate time, the deletion time ([`ClockStatus::deletion`]). While the
/// deletion time is at least this far behind the trusted time, deletion counts as catching up, for example after
/// downtime.
const CATCHING_UP_MS: i64 = 3_600_000;

impl JournalWriter {
    /// Makes a correction that is due, updates the metrics, and once per minute stores the current time. Does nothing
    /// if the last comparison was less than a second ago.
    pub(super) fn compare_clocks(&mut self) {
        let now = Instant::now();
        let is_due = |at: Option<Instant>, every| at.is_none_or(|at| now.duration_since(at) >= every);
        let [compared, noted] = self.clock_seen;
        if !is_due(compared, COMPARE_EVERY) {
            return;
        }
        self.clock_seen[0] = Some(now);
        let status = self.clock.status();
        self.show_clock(&status);
        let due = if status.trusted { None } else { self.clock.correction(false) };
        let done = match due {
            Some(correction) => self.correct(correction),
            None if is_due(noted, NOTE_EVERY) => {
                self.clock_seen[1] = Some(now);
                self.note_clock()
            }
            None => Ok(()),
        };
        if let Err(error) = done {
            let verdict = self.classify("clock", &error);
            self.roll_back();
            tracing::warn!(%error, ?verdict, "state of the clock could not be stored in the journal");
        }
    }

    /// Commits a correction that is due: the wall clock was not trusted, but has not jumped again for an hour.
    fn correct(&mut self, correction: Correction) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let era = self.begin_era(self.tip + 1, &correction, "agreed")?;
        self.connection.execute_batch("COMMIT")?;
        self.apply_correction((era, correction));
        Ok(())
    }

    pub(super) fn note_clock(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.note("clock", self.clock.now())?;
        self.note("deletion", self.clock.deletion())?;
        self.connection.execute_batch("COMMIT")
    }

    /// Called when the disk is full. Logs that deletion by age is delayed, if the wall clock is not trusted or not yet
    /// confirmed ([`ClockStatus::unconfirmed_until`]), or if deletion is still catching up.
    pub(super) fn warn_deletion_delayed(&self) {
        let ClockStatus { now, deletion, trusted, unconfirmed_until, .. } = self.clock.status();
        let behind_ms = now.ms_since(deletion);
        if trusted && unconfirmed_until.is_none() && behind_ms < CATCHING_UP_MS {
            return;
        }
        tracing::error!(
            clock_trusted = trusted,
            deletion_behind_hours = behind_ms / 3_600_000,
            "deletion by age is delayed by the clock checks; if the wall clock is right, run `bikhook clock accept`"
        );
    }

    fn show_clock(&self, status: &ClockStatus) {
        let metrics = &self.shared.metrics;
        metrics.clock_trusted.set(i64::from(status.trusted));
        metrics.clock_offset_seconds.set(status.wall.ms_since(status.now) / 1_000);
        metrics.deletion_behind_seconds.set(status.now.ms_since(status.deletion) / 1_000);
    }

    /// Writes a correction within the open transaction. [`Self::apply_correction`] applies it after the commit.
    pub(super) fn begin_era(
        &self,
        first: u64,
        correction: &Correction,
        reason: &str,
    ) -> rusqlite::Result<Era> {
        let era = self.eras.insert(&self.connection, first, correction, reason)?;
        let deletion = self.clock.deletion().plus_ms(correction.shift_ms()).min(correction.to);
        for (name, time) in [("clock", correction.to), ("deletion", deletion), ("received_at", correction.to)]
        {
            self.note(name, time)?;
        }
        tracing::warn!(
            reason,
            by_seconds = correction.by_ms / 1_000,
            to = %correction.to,
            first_seq = first,
            "trusted clock corrected to the wall clock; a new clock era begins"
        );
        Ok(era)
    }

    /// Applies a committed correction: from here on, times follow the wall clock again.
    pub(super) fn apply_correction(&mut self, (era, correction): (Era, Correction)) {
        self.clock.correct(&correction);
        self.received_at = correction.to;
        self.eras.push(era);
        // An error is ignored, because only the reported length of the deduplication window depends on the result.
        if let Ok(oldest) = self.oldest_run() {
            self.shared.note_oldest_key(oldest);
        }
    }
}
