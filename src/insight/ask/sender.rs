//! What the sender sent: how much, in what order, how late, and when last.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};
use serde::Serialize;

use super::{
    super::{
        hour::{HOUR_MS, begin_of, hour_of},
        spread::Spread,
    },
    figures::Took,
    words::Words,
};
use crate::clock::Timestamp;

/// What came in an hour or a day (UTC), by source and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrivalRow {
    /// When it began.
    pub at: Timestamp,
    /// By which source.
    pub source: Arc<str>,
    /// The name of the event.
    pub event_name: Arc<str>,
    /// Events, each once.
    pub events: i64,
    /// Statuses among them that came after a later step of their message.
    pub disordered: i64,
    /// Statuses among them that their message had already.
    pub repeated: i64,
}

/// A source: what came by it since a time, how late, and how long it has been silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRow {
    /// Its name.
    pub source: Arc<str>,
    /// When something came last.
    pub last_at: Timestamp,
    /// Its last event.
    pub last_seq: u64,
    /// Events since the time that was asked for.
    pub events: i64,
    /// Statuses among them that came after a later step of their message.
    pub disordered: i64,
    /// Statuses among them that their message had already.
    pub repeated: i64,
    /// From BIK's `createdAt` to our receipt, of messages that were first heard of.
    pub late: Took,
}

/// What came, oldest first: by the hour, or by the day.
///
/// # Errors
/// Whatever SQLite says.
pub fn arrivals(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
    by_day: bool,
) -> rusqlite::Result<Vec<ArrivalRow>> {
    let words = Words::new(connection);
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

/// Every source that something ever came by, by name.
///
/// # Errors
/// Whatever SQLite says.
pub fn sources(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<SourceRow>> {
    let words = Words::new(connection);
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
                late: spreads.get(&source).map(Took::from).unwrap_or_default(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    all.sort_by(|one, other| one.source.cmp(&other.source));
    Ok(all)
}
