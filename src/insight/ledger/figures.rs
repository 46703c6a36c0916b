//! The changes of a batch to the figures. They are collected, and written with one statement per row.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{
    super::{hour::hour_of, spread::bucket_of, state::MessageStep},
    message::StoredMessage,
};

/// The tables of figures: name, key columns besides the time `at`, and columns that are summed.
pub(super) const TABLES: [(&str, &str, &[&str]); 5] = [
    (
        "figure",
        "slice",
        &["incoming", "messages", "sent", "delivered", "read", "played", "failed", "deleted"],
    ),
    ("failure", "slice, class", &["messages"]),
    ("spread", "slice, measure, bucket", &["messages"]),
    ("arrival", "source, name", &["events", "disordered", "repeated"]),
    ("lateness", "source, bucket", &["events"]),
];

/// Returns SQL that sums rows by `at` and `groups`, and adds them to the rows of `keys` in `table`. `from` is the
/// rest of the SELECT.
pub(super) fn add_sums_sql(
    table: &str,
    keys: &str,
    sums: &[&str],
    at: &str,
    groups: &str,
    from: &str,
) -> String {
    let columns = sums.join(", ");
    let summed = sums.iter().map(|sum| format!("sum({sum})")).collect::<Vec<_>>().join(", ");
    let added =
        sums.iter().map(|sum| format!("{sum} = {sum} + excluded.{sum}")).collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO {table} (at, {keys}, {columns}) SELECT {at}, {groups}, {summed} FROM {from} GROUP BY 1, {groups}
         ON CONFLICT (at, {keys}) DO UPDATE SET {added}"
    )
}

/// The kind of a duration; the numbers are those in the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    ToDeliver = 0,
    ToRead = 1,
}

/// Counts of received events, per hour, source and event name.
#[derive(Clone, Copy, Default)]
pub(super) struct Arrival {
    pub events: i64,
    pub disordered: i64,
    pub repeated: i64,
}

/// Changes of figures, by their keys.
#[derive(Default)]
pub(super) struct FigureChanges {
    counts: HashMap<(i64, i64), Counts>,
    failures: HashMap<(i64, i64, i64), i64>,
    spreads: HashMap<(i64, i64, Measure, u32), i64>,
    arrivals: HashMap<(i64, i64, i64), Arrival>,
    lateness: HashMap<(i64, i64, u32), i64>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    incoming: i64,
    messages: i64,
    /// Messages that were sent, delivered, read and played; each step includes the later ones.
    steps: [i64; 4],
    failed: i64,
    deleted: i64,
}

impl FigureChanges {
    /// Adds a message to the figures (`sign` 1), or subtracts its earlier state (`sign` -1).
    pub(super) fn count(&mut self, row: &StoredMessage, slice: i64, class: Option<i64>, sign: i64) {
        let at = hour_of(row.first_at);
        let counts = self.counts.entry((at, slice)).or_default();
        if row.incoming {
            counts.incoming += sign;
            return;
        }
        counts.messages += sign;
        for (count, step) in counts.steps.iter_mut().zip(&MessageStep::ALL[1..]) {
            *count += if row.merged.reached >= *step { sign } else { 0 };
        }
        counts.failed += if row.is_failure() { sign } else { 0 };
        counts.deleted += if row.merged.deleted { sign } else { 0 };
        if let Some(class) = class {
            *self.failures.entry((at, slice, class)).or_default() += sign;
        }
        for (measure, time) in [(Measure::ToDeliver, row.delivered_at), (Measure::ToRead, row.read_at)] {
            if let Some(ms) = row.ms_after_sent(time) {
                *self.spreads.entry((at, slice, measure, bucket_of(ms))).or_default() += sign;
            }
        }
    }

    /// Adds received events to the figures.
    pub(super) fn count_arrival(&mut self, at: i64, source: i64, name: i64, arrival: Arrival) {
        let sum = self.arrivals.entry((at, source, name)).or_default();
        sum.events += arrival.events;
        sum.disordered += arrival.disordered;
        sum.repeated += arrival.repeated;
    }

    /// Counts an event that was received `ms` milliseconds after BIK created it.
    pub(super) fn count_lateness(&mut self, at: i64, source: i64, ms: i64) {
        *self.lateness.entry((at, source, bucket_of(ms))).or_default() += 1;
    }

    /// Adds the changes to the file, except for the hours up to `after`.
    pub(super) fn write(self, connection: &Connection, after: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO figure (at, slice, incoming, messages, sent, delivered, read, played, failed, deleted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (at, slice) DO UPDATE SET
               incoming = incoming + excluded.incoming, messages = messages + excluded.messages,
               sent = sent + excluded.sent, delivered = delivered + excluded.delivered, read = read + excluded.read,
               played = played + excluded.played, failed = failed + excluded.failed,
               deleted = deleted + excluded.deleted",
        )?;
        for ((at, slice), counts) in self.counts.into_iter().filter(|((at, _), _)| *at > after) {
            let Counts { incoming, messages, steps: [sent, delivered, read, played], failed, deleted } =
                counts;
            statement
                .execute([at, slice, incoming, messages, sent, delivered, read, played, failed, deleted])?;
        }
        let mut statement = connection.prepare_cached(
            "INSERT INTO failure (at, slice, class, messages) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (at, slice, class) DO UPDATE SET messages = messages + excluded.messages",
        )?;
        for ((at, slice, class), messages) in self.failures.into_iter().filter(|((at, ..), _)| *at > after) {
            statement.execute([at, slice, class, messages])?;
        }
        let mut statement = connection.prepare_cached(
            "INSERT INTO spread (at, slice, measure, bucket, messages) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (at, slice, measure, bucket) DO UPDATE SET messages = messages + excluded.messages",
        )?;
        for ((at, slice, measure, bucket), messages) in self.spreads {
            if at > after && messages != 0 {
                statement.execute(params![at, slice, measure as i64, bucket, messages])?;
            }
        }
        let mut statement = connection.prepare_cached(
            "INSERT INTO arrival (at, source, name, events, disordered, repeated) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (at, source, name) DO UPDATE SET events = events + excluded.events,
               disordered = disordered + excluded.disordered, repeated = repeated + excluded.repeated",
        )?;
        for ((at, source, name), arrival) in self.arrivals.into_iter().filter(|((at, ..), _)| *at > after) {
            statement.execute([at, source, name, arrival.events, arrival.disordered, arrival.repeated])?;
        }
        let mut statement = connection.prepare_cached(
            "INSERT INTO lateness (at, source, bucket, events) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (at, source, bucket) DO UPDATE SET events = events + excluded.events",
        )?;
        for ((at, source, bucket), events) in self.lateness.into_iter().filter(|((at, ..), _)| *at > after) {
            statement.execute(params![at, source, bucket, events])?;
        }
        Ok(())
    }
}
