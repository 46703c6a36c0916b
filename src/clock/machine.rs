//! The two clocks of the machine: the wall clock, which can be set, and the time since boot, which cannot.

use rustix::time::{ClockId, clock_gettime};

use super::Timestamp;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock, which can be set.
    pub wall: Timestamp,
    /// Milliseconds since boot, including time in suspend (`CLOCK_BOOTTIME`).
    pub boot_ms: i64,
}

impl ClockReading {
    /// The wall clock minus the time since boot: nearly constant unless the wall clock is set.
    pub(super) const fn offset_ms(self) -> i64 {
        self.wall.as_ms().saturating_sub(self.boot_ms)
    }
}

/// The source of readings for a [`super::Clock`]. Tests implement it with clocks that they set.
pub trait Machine: Send + Sync + 'static {
    /// Reads both clocks at once.
    fn read(&self) -> ClockReading;
}

/// The clocks of the operating system.
pub(super) struct System;

impl Machine for System {
    fn read(&self) -> ClockReading {
        ClockReading { wall: now(), boot_ms: since_boot_ms() }
    }
}

/// Milliseconds since the machine was booted, including time in suspend. Used to measure durations, because a change of
/// the wall clock does not affect it.
pub fn since_boot_ms() -> i64 {
    let boot = clock_gettime(ClockId::Boottime);
    boot.tv_sec.saturating_mul(1_000).saturating_add(boot.tv_nsec / 1_000_000)
}

/// The current time of the machine's wall clock, not checked against the time since boot.
#[allow(clippy::disallowed_methods)] // the only call
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}
