//! How long insight rests after each batch: it gathers what trickles in, waits longer and longer where it cannot go on, and
//! gives way to intake under load.

use std::time::{Duration, Instant};

/// What has caught up gathers for so long: a transaction for each event would be work for nothing.
const GATHER: Duration = Duration::from_millis(50);
/// Fewer events behind is caught up.
const CAUGHT_UP: u64 = 2_000;
/// It rests for so long where its file or the journal cannot be read or written, and longer each time …
const REST: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// While more events a second come in, intake has the machine for itself for most of the time: insight keeps up with half of
/// that, and lags behind more than that. Its thread has the lowest priority, but its share of the disk, of the caches and of
/// a core's other half is as large as anybody's.
const BUSY_PER_SECOND: u64 = 10_000;
/// Then it rests so many times as long as the batch took …
const GIVE_WAY: u32 = 11;
/// … up to this.
const LONGEST_GIVE_WAY: Duration = Duration::from_secs(4);

/// What the next rest depends on.
pub struct Pace {
    failures: u32,
    /// The newest event when the batch before began, and when that was.
    before: (u64, Instant),
}

impl Pace {
    /// At the first look at the journal.
    pub fn new(tip: u64, now: Instant) -> Self {
        Self { failures: 0, before: (tip, now) }
    }

    /// The rest after a batch that was taken in.
    pub fn went(&mut self, cursor: u64, batch: (u64, Instant), now: Instant) -> Duration {
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

    /// The rest after one that was not.
    pub fn failed(&mut self) -> Duration {
        self.failures += 1;
        (REST * self.failures).min(LONGEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The rest after a batch of 100 ms that began 500 ms after the one before, when so many events had come in since.
    fn rest(arrived: u64, behind: u64) -> Duration {
        let begun = Instant::now();
        let mut pace = Pace::new(10_000_000, begun);
        let tip = 10_000_000 + arrived;
        pace.went(tip - behind, (tip, begun + 500 * MS), begun + 600 * MS)
    }

    #[test]
    fn what_has_caught_up_gathers_and_what_has_not_goes_on() {
        assert_eq!(rest(2_500, 100), GATHER, "5,000 a second");
        assert_eq!(rest(2_500, 50_000), Duration::ZERO);
        assert_eq!(rest(0, 5_000_000), Duration::ZERO, "a rebuild");
    }

    #[test]
    fn it_gives_way_under_load_whether_it_lags_or_not() {
        assert_eq!([rest(5_001, 100), rest(15_000, 1_000_000)], [1_100 * MS, 1_100 * MS]);
        assert_eq!(rest(5_000, 1_000_000), Duration::ZERO, "10,000 a second are not yet load");
        let begun = Instant::now();
        let mut pace = Pace::new(0, begun);
        assert_eq!(pace.went(0, (1_000_000, begun + MS), begun + 10_000 * MS), LONGEST_GIVE_WAY);
    }

    #[test]
    fn it_waits_longer_each_time_it_cannot_go_on() {
        let begun = Instant::now();
        let mut pace = Pace::new(0, begun);
        assert_eq!([pace.failed(), pace.failed()], [REST, REST * 2]);
        assert_eq!((0..20).map(|_| pace.failed()).max(), Some(LONGEST_REST));
        pace.went(0, (0, begun + MS), begun + 2 * MS);
        assert_eq!(pace.failed(), REST);
    }
}
