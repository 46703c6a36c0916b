//! Hours, the unit of time of figures. An hour is the number of whole hours since the Unix epoch, in UTC.

use crate::clock::Timestamp;

/// The length of an hour, in milliseconds.
pub const HOUR_MS: i64 = 60 * 60 * 1_000;

/// The length of a day, in hours.
pub(super) const DAY_HOURS: i64 = 24;

/// Returns the hour that contains a time.
pub(super) const fn hour_of(time: Timestamp) -> i64 {
    time.as_ms().div_euclid(HOUR_MS)
}

/// Returns the time at which an hour begins.
pub(super) const fn begin_of(hour: i64) -> Timestamp {
    Timestamp::from_ms(hour * HOUR_MS)
}
