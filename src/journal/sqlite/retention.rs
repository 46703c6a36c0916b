//! Deletes expired rows: events past their age that every handler has passed, keys outside the deduplication window
//! or over its limit, old settles, dead letters and quarantine entries. It deletes one slice at a time, between two
//! groups.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    directory::Directory,
    eras::Eras,
    group::{ENTRY, entry},
    lanes::{Lanes, mark_settled},
    settings::Settings,
    shared::SharedState,
};
use crate::{
    clock::{Clock, Timestamp},
    event::Key,
    settings::Period,
};

/// Maximum number of rows deleted per slice and table.
const SLICE: u64 = 1_000;
/// Maximum number of key runs deleted per slice.
const RUNS: u64 = 256;
/// Maximum number of keys that one group evicts beyond the number that it adds.
const KEYS_AT_ONCE: u64 = 32_768;
const SETTLES_KEPT: Period = Period::days(7);
/// Interval between checks while there is nothing to delete.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between purges of dead letters, quarantine and old settles.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Keys that one transaction evicted from the deduplication window.
#[derive(Default)]
pub(super) struct EvictedKeys {
    keys: Vec<(Key, u64)>,
    /// When the oldest remaining run was stored, converted to the current era. The outer `None` means unchanged.
    oldest: Option<Option<Timestamp>>,
    runs: u64,
    bound: bool,
}

/// Progress of the deletion, and when it last ran.
pub(super) struct Retention {
    /// The lowest seq that may still be stored.
    low: u64,
    idle_since: Option<Instant>,
    swept_at: Option<Instant>,
    warned: bool,
}

impl Retention {
    /// Starts with a file whose lowest seq is `low`.
    pub(super) const fn new(low: u64) -> Self {
        Self { low, idle_since: None, swept_at: None, warned: false }
    }

    /// The lowest seq that may still be stored.
    pub(super) const fn low(&self) -> u64 {
        self.low
    }

    /// Evicts the oldest runs while there are more keys than `dedup_keys`. Part of the transaction of a group that
    /// adds `new` keys to `old` ones. If the limit was lowered, it takes several groups to get down to it.
    pub(super) fn make_room_for_keys(
        &self,
        connection: &Connection,
        eras: &Eras,
        old: u64,
        new: u64,
        settings: &Settings,
    ) -> rusqlite::Result<EvictedKeys> {
        let over = (old + new).saturating_sub(settings.dedup_keys).min(new + KEYS_AT_ONCE);
        if over == 0 {
            return Ok(EvictedKeys::default());
        }
        let mut evicted = evict(connection, eras, over, |_, evicted| evicted < over)?;
        evicted.bound = !evicted.keys.is_empty();
        Ok(evicted)
    }

    /// Removes the evicted keys from the directory, after the transaction is committed.
    pub(super) fn apply_eviction(
        &mut self,
        directory: &mut Directory,
        evicted: EvictedKeys,
        shared: &SharedState,
    ) {
        for (key, seq) in &evicted.keys {
            directory.remove(key, *seq);
        }
        if let Some(oldest) = evicted.oldest {
            shared.oldest_key_ms.store(oldest.map_or(i64::MAX, Timestamp::as_ms), Relaxed);
        }
        if evicted.bound && !self.warned {
            self.warned = true;
            tracing::warn!(
                keys = directory.len(),
                "deduplication window reached `dedup_keys`; the oldest keys are evicted early"
            );
        }
    }

    /// Notes that events were stored at this time.
    pub(super) fn note_stored(&self, came_at: Timestamp, shared: &SharedState) {
        shared.oldest_key_ms.fetch_min(came_at.as_ms(), Relaxed);
    }

    /// Deletes one slice in a transaction of its own. Does nothing before the next check is due.
    pub(super) fn slice(
        &mut self,
        connection: &Connection,
        lanes: &Lanes,
        (eras, clock): (&Eras, &Clock),
        tip: u64,
        received_at: Timestamp,
        settings: &Settings,
    ) -> rusqlite::Result<EvictedKeys> {
        if self.idle_since.is_some_and(|since| since.elapsed() < CHECK_INTERVAL) {
            return Ok(EvictedKeys::default());
        }
        let now = clock.deletion();
        let events_to = self.deletable(connection, lanes, eras, tip, now, settings)?;
        let keys_before = now.plus_ms(-settings.dedup_window.as_ms());
        let keys = oldest_run(connection, eras)?.is_some_and(|oldest| oldest < keys_before);
        let sweep = self.swept_at.is_none_or(|since| since.elapsed() >= SWEEP_INTERVAL);
        if events_to.is_none() && !keys && !sweep {
            self.idle_since = Some(Instant::now());
            return Ok(EvictedKeys::default());
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut evicted = EvictedKeys::default();
        if let Some(to) = events_to {
            connection.prepare_cached("DELETE FROM event WHERE seq <= ?1")?.execute([to])?;
        }
        if keys {
            evicted = evict(connection, eras, RUNS, |came_at, _| came_at < keys_before)?;
        }
        if events_to.is_some() || keys {
            // The highest seq and the latest time must survive the deletion of their rows.
            let mut mark = connection.prepare_cached(
                "INSERT INTO mark (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
            )?;
            mark.execute(params!["seq", tip])?;
            mark.execute(params!["received_at", received_at.as_ms()])?;
        }
        // A restart continues from here, so restarts cannot make deletion advance faster than 24 hours per hour.
        note(connection, "deletion", now)?;
        let mut more = false;
        if sweep {
            more = sweep_rows(connection, lanes, eras, now, settings)?;
        }
        connection.execute_batch("COMMIT")?;
        let full_slice = events_to.is_some_and(|to| to + 1 == self.low + SLICE) || evicted.runs == RUNS;
        if let Some(to) = events_to {
            self.low = to + 1;
        }
        if !full_slice && !more {
            // Wait for more rows: otherwise each group would cost a second commit to delete only a few.
            self.idle_since = Some(Instant::now());
        }
        if sweep && !more {
            self.swept_at = Some(Instant::now());
        }
        Ok(evicted)
    }

    /// The seq up to which this slice may delete: events up to it have expired, and no handler needs them.
    fn deletable(
        &self,
        connection: &Connection,
        lanes: &Lanes,
        eras: &Eras,
        tip: u64,
        now: Timestamp,
        settings: &Settings,
    ) -> rusqlite::Result<Option<u64>> {
        if !lanes.are_enrolled() {
            return Ok(None);
        }
        let needed_above = lanes.needed_above(connection)?.map_or(tip, |(above, _)| above);
        let to = needed_above.min(self.low + SLICE - 1).min(eras.last_of(self.low));
        if to < self.low {
            return Ok(None);
        }
        expired_to(connection, eras, self.low, to, now.plus_ms(-settings.retention.as_ms()))
    }

    /// The handler whose undelivered events are expired but cannot be deleted; `None` if there is none.
    pub(super) fn held_by(
        &self,
        connection: &Connection,
        lanes: &Lanes,
        eras: &Eras,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Arc<str>> {
        let find = || -> rusqlite::Result<Option<Arc<str>>> {
            let Some((above, handler)) = lanes.needed_above(connection)? else { return Ok(None) };
            let horizon = now.plus_ms(-settings.retention.as_ms());
            Ok(expired_to(connection, eras, above + 1, above + 1, horizon)?.map(|_| handler))
        };
        // An error is ignored, because only a message depends on it.
        find().unwrap_or_default()
    }
}

/// The seq in `low..=to` up to which every event was received before the horizon. The range must be in one era.
fn expired_to(
    connection: &Connection,
    eras: &Eras,
    low: u64,
    to: u64,
    horizon: Timestamp,
) -> rusqlite::Result<Option<u64>> {
    let horizon = eras.horizon(eras.of(low), horizon);
    connection
        .prepare_cached(
            "SELECT max(seq) FROM event WHERE seq BETWEEN ?1 AND coalesce(
               (SELECT seq - 1 FROM event WHERE seq BETWEEN ?1 AND ?2 AND received_at - behind >= ?3 ORDER BY seq LIMIT 1), ?2)",
        )?
        .query_row(params![low, to, horizon.as_ms()], |row| row.get(0))
}

/// When the oldest run was stored, converted to the current era.
pub(super) fn oldest_run(connection: &Connection, eras: &Eras) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT first, came_at FROM key_run ORDER BY first LIMIT 1")?
        .query_row([], |row| Ok(eras.aged(eras.of(row.get(0)?), Timestamp::from_ms(row.get(1)?))))
        .optional()
}

/// Stores a time that the next start reads.
pub(super) fn note(connection: &Connection, name: &str, time: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO mark (name, value) VALUES (?1, ?2)")?
        .execute(params![name, time.as_ms()])
        .map(drop)
}

/// Deletes the oldest runs, at most `max`, while `leaves(came_at, keys evicted so far)` is true.
fn evict(
    connection: &Connection,
    eras: &Eras,
    max: u64,
    leaves: impl Fn(Timestamp, u64) -> bool,
) -> rusqlite::Result<EvictedKeys> {
    let mut evicted = EvictedKeys::default();
    let mut last = None;
    {
        let mut runs = connection
            .prepare_cached("SELECT first, came_at, entries FROM key_run ORDER BY first LIMIT ?1")?;
        let mut rows = runs.query([max])?;
        while let Some(row) = rows.next()? {
            let first: u64 = row.get(0)?;
            let came_at = eras.aged(eras.of(first), Timestamp::from_ms(row.get(1)?));
            if !leaves(came_at, evicted.keys.len() as u64) {
                break;
            }
            let entries = row.get_ref(2)?.as_blob()?;
            for index in 0..entries.len() / ENTRY {
                if let Some((key, _)) = entry(entries, index) {
                    evicted.keys.push((key, first + index as u64));
                }
            }
            last = Some(first);
            evicted.runs += 1;
        }
    }
    if let Some(last) = last {
        connection.prepare_cached("DELETE FROM key_run WHERE first <= ?1")?.execute([last])?;
        evicted.oldest = Some(oldest_run(connection, eras)?);
    }
    Ok(evicted)
}

/// Deletes old settles, dead letters and quarantine entries. Returns whether there may be more.
fn sweep_rows(
    connection: &Connection,
    lanes: &Lanes,
    eras: &Eras,
    now: Timestamp,
    settings: &Settings,
) -> rusqlite::Result<bool> {
    // Dead letters that are marked for retry stay, unless their handler is not configured: nobody will retry those.
    let not_configured = lanes.not_configured();
    let old = format!(
        "(SELECT id FROM dead WHERE died_at < (SELECT at FROM horizon WHERE era = dead.era)
            AND died_at < (SELECT max(at) FROM horizon) AND (retrying = 0 OR lane IN ({not_configured}))
          ORDER BY died_at LIMIT ?1)"
    );
    let settled = mark_settled(&old);
    let dead = format!("DELETE FROM dead WHERE id IN {old}");
    let mut more = false;
    for (sql, kept) in [
        (
            // Each lane also keeps the last row before those that are kept by age, because it shows where the first
            // of them began. Every sweep examines these rows in vain, so the LIMIT allows for one per lane.
            "DELETE FROM settle WHERE at < (SELECT at FROM horizon WHERE era = settle.era)
               AND (SELECT next.at < (SELECT at FROM horizon WHERE era = next.era)
                    FROM settle AS next WHERE next.lane = settle.lane
                      AND next.upto >= settle.upto AND next.id > settle.id
                    ORDER BY next.upto, next.id LIMIT 1)
               AND id IN (SELECT id FROM settle ORDER BY id LIMIT ?1 + (SELECT count(*) FROM lane))",
            SETTLES_KEPT,
        ),
        (&settled, settings.dead_letter_retention),
        (&dead, settings.dead_letter_retention),
        (
            "DELETE FROM quarantine WHERE id IN
               (SELECT id FROM quarantine WHERE last_at < (SELECT at FROM horizon WHERE era = quarantine.era)
                  AND last_at < (SELECT max(at) FROM horizon) ORDER BY last_at LIMIT ?1)",
            settings.quarantine_retention,
        ),
    ] {
        let horizons = eras.horizons(now.plus_ms(-kept.as_ms()));
        more |= connection.execute(&format!("{horizons} {sql}"), [SLICE])? as u64 >= SLICE;
    }
    Ok(more)
}
