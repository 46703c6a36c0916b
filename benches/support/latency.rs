//! Percentiles of latencies.

use std::{fmt, time::Duration};

/// Latencies in microseconds, sorted.
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Takes durations in microseconds, in any order.
    pub fn new(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    /// A percentile in milliseconds: 0.99 gives the p99, 1.0 the maximum.
    pub fn at_ms(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an index of the list
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    }

    /// The number of samples.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms ({} samples)",
            self.at_ms(0.5),
            self.at_ms(0.99),
            self.at_ms(0.999),
            self.at_ms(1.0),
            self.count()
        )
    }
}

/// Converts a duration to microseconds. It saturates at about 71 minutes.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
