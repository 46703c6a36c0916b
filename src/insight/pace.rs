//! How long insight pauses after each batch. A short pause lets several events gather for the next batch. After a
//! failure, the pause is longer. Under load it is also longer, to leave most of the machine to intake.

use std::time::{Duration, Instant};

/// The pause once insight has caught up. Without it, each event would be stored in its own transaction.
const GATHER: Duration = Duration::from_millis(50);
/// Insight has caught up if it is fewer events behind than this.
const CAUGHT_UP: u64 = 2_000;
/// The pause after the first failure of insight's file or of the journal. It grows with each failure in a row, up to
/// [`LONGEST_REST`].
const REST: Duration = Duration::from_secs(5);
/// The longest pause after a failure.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// If more events than this arrive per second, insight lags, because it pauses long enough to leave most of the machine
/// to intake. At half of this rate, insight keeps up. The lowest priority for insight's thread is not enough, because
/// the thread would still take a full share of the disk and the caches, and would slow the other hyperthread of its
/// core.
const BUSY_PER_SECOND: u64 = 10_000;
/// Above [`BUSY_PER_SECOND`], the pause is this many times as long as the batch took, up to [`LONGEST_GIVE_WAY`].
const GIVE_WAY: u32 = 11;
/// The longest pause under load.
const LONGEST_GIVE_WAY: Duration = Duration::from_secs(4);

/// The state that the next pause depends on.
pub(super) struct InsightPace {
    failures: u32,
    /// The tip at the start of the previous batch, and the time of that start.
    before: (u64, Instant),
}

impl InsightPace {
    /// The state before the first batch.
    pub(super) fn new(tip: u64, now: Instant) -> Self {
        Self { failures: 0, before: (tip, now) }
    }

    /// Returns the pause after a batch that was stored.
    pub(super) fn after_success(&mut self, cursor: u64, batch: (u64, Instant), now: Instant) -> Duration {
        self.failures = 0;
        let (tip, begun) = batch;
        let (tip_before, begun_before) = std::mem::replace(&mut self.before, batch);
        let arrived = u128::from(tip.saturating_sub(tip_before)) * 1_000_000_000;
        let within = begun.duration_since(begun_before).as_nanos();
        if arrived > within * u128::from(BUSY_PER_SECOND) {
            return (now.duration_since(begun) * GIVE_WAY).min(LONGEST_GIVE_WAY);
        }
        if tip.saturating_sub(cursor) < CAUGHT_UP { GATHER } else { Duration::ZERO }
    }

    /// Returns the pause after a batch that failed.
    pub(super) fn after_failure(&mut self) -> Duration {
        self.failures += 1;
        (REST * self.failures).min(LONGEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The pause after a batch that took 100 ms and began 500 ms after the previous one. In these 500 ms, `arrived`
    /// events came in. When the batch began, insight was `behind` events behind.
    fn rest(arrived: u64, behind: u64) -> Duration {
        let begun = Instant::now();
        let mut pace = InsightPace::new(10_000_000, begun);
        let tip = 10_000_000 + arrived;
        pace.after_success(tip - behind, (tip, begun + 500 * MS), begun + 600 * MS)
    }

    #[test]
    fn insight_gathers_events_only_once_it_has_caught_up() {
        assert_eq!(rest(2_500, 100), GATHER, "5,000 a second");
        assert_eq!(rest(2_500, 50_000), Duration::ZERO);
        assert_eq!(rest(0, 5_000_000), Duration::ZERO, "a rebuild");
    }

    #[test]
    fn insight_yields_under_load_whether_it_lags_or_not() {
        assert_eq!([rest(5_001, 100), rest(15_000, 1_000_000)], [1_100 * MS, 1_100 * MS]);
        assert_eq!(rest(5_000, 1_000_000), Duration::ZERO, "10,000 a second are not yet load");
        let begun = Instant::now();
        let mut pace = InsightPace::new(0, begun);
        assert_eq!(pace.after_success(0, (1_000_000, begun + MS), begun + 10_000 * MS), LONGEST_GIVE_WAY);
    }

    #[test]
    fn insight_waits_longer_after_each_failure() {
        let begun = Instant::now();
        let mut pace = InsightPace::new(0, begun);
        assert_eq!([pace.after_failure(), pace.after_failure()], [REST, REST * 2]);
        assert_eq!((0..20).map(|_| pace.after_failure()).max(), Some(LONGEST_REST));
        pace.after_success(0, (0, begun + MS), begun + 2 * MS);
        assert_eq!(pace.after_failure(), REST);
    }
}
