//! Changes stored data after an update or a change of the settings: moves the customers of format 2, and applies new
//! rules for answers.

use std::collections::HashSet;

use rusqlite::{Row, params};

use super::{
    Ledger,
    contacts::{ContactChange, ContactChanges, FirstSeen},
    execute,
};
use crate::{
    clock::Timestamp,
    event::Channel,
    insight::{contact_key::ContactKey, state::MessageState},
};

/// Number of customers of format 2 that are moved at a time.
const CHUNK: usize = 1_000;

/// A customer of format 2: one address on one channel, whatever the store.
struct OldContact {
    id: i64,
    channel: Option<i64>,
    channel_text: Option<String>,
    address: String,
    customer: Option<String>,
    name: Option<String>,
    store: Option<String>,
    last_seq: u64,
    last_at: Timestamp,
    /// The source of the customer's last message, or any source if there is no message.
    source: String,
}

impl OldContact {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            channel: row.get(1)?,
            channel_text: row.get(2)?,
            address: row.get(3)?,
            customer: row.get(4)?,
            name: row.get(5)?,
            store: row.get(6)?,
            last_seq: row.get(7)?,
            last_at: Timestamp::from_ms(row.get(8)?),
            source: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
        })
    }

    fn keys(&self) -> Vec<ContactKey> {
        let channel = self.channel_text.as_deref().map(Channel::from);
        let address = ContactKey::address(channel.as_ref(), &self.address);
        address.into_iter().chain(self.customer.as_deref().and_then(ContactKey::customer)).collect()
    }
}

impl Ledger {
    /// Moves the customers of format 2 to the table `contact`, with scopes and keys. The migration in SQL left them in
    /// `old_contact`. The scope of a customer is the store of its last event. If no store is known, the scope is the
    /// source of its last message.
    pub(super) fn migrate_contacts(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'old_contact'";
        if self.connection.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(());
        }
        let mut customers = 0;
        self.transact(|ledger| {
            let next = "SELECT coalesce(max(id), 0) + 1 FROM old_contact";
            ledger.next_contact = ledger.connection.query_row(next, [], |row| row.get(0))?;
            let mut after = 0;
            loop {
                let chunk = ledger.old_contacts(after)?;
                let Some(last) = chunk.last() else { break };
                after = last.id;
                customers += chunk.len();
                let mut changes = ContactChanges::default();
                for old in chunk {
                    ledger.migrate_contact(&mut changes, old)?;
                }
                ledger.write_contacts(changes)?;
            }
            ledger.set_roles()?;
            ledger.derive_all_contacts()?;
            ledger.connection.execute_batch("DROP TABLE old_contact")
        })?;
        tracing::info!(
            customers,
            "insight's customers were migrated: each is in the store of the last event until a rebuild"
        );
        Ok(())
    }

    fn old_contacts(&self, after: i64) -> rusqlite::Result<Vec<OldContact>> {
        self.connection
            .prepare_cached(
                "SELECT old.id, nullif(old.channel, 0), (SELECT text FROM word WHERE id = old.channel), old.address,
                   old.customer, old.name, (SELECT text FROM word WHERE id = old.store), old.last_seq, old.last_at,
                   (SELECT text FROM word WHERE id = coalesce(
                     (SELECT slice.source FROM message JOIN slice ON slice.id = message.slice
                      WHERE message.contact = old.id ORDER BY message.id DESC LIMIT 1),
                     (SELECT min(source) FROM heard)))
                 FROM old_contact AS old WHERE old.id > ?1 ORDER BY old.id LIMIT ?2",
            )?
            .query_map(params![after, CHUNK], OldContact::from_row)?
            .collect()
    }

    fn migrate_contact(&mut self, changes: &mut ContactChanges, old: OldContact) -> rusqlite::Result<()> {
        let keys = old.keys();
        let seen = FirstSeen { id: Some(old.id), seq: old.last_seq, at: old.last_at };
        let id = if keys.is_empty() {
            None
        } else {
            let scope = self.scope(&old.source, old.store.as_deref())?;
            Some(self.contact_of_keys(changes, &scope, &keys, seen)?)
        };
        if id != Some(old.id) {
            for table in ["message", "occurrence"] {
                let sql = format!("UPDATE {table} SET contact = ?1 WHERE contact = ?2");
                execute(&self.connection, &sql, params![id, old.id])?;
            }
        }
        if let Some(id) = id {
            let OldContact { last_seq, last_at, name, channel, .. } = old;
            changes.change(id, ContactChange { last_seq, last_at, name, channel });
        }
        Ok(())
    }

    /// Sets the roles of stored messages again if the rules for answers have changed.
    pub(super) fn apply_answer_rules(&mut self) -> rusqlite::Result<()> {
        let digest = self.answers.digest();
        if self.mark("answer_rules")? == Some(digest) {
            return Ok(());
        }
        self.transact(|ledger| {
            let changed = ledger.set_roles()?;
            if !changed.is_empty() {
                tracing::info!(
                    customers = changed.len(),
                    "rules for answers changed; waiting times follow them"
                );
            }
            changed.into_iter().try_for_each(|id| ledger.derive_contact(id))
        })
    }

    /// Applies the rules for answers to the stored messages that were sent to customers. Returns the contacts whose
    /// messages changed.
    fn set_roles(&mut self) -> rusqlite::Result<HashSet<i64>> {
        self.connection.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS answering_slice (id INTEGER PRIMARY KEY); DELETE FROM answering_slice;",
        )?;
        for (id, slice) in self.words.by_id.clone() {
            if self.owner_answers(slice)? {
                execute(&self.connection, "INSERT INTO answering_slice (id) VALUES (?1)", [id])?;
            }
        }
        let mut changed = HashSet::new();
        let failed = MessageState::Failed as i64;
        for sql in [
            "UPDATE message SET role = 1 WHERE incoming = 0 AND role IS NULL AND state <> ?1
               AND slice IN (SELECT id FROM answering_slice) RETURNING contact",
            "UPDATE message SET role = NULL WHERE role = 1
               AND (state = ?1 OR slice NOT IN (SELECT id FROM answering_slice)) RETURNING contact",
        ] {
            let mut update = self.connection.prepare(sql)?;
            let mut rows = update.query([failed])?;
            while let Some(row) = rows.next()? {
                changed.extend(row.get::<_, Option<i64>>(0)?);
            }
        }
        self.set_mark("answer_rules", self.answers.digest())?;
        Ok(changed)
    }
}
