//! Figures about the events that BIK sent: how many, in what order, how late, and when the last one came.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        hour::{HOUR_MS, begin_of, hour_of},
        spread::Spread,
    },
    figures::Percentiles,
    words::WordLookup,
};
use crate::clock::Timestamp;

/// The events with one name that one source received in an hour or a day (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArrivalRow {
    /// When the hour or day began.
    pub at: Timestamp,
    /// The source that received the events.
    pub source: Arc<str>,
    pub event_name: Arc<str>,
    /// Number of events, without duplicates.
    pub events: i64,
    /// Number of statuses received after one that should follow them, such as `sent` after `read`.
    pub disordered: i64,
    /// Number of statuses `sent`, `delivered`, `read` or `failed` that their message already had.
    pub repeated: i64,
}

/// A source: its events since a given time, their delay, and its last event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRow {
    pub source: Arc<str>,
    /// When the last event was received.
    pub last_at: Timestamp,
    pub last_seq: u64,
    /// Number of events since the requested time.
    pub events: i64,
    /// Number of statuses received after one that should follow them, such as `sent` after `read`.
    pub disordered: i64,
    /// Number of statuses `sent`, `delivered`, `read` or `failed` that their message already had.
    pub repeated: i64,
    /// The delay from BIK's `createdAt` to receipt, of the first event of each message.
    pub late: Percentiles,
}

/// Returns how many events were received per hour or per day, oldest first.
///
/// # Errors
/// Returns SQLite errors.
pub fn arrivals(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
    by_day: bool,
) -> rusqlite::Result<Vec<ArrivalRow>> {
    let words = WordLookup::new(connection);
    let at = if by_day { "at / 24 * 24" } else { "at" };
    connection
        .prepare_cached(&format!(
            "SELECT {at}, source, name, sum(events), sum(disordered), sum(repeated) FROM arrival
             WHERE at >= ?1 AND at < ?2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ))?
        .query_map([hour_of(since), hour_of(until.plus_ms(HOUR_MS - 1))], |row| {
            Ok(ArrivalRow {
                at: begin_of(row.get(0)?),
                source: words.text(row.get(1)?)?,
                event_name: words.text(row.get(2)?)?,
                events: row.get(3)?,
                disordered: row.get(4)?,
                repeated: row.get(5)?,
            })
        })?
        .collect()
}

/// Returns every source that has ever received an event, with its figures since the hour of `since`; sorted by name.
///
/// # Errors
/// Returns SQLite errors.
pub fn sources(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<SourceRow>> {
    let words = WordLookup::new(connection);
    let mut spreads: BTreeMap<i64, Spread> = BTreeMap::new();
    let mut select = connection.prepare_cached(
        "SELECT source, bucket, sum(events) FROM lateness WHERE at >= ?1 GROUP BY source, bucket",
    )?;
    let mut rows = select.query([hour_of(since)])?;
    while let Some(row) = rows.next()? {
        spreads.entry(row.get(0)?).or_default().add(row.get(1)?, row.get(2)?);
    }
    let mut all: Vec<SourceRow> = connection
        .prepare_cached(
            "SELECT heard.source, heard.at, heard.seq, coalesce(sum(events), 0), coalesce(sum(disordered), 0),
               coalesce(sum(repeated), 0)
             FROM heard LEFT JOIN arrival ON arrival.source = heard.source AND arrival.at >= ?1 GROUP BY heard.source",
        )?
        .query_map(params![hour_of(since)], |row| {
            let source: i64 = row.get(0)?;
            Ok(SourceRow {
                source: words.text(source)?,
                last_at: Timestamp::from_ms(row.get(1)?),
                last_seq: row.get(2)?,
                events: row.get(3)?,
                disordered: row.get(4)?,
                repeated: row.get(5)?,
                late: spreads.get(&source).map(Percentiles::from).unwrap_or_default(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    all.sort_by(|one, other| one.source.cmp(&other.source));
    Ok(all)
}
