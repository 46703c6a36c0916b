//! The changes that a batch makes to the figures: collected in memory, then written with one statement per row.

use std::collections::HashMap;

use rusqlite::{Connection, params_from_iter};

use super::{
    super::{hour::hour_of, spread::bucket_of, state::MessageStep},
    message::StoredMessage,
};

/// A table of figures: its name, key columns besides the time `at`, and columns that are summed.
pub(super) type FigureTable = (&'static str, &'static str, &'static [&'static str]);

/// The tables of figures.
pub(super) const TABLES: [FigureTable; 5] = [
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

/// Returns SQL that sums rows by `at` and `groups`, and adds the sums to the rows of a table. `from` is the part of the
/// SELECT after FROM.
pub(super) fn add_sums_sql((table, keys, sums): FigureTable, at: &str, groups: &str, from: &str) -> String {
    let columns = sums.join(", ");
    let summed = sums.iter().map(|sum| format!("sum({sum})")).collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO {table} (at, {keys}, {columns}) SELECT {at}, {groups}, {summed} FROM {from} GROUP BY 1, {groups} {}",
        add_sql(keys, sums)
    )
}

/// Returns the end of an INSERT. If the row of `at` and `keys` already exists, the sums are added to that row.
fn add_sql(keys: &str, sums: &[&str]) -> String {
    let added =
        sums.iter().map(|sum| format!("{sum} = {sum} + excluded.{sum}")).collect::<Vec<_>>().join(", ");
    format!("ON CONFLICT (at, {keys}) DO UPDATE SET {added}")
}

/// Adds rows to a table, except for the hours up to `after`. A row has the hour, the keys and the sums.
fn add_rows<const COLUMNS: usize>(
    connection: &Connection,
    (table, keys, sums): FigureTable,
    after: i64,
    rows: impl Iterator<Item = [i64; COLUMNS]>,
) -> rusqlite::Result<()> {
    let columns = sums.join(", ");
    let places = (1..=COLUMNS).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ");
    let added = add_sql(keys, sums);
    let mut statement = connection
        .prepare_cached(&format!("INSERT INTO {table} (at, {keys}, {columns}) VALUES ({places}) {added}"))?;
    for row in rows.filter(|row| row[0] > after) {
        statement.execute(params_from_iter(row))?;
    }
    Ok(())
}

/// A duration that is measured for messages: from `sent` to `delivered`, or from `sent` to `read`. The numbers are the
/// values of the column `spread.measure`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    ToDeliver = 0,
    ToRead = 1,
}

/// Counts of received events of one hour, source and event name.
#[derive(Clone, Copy, Default)]
pub(super) struct Arrival {
    pub events: i64,
    pub disordered: i64,
    pub repeated: i64,
}

/// Changes of figures, by the hour and the key columns of their table.
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
    /// Number of messages per step: sent, delivered, read, played. A message counts for each step up to its highest.
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

    /// Counts the first event of a message. The event was received `ms` milliseconds after BIK created the message.
    pub(super) fn count_lateness(&mut self, at: i64, source: i64, ms: i64) {
        *self.lateness.entry((at, source, bucket_of(ms))).or_default() += 1;
    }

    /// Adds the changes to insight's file, except for the hours up to `after`.
    pub(super) fn write(self, connection: &Connection, after: i64) -> rusqlite::Result<()> {
        let [figure, failure, spread, arrival, lateness] = TABLES;
        let counts = self.counts.into_iter().map(|((at, slice), counts)| {
            let Counts { incoming, messages, steps: [sent, delivered, read, played], failed, deleted } =
                counts;
            [at, slice, incoming, messages, sent, delivered, read, played, failed, deleted]
        });
        add_rows(connection, figure, after, counts)?;
        let failures = self.failures.into_iter();
        let failures = failures.map(|((at, slice, class), messages)| [at, slice, class, messages]);
        add_rows(connection, failure, after, failures)?;
        let spreads = self.spreads.into_iter().filter(|(_, messages)| *messages != 0);
        let spreads = spreads.map(|((at, slice, measure, bucket), messages)| {
            [at, slice, measure as i64, bucket.into(), messages]
        });
        add_rows(connection, spread, after, spreads)?;
        let arrivals = self.arrivals.into_iter().map(|((at, source, name), counts)| {
            [at, source, name, counts.events, counts.disordered, counts.repeated]
        });
        add_rows(connection, arrival, after, arrivals)?;
        let late = self.lateness.into_iter();
        let late = late.map(|((at, source, bucket), events)| [at, source, bucket.into(), events]);
        add_rows(connection, lateness, after, late)
    }
}
