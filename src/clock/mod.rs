//! The only module that reads the wall clock and the time since boot. It also defines the type for times that are
//! stored and shown.
//!
//! [`Clock`] is the trusted clock of a running receiver: the wall clock, checked against the time since boot. [`now`]
//! is the unchecked wall clock, for code that neither stores times, nor deletes by age, nor compares with stored
//! times.

mod machine;
mod trust;
mod trusted;

pub use machine::{ClockReading, Machine, now, since_boot_ms};
pub use trust::{Correction, LastKnown};
pub use trusted::{Clock, ClockStatus};

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch, UTC. Shown as RFC 3339 with three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", inline, description = "A time (RFC 3339).", extend("format" = "date-time"))]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a time from milliseconds since the Unix epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Adds `duration_ms`, which may be negative. Saturates at the limits of `i64`.
    #[must_use]
    pub const fn plus_ms(self, duration_ms: i64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The value of an HTTP `Date` header (RFC 9110); `None` for years that the format cannot express.
    pub fn to_http_date(self) -> Option<String> {
        let time = jiff::Timestamp::from_millisecond(self.0).ok()?;
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The text is neither a time (RFC 3339) nor a date. A date stands for 00:00 UTC of that day.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a time: use a time such as 2026-01-31T09:30:00Z or a date such as 2026-01-31")]
pub struct NotATime(String);

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(time.as_millisecond()));
        }
        // Without this filter, a time without a zone would be parsed as a date, and its hours would be lost silently.
        let date = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
        date.and_then(|date| date.parse::<jiff::civil::Date>().ok())
            .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .map(|midnight| Self(midnight.timestamp().as_millisecond()))
            .ok_or_else(|| NotATime(text.to_owned()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates_are_parsed_but_no_time_without_a_zone() {
        let time = |text: &str| text.parse::<Timestamp>().map(Timestamp::as_ms).ok();
        assert_eq!(time("2026-01-01T09:30:00Z"), Some(1_767_259_800_000));
        assert_eq!(time("2026-01-01T15:00:00+05:30"), Some(1_767_259_800_000));
        assert_eq!(time("2026-01-01"), Some(1_767_225_600_000));
        for text in
            ["2026-01-01T09:30", "2026-01-01T09:30:00", "2026-01-01 09:30", "2026-13-01", "yesterday", ""]
        {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
