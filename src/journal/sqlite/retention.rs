//! Deletes expired rows: old events that no configured handler still needs, keys outside the deduplication window, dead
//! letters, quarantine entries, and old rows of the cursor history (table `settle`). One slice is deleted at a time, in
//! a separate transaction between two groups (a group is the batches of one commit). Keys over the limit of the window
//! are deleted in the transaction of the group that exceeds the limit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{OptionalExtension, params};

use super::{
    group::keys_of_run,
    lanes::{mark_settled, record_deleted},
    writer::JournalWriter,
};
use crate::{clock::Timestamp, event::Key, journal::OmissionCause, settings::Period};

/// Maximum number of rows deleted per slice and table.
const SLICE: u64 = 1_000;
/// Maximum number of key runs (rows of the table `key_run`) deleted per slice.
const RUNS: u64 = 256;
/// A group evicts no further key run once it has evicted this many keys more than it adds.
const KEYS_AT_ONCE: u64 = 32_768;
const SETTLES_KEPT: Period = Period::days(7);
/// Interval between checks while less than a slice can be deleted.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between deletions of expired dead letters, quarantine entries and rows of the cursor history.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Keys that one transaction evicted from the deduplication window.
#[derive(Default)]
pub(super) struct EvictedKeys {
    keys: Vec<(Key, u64)>,
    /// When the oldest remaining key run was stored, converted to the current clock era (module `eras`). The outer
    /// `None` means unchanged.
    oldest: Option<Option<Timestamp>>,
    runs: u64,
    bound: bool,
}

/// Progress of the deletion, and when it last ran.
pub(super) struct Retention {
    /// No event below this seq is stored.
    pub low: u64,
    idle_since: Option<Instant>,
    swept_at: Option<Instant>,
    warned: bool,
}

impl Retention {
    /// Starts with a file whose lowest seq is `low`.
    pub(super) const fn new(low: u64) -> Self {
        Self { low, idle_since: None, swept_at: None, warned: false }
    }
}

impl JournalWriter {
    /// Evicts the oldest key runs while there are more keys than `dedup_keys`. Must be called in the transaction of a
    /// group that adds `new` keys to those of the directory. If the limit was lowered, several groups are needed to
    /// reach it.
    pub(super) fn make_room_for_keys(&self, new: u64) -> rusqlite::Result<EvictedKeys> {
        let keys = self.directory.len() + new;
        let over = keys.saturating_sub(self.settings.dedup_keys).min(new + KEYS_AT_ONCE);
        if over == 0 {
            return Ok(EvictedKeys::default());
        }
        let mut evicted = self.evict(over, |_, evicted| evicted < over)?;
        evicted.bound = !evicted.keys.is_empty();
        Ok(evicted)
    }

    /// Removes the evicted keys from the directory, after the transaction is committed.
    pub(super) fn apply_eviction(&mut self, evicted: EvictedKeys) {
        for (key, seq) in &evicted.keys {
            self.directory.remove(key, *seq);
        }
        if let Some(oldest) = evicted.oldest {
            self.shared.note_oldest_key(oldest);
        }
        if evicted.bound && !self.retention.warned {
            self.retention.warned = true;
            tracing::warn!(
                keys = self.directory.len(),
                "deduplication window reached `dedup_keys`; the oldest keys are evicted early"
            );
        }
    }

    /// Deletes one slice in a separate transaction. Does nothing before the next check is due.
    pub(super) fn delete_slice(&mut self) -> rusqlite::Result<EvictedKeys> {
        if self.retention.idle_since.is_some_and(|since| since.elapsed() < CHECK_INTERVAL) {
            return Ok(EvictedKeys::default());
        }
        let now = self.clock.deletion();
        let events_to = self.deletable(now)?;
        let keys_before = now.plus_ms(-self.settings.dedup_window.as_ms());
        let keys = self.oldest_run()?.is_some_and(|oldest| oldest < keys_before);
        let sweep = self.retention.swept_at.is_none_or(|since| since.elapsed() >= SWEEP_INTERVAL);
        if events_to.is_none() && !keys && !sweep {
            self.retention.idle_since = Some(Instant::now());
            return Ok(EvictedKeys::default());
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut evicted = EvictedKeys::default();
        if let Some(to) = events_to {
            self.connection.prepare_cached("DELETE FROM event WHERE seq <= ?1")?.execute([to])?;
        }
        if keys {
            evicted = self.evict(RUNS, |came_at, _| came_at < keys_before)?;
        }
        if events_to.is_some() || keys {
            // The highest seq and the latest time must survive the deletion of their rows.
            let mut mark = self.connection.prepare_cached(
                "INSERT INTO mark (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
            )?;
            mark.execute(params!["seq", self.tip])?;
            mark.execute(params!["received_at", self.received_at.as_ms()])?;
        }
        // `now` decides which rows have expired. It advances by at most 24 hours per hour, and the next start continues
        // from the noted value. Without that, restarts could make it advance faster.
        self.note("deletion", now)?;
        let more = sweep && self.sweep_rows(now)?;
        self.connection.execute_batch("COMMIT")?;
        let retention = &mut self.retention;
        let full_slice = events_to.is_some_and(|to| to + 1 == retention.low + SLICE) || evicted.runs == RUNS;
        if let Some(to) = events_to {
            retention.low = to + 1;
        }
        if !full_slice && !more {
            // Wait for more rows. Otherwise a second commit would follow each group and delete only a few rows.
            retention.idle_since = Some(Instant::now());
        }
        if sweep && !more {
            retention.swept_at = Some(Instant::now());
        }
        Ok(evicted)
    }

    /// The seq up to which this slice may delete: events up to it have expired, and no configured handler needs them.
    fn deletable(&self, now: Timestamp) -> rusqlite::Result<Option<u64>> {
        if !self.lanes.enrolled {
            return Ok(None);
        }
        let needed_above = self.lanes.needed_above(&self.connection)?.map_or(self.tip, |(above, _)| above);
        let low = self.retention.low;
        let to = needed_above.min(low + SLICE - 1).min(self.eras.last_of(low));
        if to < low { Ok(None) } else { self.expired_to(low, to, now) }
    }

    /// The handler whose undelivered events are expired but cannot be deleted; `None` if there is none.
    pub(super) fn held_by(&self) -> Option<Arc<str>> {
        let now = self.clock.deletion();
        let find = || -> rusqlite::Result<Option<Arc<str>>> {
            let Some((above, handler)) = self.lanes.needed_above(&self.connection)? else { return Ok(None) };
            Ok(self.expired_to(above + 1, above + 1, now)?.map(|_| handler))
        };
        // An error is ignored, because the result is only shown.
        find().unwrap_or_default()
    }

    /// The seq in `low..=to` up to which every event has expired. The range must be in one era.
    fn expired_to(&self, low: u64, to: u64, now: Timestamp) -> rusqlite::Result<Option<u64>> {
        let horizon = now.plus_ms(-self.settings.retention.as_ms());
        let horizon = self.eras.horizon(self.eras.of(low), horizon);
        self.connection
            .prepare_cached(
                "SELECT max(seq) FROM event WHERE seq BETWEEN ?1 AND coalesce(
                   (SELECT seq - 1 FROM event WHERE seq BETWEEN ?1 AND ?2 AND received_at - behind >= ?3 ORDER BY seq LIMIT 1), ?2)",
            )?
            .query_row(params![low, to, horizon.as_ms()], |row| row.get(0))
    }

    /// When the oldest run was stored, converted to the current era.
    pub(super) fn oldest_run(&self) -> rusqlite::Result<Option<Timestamp>> {
        self.connection
            .prepare_cached("SELECT first, came_at FROM key_run ORDER BY first LIMIT 1")?
            .query_row([], |row| {
                Ok(self.eras.aged(self.eras.of(row.get(0)?), Timestamp::from_ms(row.get(1)?)))
            })
            .optional()
    }

    /// Stores a time that the next start reads.
    pub(super) fn note(&self, name: &str, time: Timestamp) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO mark (name, value) VALUES (?1, ?2)")?
            .execute(params![name, time.as_ms()])
            .map(drop)
    }

    /// Deletes the oldest runs, at most `max`, while `leaves(came_at, keys evicted so far)` is true.
    fn evict(&self, max: u64, leaves: impl Fn(Timestamp, u64) -> bool) -> rusqlite::Result<EvictedKeys> {
        let mut evicted = EvictedKeys::default();
        let mut last = None;
        {
            let mut runs = self
                .connection
                .prepare_cached("SELECT first, came_at, entries FROM key_run ORDER BY first LIMIT ?1")?;
            let mut rows = runs.query([max])?;
            while let Some(row) = rows.next()? {
                let first: u64 = row.get(0)?;
                let came_at = self.eras.aged(self.eras.of(first), Timestamp::from_ms(row.get(1)?));
                if !leaves(came_at, evicted.keys.len() as u64) {
                    break;
                }
                evicted.keys.extend(keys_of_run(first, row.get_ref(2)?.as_blob()?));
                last = Some(first);
                evicted.runs += 1;
            }
        }
        if let Some(last) = last {
            self.connection.prepare_cached("DELETE FROM key_run WHERE first <= ?1")?.execute([last])?;
            evicted.oldest = Some(self.oldest_run()?);
        }
        Ok(evicted)
    }

    /// Deletes expired dead letters, quarantine entries and rows of the cursor history, and the omissions of deleted
    /// events. Returns whether there may be more to delete.
    fn sweep_rows(&self, now: Timestamp) -> rusqlite::Result<bool> {
        // A dead letter that is marked for retry is deleted only if its handler is not configured, because then no lane
        // retries it.
        let not_configured = self.lanes.not_configured();
        let old = format!(
            "(SELECT id FROM dead WHERE died_at < (SELECT at FROM horizon WHERE era = dead.era)
                AND died_at < (SELECT max(at) FROM horizon) AND (retrying = 0 OR lane IN ({not_configured}))
              ORDER BY died_at LIMIT ?1)"
        );
        let settled = mark_settled(&old);
        let [updated, expired] = record_deleted(&old, OmissionCause::Expired, &now.as_ms().to_string(), "''");
        let dead = format!("DELETE FROM dead WHERE id IN {old}");
        let mut more = false;
        for (sql, kept) in [
            (
                // A row stands for the seqs after the `upto` of the lane's previous row, up to its own `upto`. So the
                // last expired row of each lane is kept for the row after it. Every sweep selects these kept rows
                // again, so the LIMIT has one more row per lane.
                "DELETE FROM settle WHERE at < (SELECT at FROM horizon WHERE era = settle.era)
                   AND (SELECT next.at < (SELECT at FROM horizon WHERE era = next.era)
                        FROM settle AS next WHERE next.lane = settle.lane
                          AND next.upto >= settle.upto AND next.id > settle.id
                        ORDER BY next.upto, next.id LIMIT 1)
                   AND id IN (SELECT id FROM settle ORDER BY id LIMIT ?1 + (SELECT count(*) FROM lane))",
                SETTLES_KEPT,
            ),
            (&settled, self.settings.dead_letter_retention),
            (&updated, self.settings.dead_letter_retention),
            (&expired, self.settings.dead_letter_retention),
            (&dead, self.settings.dead_letter_retention),
            (
                "DELETE FROM quarantine WHERE id IN
                   (SELECT id FROM quarantine WHERE last_at < (SELECT at FROM horizon WHERE era = quarantine.era)
                      AND last_at < (SELECT max(at) FROM horizon) ORDER BY last_at LIMIT ?1)",
                self.settings.quarantine_retention,
            ),
        ] {
            let horizons = self.eras.horizons(now.plus_ms(-kept.as_ms()));
            more |= self.connection.execute(&format!("{horizons} {sql}"), [SLICE])? as u64 >= SLICE;
        }
        let omitted = "DELETE FROM omitted WHERE id IN (SELECT id FROM omitted WHERE last < ?1 LIMIT ?2)";
        more |= self.connection.execute(omitted, [self.retention.low, SLICE])? as u64 >= SLICE;
        Ok(more)
    }
}
