//! Finds the customer of a fact, and merges customers that turn out to be one.
//!
//! A fact is what an event says about one message or one customer. The keys of a fact are the addresses and ids that
//! name its customer. Customers are told apart within a scope. A contact is the row of a customer in insight's file.
//! All keys of one fact are of one customer, and so are all keys in the facts of one message. If such keys belong to
//! several contacts, the younger contacts are merged into the oldest. So the contacts are the same for every order of
//! arrival, as long as no contact reaches [`KEYS_MAX`] keys. At that limit, the order of arrival decides which contacts
//! are merged.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{BatchChanges, Ledger, execute};
use crate::{
    clock::Timestamp,
    event::{Channel, Event, Fact, WORD_CHARS, excerpt},
    insight::{contact_key::ContactKey, vocabulary::Vocabulary},
};

/// Maximum number of keys of a customer. Without it, an id that a sender gives to everybody would merge all customers.
pub(super) const KEYS_MAX: usize = 64;
/// Maximum number of keys in memory, enough for the active customers. The keys take some 13 MB, because only their
/// digests are kept. At the limit all are dropped.
const CACHED_KEYS: usize = 400_000;
/// Maximum number of scopes in memory. At the limit all are dropped.
const CACHED_SCOPES: usize = 10_000;

/// Sets the columns of a contact that follow from its messages. A customer's message counts as answered even if the
/// answer has the same time.
const DERIVED: &str = "
    answered_at = (SELECT max(said_at) FROM message WHERE message.contact = contact.id AND role = 1),
    incoming_at = (SELECT max(at) FROM (
      SELECT max(said_at) AS at FROM message WHERE message.contact = contact.id AND role = 2
      UNION ALL SELECT max(said_at) FROM message WHERE message.contact = contact.id AND role = 3)),
    waits_since = (SELECT min(said_at) FROM message WHERE message.contact = contact.id AND role = 2
      AND said_at > coalesce(
        (SELECT max(said_at) FROM message WHERE message.contact = contact.id AND role = 1), -9223372036854775808))";
/// Sets the columns of a contact that follow from a [`ContactChange`].
const CHANGED: &str = "last_seq = max(last_seq, ?2), last_at = max(last_at, ?3), name = coalesce(?4, name),
    channel = coalesce(?5, channel)";

/// The digest of a scope and a key.
type KeyDigest = [u8; 16];

/// Ids in insight's file that were looked up. Cleared when customers or scopes are deleted from the file.
#[derive(Default)]
pub(super) struct ContactIds {
    /// Scopes, by their `ContactScope::name`.
    scopes: HashMap<Box<str>, i64>,
    /// Customers, by scope and key.
    contacts: HashMap<KeyDigest, i64>,
}

/// Where customers are told apart: within a store of a tenant, or within a source.
pub(super) struct ContactScope {
    pub id: i64,
    /// The scope as text, from which public ids are made. Unlike `id`, it is the same in every file.
    name: String,
}

/// The event that makes a customer known.
#[derive(Clone, Copy)]
pub(super) struct FirstSeen {
    /// The id that the customer gets if it is new; `None`: the next free id.
    pub id: Option<i64>,
    pub seq: u64,
    pub at: Timestamp,
}

/// The changes of a customer in a batch, apart from its messages.
#[derive(Default)]
pub(super) struct ContactChange {
    pub last_seq: u64,
    pub last_at: Timestamp,
    pub name: Option<String>,
    pub channel: Option<i64>,
}

impl ContactChange {
    fn merge(&mut self, other: Self) {
        let (newer, older) = if other.last_seq > self.last_seq {
            (other, std::mem::take(self))
        } else {
            (std::mem::take(self), other)
        };
        *self = Self {
            last_seq: newer.last_seq,
            last_at: newer.last_at.max(older.last_at),
            name: newer.name.or(older.name),
            channel: newer.channel.or(older.channel),
        };
    }
}

/// The changes of customers in a batch.
#[derive(Default)]
pub(super) struct ContactChanges {
    changes: HashMap<i64, ContactChange>,
    /// Merged contacts, each with the contact that it was merged into.
    merged: HashMap<i64, i64>,
    /// Contacts whose messages have changed.
    stale: HashSet<i64>,
}

impl ContactChanges {
    /// Returns the contact that a contact was merged into, or the contact itself.
    pub(super) fn resolve(&self, mut id: i64) -> i64 {
        while let Some(root) = self.merged.get(&id) {
            id = *root;
        }
        id
    }

    pub(super) fn change(&mut self, id: i64, change: ContactChange) {
        self.changes.entry(id).or_default().merge(change);
    }

    /// Notes that the derived columns of a contact must be computed again.
    pub(super) fn set_stale(&mut self, id: i64) {
        let id = self.resolve(id);
        self.stale.insert(id);
    }

    fn merge(&mut self, root: i64, other: i64) {
        self.merged.insert(other, root);
        if let Some(change) = self.changes.remove(&other) {
            self.change(root, change);
        }
        self.stale.remove(&other);
        self.stale.insert(root);
    }
}

impl Ledger {
    /// Returns the id of the customer of `fact`; `None` without keys. `keys` are the keys of the fact. A new customer
    /// is stored first.
    pub(super) fn contact(
        &mut self,
        changes: &mut BatchChanges,
        event: &Event,
        keys: &[ContactKey],
        fact: &Fact<'_>,
    ) -> rusqlite::Result<Option<i64>> {
        if keys.is_empty() {
            return Ok(None);
        }
        let scope = self.scope(&event.source, fact.store_id)?;
        let seen = FirstSeen { id: None, seq: event.seq, at: event.came_at };
        let id = self.contact_of_keys(&mut changes.contacts, &scope, keys, seen)?;
        let channel = self.word(Vocabulary::Channel, fact.channel.map(Channel::as_str))?;
        let name = fact.name().map(|name| excerpt(&name, WORD_CHARS).into_owned());
        let change = ContactChange { last_seq: event.seq, last_at: event.came_at, name, channel };
        changes.contacts.change(id, change);
        Ok(Some(id))
    }

    /// Returns the scope of events with this source and store. A new scope is stored first.
    pub(super) fn scope(&mut self, source: &str, store: Option<&str>) -> rusqlite::Result<ContactScope> {
        let tenant = self.tenants.get(source).map_or("", String::as_str);
        let (kind, text) = store.map_or((1, source), |store| (0, store));
        let text = excerpt(text, WORD_CHARS);
        let name = format!("{tenant}\n{kind}\n{text}");
        if let Some(id) = self.contacts.scopes.get(&*name) {
            return Ok(ContactScope { id: *id, name });
        }
        let sql = "INSERT INTO scope (tenant, kind, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        execute(&self.connection, sql, params![tenant, kind, text])?;
        let sql = "SELECT id FROM scope WHERE text = ?3 AND kind = ?2 AND tenant = ?1";
        let mut select = self.connection.prepare_cached(sql)?;
        let id = select.query_row(params![tenant, kind, text], |row| row.get(0))?;
        if self.contacts.scopes.len() >= CACHED_SCOPES {
            self.contacts.scopes.clear();
        }
        self.contacts.scopes.insert(name.clone().into(), id);
        Ok(ContactScope { id, name })
    }

    /// Returns the contact that has these keys. If no contact has any of them, a new one is stored first. Otherwise the
    /// contacts that have some of the keys are merged, and the result gets the new keys. If it would have more than
    /// [`KEYS_MAX`] keys, nothing is merged or added. Then only the first key decides; if that key is new, it gets a
    /// contact of its own.
    pub(super) fn contact_of_keys(
        &mut self,
        changes: &mut ContactChanges,
        scope: &ContactScope,
        keys: &[ContactKey],
        seen: FirstSeen,
    ) -> rusqlite::Result<i64> {
        let mut ids = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            match self.contact_of_key(scope.id, key)? {
                Some(id) => ids.push(id),
                None => missing.push(key.clone()),
            }
        }
        let first = ids.first().copied();
        ids.sort_unstable();
        ids.dedup();
        if let ([id], []) = (&*ids, &*missing) {
            return Ok(*id);
        }
        let Some((root, others)) = ids.split_first() else {
            return self.add_contact(scope, &missing, seen);
        };
        let mut count = missing.len();
        for id in &ids {
            count += self.keys_of(*id)?.len();
        }
        if count > KEYS_MAX {
            return match first.filter(|_| missing.first() != keys.first()) {
                Some(id) => Ok(id),
                None => self.add_contact(scope, &keys[..1], seen),
            };
        }
        for other in others {
            self.merge_contacts(changes, *root, *other)?;
        }
        self.add_keys(scope.id, *root, &missing)?;
        Ok(*root)
    }

    /// Returns the customer of a message whose facts name two contacts. Merges them if they are in the same scope and
    /// have at most [`KEYS_MAX`] keys together.
    pub(super) fn contact_of_message(
        &mut self,
        changes: &mut ContactChanges,
        one: i64,
        other: i64,
    ) -> rusqlite::Result<i64> {
        if one == other {
            return Ok(one);
        }
        let mut select = self.connection.prepare_cached(
            "SELECT contact.id, contact.scope FROM contact JOIN scope ON scope.id = contact.scope
             WHERE contact.id IN (?1, ?2) ORDER BY scope.kind, scope.text, scope.tenant, contact.id",
        )?;
        let found: Vec<(i64, i64)> = select
            .query_map([one, other], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        drop(select);
        let [(root, root_scope), (merged, merged_scope)] = *found else { return Ok(other) };
        if root_scope == merged_scope {
            if self.keys_of(root)?.len() + self.keys_of(merged)?.len() > KEYS_MAX {
                return Ok(one);
            }
            self.merge_contacts(changes, root, merged)?;
        }
        Ok(root)
    }

    fn contact_of_key(&mut self, scope: i64, key: &ContactKey) -> rusqlite::Result<Option<i64>> {
        let digest = key_digest(scope, key);
        if let Some(id) = self.contacts.contacts.get(&digest) {
            return Ok(Some(*id));
        }
        let sql = "SELECT contact FROM contact_key WHERE kind = ?1 AND text = ?2 AND scope = ?3";
        let found: Option<i64> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![key.kind as i64, key.indexed(), scope], |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            self.remember(digest, id);
        }
        Ok(found)
    }

    fn remember(&mut self, digest: KeyDigest, id: i64) {
        if self.contacts.contacts.len() >= CACHED_KEYS {
            self.contacts.contacts.clear();
        }
        self.contacts.contacts.insert(digest, id);
    }

    fn keys_of(&self, id: i64) -> rusqlite::Result<Vec<ContactKey>> {
        let mut select = self.connection.prepare_cached("SELECT keys FROM contact WHERE id = ?1")?;
        let keys: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
        Ok(keys.map_or_else(Vec::new, |keys| ContactKey::list(&keys)))
    }

    fn add_contact(
        &mut self,
        scope: &ContactScope,
        keys: &[ContactKey],
        seen: FirstSeen,
    ) -> rusqlite::Result<i64> {
        let id = seen.id.unwrap_or(self.next_contact);
        self.next_contact = self.next_contact.max(id + 1);
        let Some(first) = keys.first() else { return Ok(id) };
        let public = self.public_ids.id(&scope.name, first);
        let sql = "INSERT INTO contact (id, scope, keys, public, last_seq, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let list = ContactKey::write_list(keys);
        let values = params![id, scope.id, list, public.as_bytes(), seen.seq, seen.at.as_ms()];
        execute(&self.connection, sql, values)?;
        self.index_keys(scope.id, id, keys)?;
        Ok(id)
    }

    fn add_keys(&mut self, scope: i64, id: i64, keys: &[ContactKey]) -> rusqlite::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE contact SET keys = keys || char(10) || ?2 WHERE id = ?1";
        execute(&self.connection, sql, params![id, ContactKey::write_list(keys)])?;
        self.index_keys(scope, id, keys)
    }

    fn index_keys(&mut self, scope: i64, id: i64, keys: &[ContactKey]) -> rusqlite::Result<()> {
        for key in keys {
            let sql =
                "INSERT OR REPLACE INTO contact_key (kind, text, scope, contact) VALUES (?1, ?2, ?3, ?4)";
            execute(&self.connection, sql, params![key.kind as i64, key.indexed(), scope, id])?;
            self.remember(key_digest(scope, key), id);
        }
        Ok(())
    }

    /// Moves everything of a contact to an older one of the same scope.
    fn merge_contacts(
        &mut self,
        changes: &mut ContactChanges,
        root: i64,
        other: i64,
    ) -> rusqlite::Result<()> {
        let keys = self.keys_of(other)?;
        let sql = "SELECT scope FROM contact WHERE id = ?1";
        let scope: i64 = self.connection.prepare_cached(sql)?.query_row([other], |row| row.get(0))?;
        self.index_keys(scope, root, &keys)?;
        for sql in [
            "UPDATE message SET contact = ?1 WHERE contact = ?2",
            "UPDATE occurrence SET contact = ?1 WHERE contact = ?2",
            "UPDATE merged_contact SET contact = ?1 WHERE contact = ?2",
            "INSERT OR REPLACE INTO merged_contact (public, contact) SELECT public, ?1 FROM contact WHERE id = ?2",
            "UPDATE contact SET keys = contact.keys || char(10) || other.keys,
               name = iif(other.last_seq > contact.last_seq, coalesce(other.name, contact.name),
                 coalesce(contact.name, other.name)),
               channel = iif(other.last_seq > contact.last_seq, coalesce(other.channel, contact.channel),
                 coalesce(contact.channel, other.channel)),
               last_seq = max(contact.last_seq, other.last_seq), last_at = max(contact.last_at, other.last_at)
             FROM (SELECT * FROM contact WHERE id = ?2) AS other WHERE contact.id = ?1",
        ] {
            execute(&self.connection, sql, [root, other])?;
        }
        execute(&self.connection, "DELETE FROM contact WHERE id = ?1", [other])?;
        changes.merge(root, other);
        Ok(())
    }

    /// Writes the changes of customers. The messages must have been written before.
    pub(super) fn write_contacts(&self, contacts: ContactChanges) -> rusqlite::Result<()> {
        let ContactChanges { changes, mut stale, .. } = contacts;
        let changed = format!("UPDATE contact SET {CHANGED} WHERE id = ?1");
        let changed_and_derived = format!("UPDATE contact SET {CHANGED}, {DERIVED} WHERE id = ?1");
        for (id, change) in changes {
            let sql = if stale.remove(&id) { &changed_and_derived } else { &changed };
            let ContactChange { last_seq, last_at, name, channel } = change;
            execute(&self.connection, sql, params![id, last_seq, last_at.as_ms(), name, channel])?;
        }
        stale.into_iter().try_for_each(|id| self.derive_contact(id))
    }

    /// Computes the columns of a contact that follow from its messages.
    pub(super) fn derive_contact(&self, id: i64) -> rusqlite::Result<()> {
        execute(&self.connection, &format!("UPDATE contact SET {DERIVED} WHERE id = ?1"), [id]).map(drop)
    }

    /// For all contacts, computes the columns that follow from their messages.
    pub(super) fn derive_all_contacts(&self) -> rusqlite::Result<()> {
        self.connection.execute(&format!("UPDATE contact SET {DERIVED}"), []).map(drop)
    }

    /// Forgets all ids in memory, because customers or scopes were deleted from the file.
    pub(super) fn forget_contact_ids(&mut self) {
        self.contacts = ContactIds::default();
    }
}

/// The digest by which a key is looked up in memory. Two keys with the same digest are not to be expected.
fn key_digest(scope: i64, key: &ContactKey) -> KeyDigest {
    let digest = Sha256::digest(format!("{scope} {}", key.line()));
    let mut first = KeyDigest::default();
    first.copy_from_slice(&digest[..16]);
    first
}
