//! Durations in buckets. Percentiles are computed from the number of durations in each bucket, without reading the
//! stored messages. There are 64 buckets per doubling of the duration, so a computed percentile exceeds the exact one
//! by at most 1/64.

use std::collections::BTreeMap;

const PER_DOUBLING_BITS: u32 = 6;

/// Returns the bucket of a duration in milliseconds. A negative duration counts as 0. Durations can be negative,
/// because clocks differ and statuses arrive out of order.
pub fn bucket_of(ms: i64) -> u32 {
    let ms = ms.max(0).unsigned_abs();
    if ms < 1 << PER_DOUBLING_BITS {
        return u32::try_from(ms).unwrap_or(0);
    }
    let doubling = ms.ilog2() - PER_DOUBLING_BITS;
    let within = u32::try_from(ms >> doubling).unwrap_or(u32::MAX) - (1 << PER_DOUBLING_BITS);
    ((doubling + 1) << PER_DOUBLING_BITS) + within
}

/// Returns the longest duration of a bucket, in milliseconds.
pub fn longest_of(bucket: u32) -> i64 {
    let doubling = bucket >> PER_DOUBLING_BITS;
    if doubling == 0 {
        return i64::from(bucket);
    }
    let within = u64::from(bucket & ((1 << PER_DOUBLING_BITS) - 1)) + (1 << PER_DOUBLING_BITS);
    let above = (within + 1).checked_shl(doubling - 1).unwrap_or(u64::MAX);
    i64::try_from(above - 1).unwrap_or(i64::MAX)
}

/// The number of durations in each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread(BTreeMap<u32, u64>);

impl Spread {
    /// Adds `count` durations to a bucket.
    pub(super) fn add(&mut self, bucket: u32, count: u64) {
        *self.0.entry(bucket).or_default() += count;
    }

    /// Number of durations in all buckets.
    pub(super) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns a percentile in milliseconds: at least `share` (0 to 1) of all durations do not exceed it. `None` if
    /// there are no durations.
    pub(super) fn percentile(&self, share: f64) -> Option<i64> {
        let count = self.count();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        // The counts are far below 2^52, so the casts are exact.
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then(|| longest_of(*bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_is_at_most_a_64th_above_its_durations(ms in 0_i64..1_000_000_000_000) {
            let bucket = bucket_of(ms);
            let longest = longest_of(bucket);
            prop_assert!(longest >= ms && longest - ms <= ms / 64, "{ms} in {bucket}, to {longest}");
            prop_assert!(bucket == 0 || longest_of(bucket - 1) < ms);
        }

        #[test]
        fn a_percentile_is_that_of_the_sorted_durations(
            mut all in prop::collection::vec(0_i64..100_000_000, 1..200),
            share in 0.01_f64..=1.0,
        ) {
            let mut spread = Spread::default();
            all.iter().for_each(|ms| spread.add(bucket_of(*ms), 1));
            all.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let truth = all[((all.len() as f64 * share).ceil() as usize).max(1) - 1];
            prop_assert_eq!(spread.percentile(share), Some(longest_of(bucket_of(truth))));
        }
    }

    #[test]
    fn an_empty_spread_has_no_percentile() {
        assert_eq!(Spread::default().percentile(0.5), None);
        assert_eq!((bucket_of(-5), longest_of(bucket_of(i64::MAX))), (0, i64::MAX));
    }
}
