//! Free space on the journal's disk, and whether intake may use it.
//!
//! The reserve is space that intake leaves for settles, retention and checkpoints. Two limits protect it. First, the
//! free space of the file system plus the free pages of the database file must exceed the reserve; free pages count
//! because deleted rows do not shrink the file. Second, the free space of the file system alone must exceed half of the
//! reserve, because the write-ahead log, its `-shm` index, insight and the files of handlers need space outside the
//! database file. These limits do not include quotas. So after the disk has refused a write, it counts as full until a
//! probe succeeds. Here a probe is a test write of some MiB.
//!
//! Intake that was stopped resumes only with a margin above the limit. Otherwise it would stop and resume with each row
//! that retention deletes.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::{disk, folder, settings::Size};

/// The default reserve is this, or 5 % of the file system if that is less.
const RESERVE_BYTES: u64 = 1 << 30;
/// Intake resumes above the limit plus a margin: 1/8 of the reserve, or 1 MiB if that is more.
const MARGIN_PART: u64 = 8;
const MARGIN_LEAST_BYTES: u64 = 1 << 20;
/// Interval between probes of a disk that refused a write. Within this interval no probe is made, and every error
/// that lack of space can cause counts as lack of space.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Measures the free space, and remembers whether it was short.
pub(super) struct DiskRoom {
    file: PathBuf,
    reserve: Option<Size>,
    /// Why intake must stop, according to the last measurement and the refused writes since.
    pub short: Option<Shortage>,
    /// When a write, or a probe after it, was last refused.
    refused: Option<Instant>,
    /// True after a failed measurement, which was logged once.
    unmeasured: bool,
}

/// Why intake must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// The free space of the file system plus the free pages is down to the reserve.
    Reserve,
    /// The free space of the file system alone is down to half of the reserve.
    FileSystem,
    /// A write was refused: no space left, or a quota exceeded.
    Refused,
}

/// The result of one measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpaceMeasurement {
    /// Free bytes of the file system for this user.
    pub free: u64,
    /// Bytes in free pages of the database file.
    pub pages: u64,
    /// Bytes that intake leaves for settles, retention and checkpoints.
    pub reserve: u64,
}

impl SpaceMeasurement {
    /// Available bytes, including the reserve: the free space plus the free pages, or [`Self::outside`] if that is
    /// less. Both sums are compared with the reserve.
    pub(super) const fn room(&self) -> u64 {
        let (all, outside) = (self.free.saturating_add(self.pages), self.outside());
        if all < outside { all } else { outside }
    }

    /// The free space of the file system plus half of the reserve. To compare this sum with the reserve is to compare
    /// the free space with half of the reserve.
    const fn outside(&self) -> u64 {
        self.free.saturating_add(self.reserve - self.reserve / 2)
    }

    /// The limit that is reached, if any. If `was_short`, a margin is added to both limits.
    fn shortage(&self, was_short: bool) -> Option<Shortage> {
        let margin = if was_short { (self.reserve / MARGIN_PART).max(MARGIN_LEAST_BYTES) } else { 0 };
        let bound = self.reserve.saturating_add(margin);
        if self.free.saturating_add(self.pages) <= bound {
            Some(Shortage::Reserve)
        } else if self.outside() <= bound {
            Some(Shortage::FileSystem)
        } else {
            None
        }
    }
}

impl DiskRoom {
    /// Prepares measurements of the file system that contains `file`. Measures nothing yet.
    pub(super) fn new(file: &Path, reserve: Option<Size>) -> Self {
        Self { file: file.to_owned(), reserve, short: None, refused: None, unmeasured: false }
    }

    /// Measures the space. Also returns why intake must stop, if it must. A failed measurement alone does not stop
    /// intake, because if the disk is full, the next write fails and stops intake.
    pub(super) fn check(&mut self, connection: &Connection) -> (Option<SpaceMeasurement>, Option<Shortage>) {
        let measured = self.measure(connection);
        if let Err(error) = &measured
            && !self.unmeasured
        {
            tracing::warn!(%error, "free space on the journal's disk cannot be measured");
        }
        let measured = measured.ok();
        self.unmeasured = measured.is_none();
        let was_short = self.short.is_some();
        self.short =
            measured.and_then(|measured| measured.shortage(was_short)).or_else(|| self.still_refused());
        (measured, self.short)
    }

    /// True if the statement failed for lack of space. Then intake must stop until a probe succeeds.
    pub(super) fn is_refused(&mut self, error: &rusqlite::Error) -> bool {
        let just_now = self.refused.is_some_and(|at| at.elapsed() < PROBE_INTERVAL);
        let refused =
            if just_now { disk::may_be_full_sqlite(error) } else { disk::is_full_sqlite(error, &self.file) };
        if refused {
            self.refused = Some(Instant::now());
            self.short.get_or_insert(Shortage::Refused);
        }
        refused
    }

    fn still_refused(&mut self) -> Option<Shortage> {
        let at = self.refused?;
        if at.elapsed() >= PROBE_INTERVAL {
            let full = disk::probe(&self.file).is_err_and(|error| disk::is_full(&error));
            self.refused = full.then(Instant::now);
        }
        self.refused.map(|_| Shortage::Refused)
    }

    fn measure(&self, connection: &Connection) -> Result<SpaceMeasurement, String> {
        let disk =
            rustix::fs::statvfs(folder::of(&self.file)).map_err(|error| format!("free space: {error}"))?;
        let pragma = |name: &str| -> Result<u64, String> {
            connection
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(|error| format!("{name}: {error}"))
        };
        let pages = pragma("freelist_count")? * pragma("page_size")?;
        let reserve = self.reserve.map_or_else(
            || RESERVE_BYTES.min(disk.f_blocks.saturating_mul(disk.f_frsize) / 20),
            |size| size.0,
        );
        Ok(SpaceMeasurement { free: disk.f_bavail.saturating_mul(disk.f_frsize), pages, reserve })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn measured(free_mib: u64, pages_mib: u64, reserve_mib: u64) -> SpaceMeasurement {
        SpaceMeasurement { free: free_mib * MIB, pages: pages_mib * MIB, reserve: reserve_mib * MIB }
    }

    #[test]
    fn free_pages_count_but_half_of_the_reserve_stays_free_outside_the_file() {
        let short = |free, pages| measured(free, pages, 64).shortage(false);
        assert_eq!(short(65, 0), None);
        assert_eq!(short(64, 0), Some(Shortage::Reserve));
        assert_eq!(short(33, 1_000), None);
        assert_eq!(short(32, 1_000), Some(Shortage::FileSystem));
        assert_eq!(short(0, 64), Some(Shortage::Reserve));
    }

    #[test]
    fn intake_stops_exactly_when_the_room_is_down_to_the_reserve() {
        for (free, pages) in [(64, 0), (32, 1_000), (65, 0), (33, 1_000), (20, 44), (0, 0)] {
            let measured = measured(free, pages, 64);
            assert_eq!(
                measured.room() <= measured.reserve,
                measured.shortage(false).is_some(),
                "{measured:?}"
            );
        }
    }

    #[test]
    fn intake_opens_again_only_with_a_margin() {
        let short = |free, pages| measured(free, pages, 64).shortage(true);
        assert_eq!(short(72, 0), Some(Shortage::Reserve));
        assert_eq!(short(73, 0), None);
        assert_eq!(short(40, 1_000), Some(Shortage::FileSystem));
        assert_eq!(short(41, 1_000), None);
        // A margin also applies without a reserve.
        assert_eq!(measured(1, 0, 0).shortage(true), Some(Shortage::Reserve));
        assert_eq!(measured(2, 0, 0).shortage(true), None);
    }
}
