//! A machine whose clocks a test sets.

use std::sync::{Arc, Mutex};

use bikhook::clock::{ClockReading, Machine, Timestamp};

/// 2026-12-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_ms(1_796_083_200_000);
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Sets both clocks. Clones belong to the same machine.
#[derive(Clone)]
pub struct Hands(Arc<Mutex<ClockReading>>);

impl Hands {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(ClockReading { wall: START, boot_ms: 5 * HOUR })))
    }

    /// Time passes, or the machine is suspended for this long.
    pub fn pass(&self, ms: i64) {
        let mut reading = self.0.lock().unwrap();
        *reading = ClockReading { wall: reading.wall.plus_ms(ms), boot_ms: reading.boot_ms + ms };
    }

    /// Sets the wall clock.
    pub fn jump(&self, ms: i64) {
        let mut reading = self.0.lock().unwrap();
        reading.wall = reading.wall.plus_ms(ms);
    }

    /// The wall clock.
    pub fn wall(&self) -> Timestamp {
        self.read().wall
    }
}

impl Machine for Hands {
    fn read(&self) -> ClockReading {
        *self.0.lock().unwrap()
    }
}
