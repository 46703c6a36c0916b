//! Clock eras. Each correction of the trusted clock starts one. Eras are needed to compute the age of rows that were
//! stored before a correction.
//!
//! Within an era, `received_at` never falls, so a bisection can find the first row received at or after a given time.
//! From one era to the next, `received_at` may fall. Stored times never change, but the age of a row takes each later
//! correction into account, by two rules. A row cannot be younger than a correction that followed it. If a correction
//! goes forward by more than any plausible downtime, the clock was wrong before. Then the age of each earlier row is
//! computed as if its time were later by the size of the correction, because otherwise the correction would make the
//! row seem older.

use rusqlite::{Connection, params};

use crate::clock::{Correction, Timestamp};

/// Every era that a correction started, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Eras(Vec<Era>);

/// An era that a correction started. Such eras are numbered from 1; everything before the first correction belongs to
/// era 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Era {
    /// Its first seq, which may not be assigned yet.
    pub first: u64,
    /// The trusted time at which it started.
    pub began_at: Timestamp,
    /// The number of ms added to the times of older rows when their age is computed.
    pub shift_ms: i64,
}

/// A trusted time with its era.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The trusted time in this era, without later corrections.
    pub at: Timestamp,
    /// The number of the era in which the time was read.
    pub era: usize,
}

impl Eras {
    /// Reads all eras from the file.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut select =
            connection.prepare_cached("SELECT first, began_at, shift_ms FROM era ORDER BY number")?;
        let eras = select.query_map([], |row| {
            let began_at = Timestamp::from_ms(row.get(1)?);
            Ok(Era { first: row.get(0)?, began_at, shift_ms: row.get(2)? })
        })?;
        eras.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// Writes the era that a correction starts. [`Self::push`] adds it to this list after the commit.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        first: u64,
        correction: &Correction,
        reason: &str,
    ) -> rusqlite::Result<Era> {
        let era = Era { first, began_at: correction.to, shift_ms: correction.shift_ms() };
        connection
            .prepare_cached(
                "INSERT INTO era (number, first, began_at, by_ms, shift_ms, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                self.now() + 1,
                era.first,
                era.began_at.as_ms(),
                correction.by_ms,
                era.shift_ms,
                reason
            ])?;
        Ok(era)
    }

    /// Adds an era whose [`Self::insert`] is committed.
    pub(super) fn push(&mut self, era: Era) {
        self.0.push(era);
    }

    /// The number of the current era.
    pub(super) fn now(&self) -> usize {
        self.0.len()
    }

    /// The number of the era in which a seq was assigned.
    pub(super) fn of(&self, seq: u64) -> usize {
        self.0.partition_point(|era| era.first <= seq)
    }

    /// The last seq that can be in the same era as `seq`.
    pub(super) fn last_of(&self, seq: u64) -> u64 {
        self.0.get(self.of(seq)).map_or(u64::MAX, |next| next.first - 1)
    }

    /// Splits `low..end` into one range per era, in order, without empty ranges.
    pub(super) fn parts(&self, low: u64, end: u64) -> Vec<(u64, u64)> {
        let mut parts = Vec::with_capacity(self.0.len() + 1);
        let mut from = low;
        for border in self.0.iter().map(|era| era.first).chain([u64::MAX]) {
            let to = border.min(end);
            if from < to {
                parts.push((from, to));
                from = to;
            }
        }
        parts
    }

    /// Converts a time of an era to the current era, to compute an age.
    pub(super) fn aged(&self, era: usize, time: Timestamp) -> Timestamp {
        let later = self.0.get(era..).unwrap_or_default();
        later.iter().fold(time, |time, era| time.plus_ms(era.shift_ms).min(era.began_at))
    }

    /// Converts `horizon`, a time in the current era, to the era with the number `era`. Rows from before `horizon` have
    /// expired. A time of `era` is below the result if and only if its [`Self::aged`] time is below `horizon`.
    pub(super) fn horizon(&self, era: usize, horizon: Timestamp) -> Timestamp {
        let later = self.0.get(era..).unwrap_or_default();
        later.iter().rev().fold(horizon, |horizon, era| {
            if era.began_at < horizon { Timestamp::from_ms(i64::MAX) } else { horizon.plus_ms(-era.shift_ms) }
        })
    }

    /// [`Self::horizon`] for every era, as an SQL table `horizon (era, at)`.
    pub(super) fn horizons(&self, horizon: Timestamp) -> String {
        let rows: Vec<String> =
            (0..=self.now()).map(|era| format!("({era},{})", self.horizon(era, horizon).as_ms())).collect();
        format!("WITH horizon (era, at) AS (VALUES {})", rows.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eras() -> impl Strategy<Value = Eras> {
        let era = (0_u64..40, -1_000_i64..1_000, prop_oneof![Just(0_i64), 1_i64..500]);
        prop::collection::vec(era, 0..6).prop_map(|rows| {
            let mut first = 1;
            Eras(
                rows.into_iter()
                    .map(|(more, at, shift_ms)| {
                        first += more;
                        Era { first, began_at: Timestamp::from_ms(at), shift_ms }
                    })
                    .collect(),
            )
        })
    }

    proptest! {
        #[test]
        fn each_era_has_its_own_horizon(
            eras in eras(), number in 0_usize..8, time in -2_000_i64..2_000, horizon in -2_000_i64..2_000,
        ) {
            let number = number.min(eras.now());
            let (time, horizon) = (Timestamp::from_ms(time), Timestamp::from_ms(horizon));
            prop_assert_eq!(time < eras.horizon(number, horizon), eras.aged(number, time) < horizon);
        }

        #[test]
        fn a_range_is_split_into_parts_of_one_era_each(eras in eras(), low in 1_u64..200, end in 1_u64..200) {
            let mut seqs = Vec::new();
            for (from, to) in eras.parts(low, end) {
                prop_assert!(from < to && eras.of(from) == eras.of(to - 1));
                prop_assert!(eras.last_of(from) >= to - 1);
                seqs.extend(from..to);
            }
            prop_assert_eq!(seqs, (low..end).collect::<Vec<_>>());
        }
    }
}
