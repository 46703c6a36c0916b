//! Once a day, replaces unused words and slices, deletes failure texts that no message uses, and deletes scopes without
//! customers.
//!
//! A vocabulary has the words of one kind, such as the stores. A slice is a combination of words by which messages are
//! counted. A word or slice is unused if no message and no recent figure has it. In a vocabulary that is more than half
//! full, `other` takes the place of the unused words. If the table of slices is more than half full, `other` takes the
//! place of all words of the unused slices. Older figures of replaced words and slices are added to the figures of
//! their replacements.

use std::collections::HashSet;

use rusqlite::params;

use super::{
    super::{
        hour::{DAY_HOURS, hour_of},
        vocabulary::{OTHER, Vocabulary},
    },
    Ledger, execute,
    figures::{TABLES, add_sums_sql},
    words::{COLUMNS, MAX_SLICES},
};
use crate::clock::Timestamp;

impl Ledger {
    /// Deletes failure texts that no message uses, and scopes without customers. In a vocabulary that is more than half
    /// full, puts `other` in place of the unused words. If the table of slices is more than half full, puts `other` in
    /// place of all words of the unused slices. A word or slice is unused if no message and no figure since `before`
    /// has it. Does nothing if it already ran for the day of `before`.
    ///
    /// # Errors
    /// Returns SQLite errors; the failed transaction is rolled back.
    pub(super) fn fold_old_words(&mut self, before: Timestamp) -> rusqlite::Result<()> {
        let day = hour_of(before).div_euclid(DAY_HOURS);
        if self.folded_day == Some(day) {
            return Ok(());
        }
        self.transact(|ledger| {
            let sql = "DELETE FROM reason WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.reason = reason.id)";
            ledger.connection.execute(sql, [])?;
            let sql = "DELETE FROM scope WHERE id NOT IN (SELECT scope FROM contact)";
            ledger.connection.execute(sql, []).map(drop)
        })?;
        self.words.reasons.clear();
        // A new scope may get the id of a deleted one.
        self.forget_contact_ids();
        let crowded: Vec<Vocabulary> = Vocabulary::ALL
            .into_iter()
            .filter(|kind| kind.bound() != usize::MAX && self.words.len(*kind) > kind.bound() / 2)
            .collect();
        if !crowded.is_empty() || self.words.slices.len() > MAX_SLICES / 2 {
            self.transact(|ledger| ledger.fold_words(before, &crowded))?;
            self.reload()?;
        }
        self.folded_day = Some(day);
        Ok(())
    }

    fn fold_words(&mut self, before: Timestamp, crowded: &[Vocabulary]) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS folded (old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
             DELETE FROM folded;",
        )?;
        self.choose_slices(before, crowded)?;
        self.move_figures("slice")?;
        self.connection.execute("DELETE FROM slice WHERE id IN (SELECT old FROM folded)", [])?;
        self.connection.execute("DELETE FROM folded", [])?;
        if crowded.contains(&Vocabulary::EventName) {
            self.fold_event_names(before)?;
        }
        for (column, kind) in COLUMNS {
            let also = match kind {
                Vocabulary::Channel => "UNION SELECT channel FROM contact WHERE channel IS NOT NULL",
                _ => "",
            };
            let used = format!("SELECT {column} FROM slice WHERE {column} IS NOT NULL {also}");
            self.forget_words(kind, crowded, &used)?;
        }
        let used = "SELECT name FROM arrival UNION SELECT name FROM occurrence";
        self.forget_words(Vocabulary::EventName, crowded, used)?;
        self.forget_words(Vocabulary::Status, crowded, "SELECT DISTINCT status FROM sighting")?;
        self.connection
            .execute("DELETE FROM word WHERE id NOT IN (SELECT word FROM vocabulary)", [])
            .map(drop)
    }

    /// Chooses the slices to replace. Writes the ids of each one and of its replacement to the table `folded`.
    fn choose_slices(&mut self, before: Timestamp, crowded: &[Vocabulary]) -> rusqlite::Result<()> {
        let live: HashSet<i64> = self
            .connection
            .prepare("SELECT slice FROM figure WHERE at >= ?1 UNION SELECT slice FROM message")?
            .query_map([hour_of(before)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let all = self.words.by_id.clone();
        let mut live_words: [HashSet<i64>; COLUMNS.len()] = Default::default();
        for (_, slice) in all.iter().filter(|(id, _)| live.contains(*id)) {
            for (words, word) in live_words.iter_mut().zip(slice.words) {
                words.extend(word);
            }
        }
        let too_many = all.len() > MAX_SLICES / 2;
        for (id, slice) in all.into_iter().filter(|(id, _)| !live.contains(id)) {
            let mut new = slice;
            for ((word, live), (_, kind)) in new.words.iter_mut().zip(&live_words).zip(COLUMNS) {
                let is_old = word.is_some_and(|word| !live.contains(&word));
                if too_many || (is_old && crowded.contains(&kind)) {
                    *word = Some(self.words.id(&self.connection, kind, OTHER)?);
                }
            }
            if new != slice {
                let new = self.words.slice(&self.connection, new)?;
                execute(&self.connection, "INSERT INTO folded (old, new) VALUES (?1, ?2)", [id, new])?;
            }
        }
        Ok(())
    }

    /// Puts `other` in place of event names that no arrival since `before` has.
    fn fold_event_names(&mut self, before: Timestamp) -> rusqlite::Result<()> {
        let other = self.words.id(&self.connection, Vocabulary::EventName, OTHER)?;
        self.connection.execute(
            "INSERT INTO folded (old, new) SELECT DISTINCT name, ?2 FROM arrival
             WHERE name <> ?2 AND name NOT IN (SELECT name FROM arrival WHERE at >= ?1)",
            params![hour_of(before), other],
        )?;
        self.move_figures("name")?;
        self.connection.execute("DELETE FROM folded", []).map(drop)
    }

    /// For each pair in the table `folded`, moves the figures of the old id to the new id, in each table of figures
    /// that has `column` in its key.
    fn move_figures(&self, column: &str) -> rusqlite::Result<()> {
        for figures in TABLES {
            let (table, keys, _) = figures;
            if !keys.split(", ").any(|key| key == column) {
                continue;
            }
            let from = format!("{table} JOIN folded ON folded.old = {table}.{column} WHERE 1");
            let sql = add_sums_sql(figures, "at", &keys.replace(column, "new"), &from);
            self.connection.execute(&sql, [])?;
            let sql = format!("DELETE FROM {table} WHERE {column} IN (SELECT old FROM folded)");
            self.connection.execute(&sql, [])?;
        }
        Ok(())
    }

    fn forget_words(&self, kind: Vocabulary, crowded: &[Vocabulary], used: &str) -> rusqlite::Result<()> {
        if !crowded.contains(&kind) {
            return Ok(());
        }
        let sql = format!("DELETE FROM vocabulary WHERE kind = ?1 AND word NOT IN ({used})");
        self.connection.execute(&sql, [kind as i64]).map(drop)
    }
}
