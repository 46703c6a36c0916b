//! Hours, by which figures are kept: counted since the epoch, UTC.

use crate::clock::Timestamp;

/// An hour, in milliseconds.
pub const HOUR_MS: i64 = 60 * 60 * 1_000;

/// The hour that a time is in.
pub const fn hour_of(time: Timestamp) -> i64 {
    time.as_ms().div_euclid(HOUR_MS)
}

/// When an hour begins.
pub const fn begin_of(hour: i64) -> Timestamp {
    Timestamp::from_ms(hour * HOUR_MS)
}
