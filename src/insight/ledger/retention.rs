//! Deletes messages, customers, and events without a message, once they are older than the retention. The figures stay,
//! and are then summed per day.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rusqlite::params;

use super::{
    super::contact_key::ContactKey,
    super::hour::{DAY_HOURS, hour_of},
    Ledger, execute,
    figures::{TABLES, add_sums_sql},
};
use crate::{clock::Timestamp, settings::Period};

/// Maximum number of messages, of customers, and of events without a message that are deleted in one transaction.
const PURGE_ROWS: usize = 2_000;

/// Sets the role of questions to silent before the message that answers them is deleted. A question that was received
/// after its answer is kept for longer than the answer. Without this change, the customer would wait again.
const ANSWERED: &str = "
    UPDATE message SET role = 3 WHERE role = 2
      AND contact = (SELECT contact FROM message WHERE id = ?1 AND role = 1)
      AND said_at <= (SELECT said_at FROM message WHERE id = ?1 AND role = 1)";

impl Ledger {
    /// Deletes a part of the data that is older than `retention`. Returns whether more such data may be left. If none
    /// is left, also sums old figures per day, and replaces unused words (`fold_old_words`).
    ///
    /// The age of data is computed from a stored time, the mark `deletion`, instead of `now`. The mark follows `now`,
    /// but moves by at most a day per hour. So a clock that jumps ahead does not delete all data at once.
    ///
    /// # Errors
    /// Returns SQLite errors.
    pub fn purge(&mut self, now: Timestamp, retention: Period) -> rusqlite::Result<bool> {
        let mut more = false;
        let now = self.catch_up(now)?;
        let before = now.plus_ms(-retention.as_ms());
        self.transact(|ledger| {
            ledger.set_mark("deletion", now.as_ms())?;
            let limit = i64::try_from(PURGE_ROWS).unwrap_or(i64::MAX);
            let ms = before.as_ms();
            // The messages are sorted by the time at which they were first seen, so the query ends at the first one
            // that is new enough.
            let old: Vec<(i64, Option<i64>)> = ledger
                .connection
                .prepare_cached(
                    "SELECT id, iif(role IS NULL, NULL, contact) FROM message WHERE first_at < ?1
                     ORDER BY first_at LIMIT ?2",
                )?
                .query_map([ms, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            for (id, _) in &old {
                execute(&ledger.connection, ANSWERED, [id])?;
                execute(&ledger.connection, "DELETE FROM sighting WHERE message = ?1", [id])?;
                execute(&ledger.connection, "DELETE FROM message WHERE id = ?1", [id])?;
            }
            let sql = "DELETE FROM occurrence WHERE seq IN (SELECT seq FROM occurrence ORDER BY seq LIMIT ?2) AND at < ?1";
            let occurrences = execute(&ledger.connection, sql, [ms, limit])?;
            more = old.len() == PURGE_ROWS || occurrences == PURGE_ROWS;
            if !more {
                // Old customers are deleted last, when no message and no row of `occurrence` refers to them.
                more = ledger.purge_contacts(ms, limit)? == PURGE_ROWS;
            }
            let changed: HashSet<i64> = old.into_iter().filter_map(|(_, contact)| contact).collect();
            changed.into_iter().try_for_each(|id| ledger.derive_contact(id))
        })?;
        if !more {
            self.sum_by_day(before)?;
            self.fold_old_words(before)?;
        }
        Ok(more)
    }

    /// Deletes customers without an event since `before`, with their keys and public ids. Returns how many.
    fn purge_contacts(&mut self, before: i64, limit: i64) -> rusqlite::Result<usize> {
        let old: Vec<(i64, i64, String)> = self
            .connection
            .prepare_cached(
                "SELECT id, scope, keys FROM (SELECT id, scope, keys, last_at FROM contact ORDER BY last_seq LIMIT ?2)
                 WHERE last_at < ?1",
            )?
            .query_map([before, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (id, scope, keys) in &old {
            for key in ContactKey::list(keys) {
                let sql = "DELETE FROM contact_key WHERE kind = ?1 AND text = ?2 AND scope = ?3";
                execute(&self.connection, sql, params![key.kind as i64, key.indexed(), scope])?;
            }
            execute(&self.connection, "DELETE FROM merged_contact WHERE contact = ?1", [id])?;
            execute(&self.connection, "DELETE FROM contact WHERE id = ?1", [id])?;
        }
        if !old.is_empty() {
            self.forget_contact_ids();
        }
        Ok(old.len())
    }

    /// Returns the time that counts as now for deletions.
    fn catch_up(&mut self, now: Timestamp) -> rusqlite::Result<Timestamp> {
        let last = self.mark("deletion")?.map_or(now, Timestamp::from_ms);
        let passed = self.caught_up.map_or(Duration::ZERO, |at| at.elapsed());
        self.caught_up = Some(Instant::now());
        let allowed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX).saturating_mul(DAY_HOURS);
        Ok(now.min(last.plus_ms(allowed)))
    }

    /// Sums figures per day, for whole days whose messages are all deleted, because the figures of such days no longer
    /// change.
    fn sum_by_day(&mut self, before: Timestamp) -> rusqlite::Result<()> {
        let first: Option<i64> =
            self.connection.query_row("SELECT min(first_at) FROM message", [], |row| row.get(0))?;
        let kept = first.map_or(before, |first| before.min(Timestamp::from_ms(first)));
        let day = hour_of(kept).div_euclid(DAY_HOURS) * DAY_HOURS;
        let done = self.mark("by_the_day")?.unwrap_or(i64::MIN);
        if day <= done {
            return Ok(());
        }
        self.transact(|ledger| {
            for figures in TABLES {
                let (table, keys, _) = figures;
                let old = format!("at >= ?2 AND at < ?1 AND at % {DAY_HOURS} <> 0");
                let at = format!("at / {DAY_HOURS} * {DAY_HOURS}");
                let from = format!("{table} WHERE {old}");
                ledger.connection.execute(&add_sums_sql(figures, &at, keys, &from), [day, done])?;
                ledger.connection.execute(&format!("DELETE FROM {table} WHERE {old}"), [day, done])?;
            }
            ledger.set_mark("by_the_day", day)
        })
    }
}
