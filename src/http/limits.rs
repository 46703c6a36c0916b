//! Rate limits (GCRA), and a limit on repeated log lines.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// A rate limit of a count per period. The whole count may come at once, as a burst. The algorithm is the generic cell
/// rate algorithm (GCRA), whose state is a single number.
pub(super) struct Rate {
    period_ns: u64,
    interval_ns: u64,
}

impl Rate {
    /// Allows a burst of `count`, then one per `period / count`. A `count` of 0 allows nothing.
    pub(super) fn per(count: u32, period: Duration) -> Self {
        let period_ns = nanos(period);
        Self { period_ns, interval_ns: period_ns.checked_div(u64::from(count)).unwrap_or(u64::MAX) }
    }

    /// Takes one permit at the time `now_ns`, or returns how long to wait, at most the period. `due_ns` is the state
    /// and starts at 0.
    pub(super) fn take(&self, due_ns: &AtomicU64, now_ns: u64) -> Result<(), Duration> {
        let next = |due: u64| due.max(now_ns).saturating_add(self.interval_ns);
        due_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                Some(next(due)).filter(|next| next - now_ns <= self.period_ns)
            })
            .map(|_before| ())
            .map_err(|due| {
                let wait_ns = (next(due) - now_ns).saturating_sub(self.period_ns);
                Duration::from_nanos(wait_ns.min(self.period_ns))
            })
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A [`Rate`] with its state and a clock.
pub(super) struct Pace {
    rate: Rate,
    started: Instant,
    due_ns: AtomicU64,
}

impl Pace {
    /// Allows a burst of `count`, then one per `period / count`.
    pub(super) fn per(count: u32, period: Duration) -> Self {
        Self { rate: Rate::per(count, period), started: Instant::now(), due_ns: AtomicU64::new(0) }
    }

    /// Takes one permit, or returns how long to wait.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.rate.take(&self.due_ns, nanos(self.started.elapsed()))
    }
}

/// Limits a repeated log line: the first is logged at once, then at most one a minute, with the number of lines
/// suppressed before it.
pub struct LogLimiter {
    pace: Pace,
    suppressed: AtomicU64,
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::every(Duration::from_secs(60))
    }
}

impl LogLimiter {
    fn every(period: Duration) -> Self {
        Self { pace: Pace::per(1, period), suppressed: AtomicU64::new(0) }
    }

    /// `None` if the line is suppressed, `Some(None)` if it is to be logged, and `Some(Some(n))` if it is to be logged
    /// and `n` lines were suppressed before it.
    pub fn allow(&self) -> Option<Option<u64>> {
        match self.pace.take() {
            Ok(()) => Some(Some(self.suppressed.swap(0, Ordering::Relaxed)).filter(|lines| *lines > 0)),
            Err(_not_yet) => {
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rate_allows_a_burst_and_then_one_per_interval() {
        let rate = Rate::per(10, Duration::from_secs(1));
        let due = AtomicU64::new(0);
        let now = 5 * SECOND;
        for _ in 0..10 {
            rate.take(&due, now).unwrap();
        }
        assert_eq!(rate.take(&due, now), Err(Duration::from_millis(100)));
        rate.take(&due, now + SECOND / 10).unwrap();
        assert_eq!(rate.take(&due, now + SECOND / 10), Err(Duration::from_millis(100)));
        for _ in 0..10 {
            rate.take(&due, now + 60 * SECOND).unwrap();
        }
        rate.take(&due, now + 60 * SECOND).unwrap_err();
    }

    #[test]
    fn a_rate_of_0_allows_nothing() {
        let rate = Rate::per(0, Duration::from_secs(60));
        assert_eq!(rate.take(&AtomicU64::new(0), SECOND), Err(Duration::from_secs(60)));
    }

    #[test]
    fn the_first_line_is_logged_and_then_one_per_period_with_a_count() {
        let quiet = LogLimiter::every(Duration::from_secs(3600));
        assert_eq!(quiet.allow(), Some(None));
        assert_eq!(quiet.allow(), None);
        assert_eq!(quiet.allow(), None);
        quiet.pace.due_ns.store(0, Ordering::Relaxed); // an hour later
        assert_eq!(quiet.allow(), Some(Some(2)));
        assert_eq!(quiet.allow(), None);
    }
}
