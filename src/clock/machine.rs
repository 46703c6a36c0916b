//! The machine's two clocks: the wall clock, which anybody may set, and the time since boot, which nobody can.

use rustix::time::{ClockId, clock_gettime};

use super::Timestamp;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Milliseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
    pub boot_ms: i64,
}

impl Reading {
    /// The wall clock minus the time since boot: constant while nobody sets the wall clock.
    pub const fn offset_ms(self) -> i64 {
        self.wall.as_ms().saturating_sub(self.boot_ms)
    }
}

/// Where a [`super::Clock`] reads the clocks; a test brings its own.
pub trait Machine: Send + Sync + 'static {
    /// Both clocks, now.
    fn read(&self) -> Reading;
}

/// The clocks of the operating system.
pub(super) struct System;

impl Machine for System {
    fn read(&self) -> Reading {
        Reading { wall: wall(), boot_ms: boot_ms() }
    }
}

pub(super) fn boot_ms() -> i64 {
    let boot = clock_gettime(ClockId::Boottime);
    boot.tv_sec.saturating_mul(1_000).saturating_add(boot.tv_nsec / 1_000_000)
}

#[allow(clippy::disallowed_methods)] // the one place
pub(super) fn wall() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}
