//! Percentiles of latencies.

use std::{fmt, time::Duration};

/// Latencies in microseconds, in order.
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Of these durations, in any order.
    pub fn new(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    /// The latency that a share of all do not exceed, in milliseconds: 0.99 is the p99, 1.0 the largest.
    pub fn at_ms(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a place in the list
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    }

    /// How many there are.
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

/// In microseconds; what took longer than an hour took an hour.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
