//! One commit group: the queued batches become rows of one transaction.
//!
//! Nothing here changes the writer's own state, so a failed group leaves no key and no seq behind. The [`CommitGroup`]
//! collects the results, and the writer applies them after the commit.

use std::sync::Arc;

use hashbrown::HashTable;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{directory::Directory, eras::Moment};
use crate::{
    clock::Timestamp,
    event::{Class, ContentDigest, Draft, Event, Key, Quarantined, Reason},
    journal::{AppendBatch, AppendReceipt, RetryOf},
};

/// Maximum number of events per row of `key_run`. It is low, because each comparison with a stored key reads a whole
/// row.
const RUN: usize = 128;
/// Bytes per event in a run: 16 of the key, 16 of the content's digest.
pub(super) const ENTRY: usize = 32;

/// The events and keys that a commit group has stored so far.
pub(super) struct CommitGroup<'a> {
    connection: &'a Connection,
    insert: CachedStatement<'a>,
    directory: &'a Directory,
    first: u64,
    moment: Moment,
    received_at: Timestamp,
    /// The keys of this group, as indexes into `entries`.
    keys: HashTable<usize>,
    /// Keys and content digests of the new events, in order of seq.
    pub entries: Vec<(Key, ContentDigest)>,
    /// The new events, in order of seq.
    pub events: Vec<Arc<Event>>,
}

/// The result of looking up a key.
enum KeyMatch {
    No,
    Same,
    Conflict(u64),
}

impl<'a> CommitGroup<'a> {
    /// Starts a group in an open transaction. New events get the seqs after `tip`; `events` is the expected number of
    /// them. `received_at` must not be earlier than `moment`.
    pub(super) fn new(
        connection: &'a Connection,
        directory: &'a Directory,
        tip: u64,
        moment: Moment,
        received_at: Timestamp,
        events: usize,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            insert: connection.prepare_cached(
                "INSERT INTO event (seq, received_at, class, source, name, raw, behind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            directory,
            first: tip + 1,
            moment,
            received_at,
            keys: HashTable::with_capacity(events),
            entries: Vec::with_capacity(events),
            events: Vec::with_capacity(events),
        })
    }

    /// Stores a batch: new events, conflicts, and undecodable input. If the batch is a retry of a quarantine entry and
    /// has neither a new event nor a duplicate, changes nothing. Any other retry of a whole entry deletes that entry.
    pub(super) fn append(&mut self, batch: &AppendBatch) -> rusqlite::Result<AppendReceipt> {
        let mut receipt = AppendReceipt::default();
        let mut conflicts = Vec::new();
        for draft in &batch.drafts {
            match self.known(draft)? {
                KeyMatch::No => {
                    receipt.seq = Some(self.store(draft)?);
                    receipt.accepted += 1;
                }
                KeyMatch::Same => receipt.duplicates += 1,
                KeyMatch::Conflict(seq) => {
                    conflicts.push((draft, seq));
                    receipt.conflicts += 1;
                }
            }
        }
        if let Some(retried) = batch.retried {
            // Without a new event or a duplicate, the quarantine entry stays as it is.
            if receipt.accepted + receipt.duplicates == 0 {
                return Ok(receipt);
            }
            if let RetryOf::Whole(id) = retried {
                self.connection.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?.execute([id])?;
            }
        }
        for (draft, seq) in conflicts {
            self.quarantine(&conflict(draft, seq), Some(seq))?;
            receipt.quarantined += 1;
        }
        for item in &batch.quarantined {
            self.quarantine(item, None)?;
            receipt.quarantined += 1;
        }
        Ok(receipt)
    }

    /// Writes the keys of the new events. Must be called once, after the last batch.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO key_run (first, came_at, entries) VALUES (?1, ?2, ?3)")?;
        let mut blob = Vec::with_capacity(self.entries.len().min(RUN) * ENTRY);
        let mut first = self.first;
        for run in self.entries.chunks(RUN) {
            blob.clear();
            for (key, content) in run {
                blob.extend_from_slice(&key.0);
                blob.extend_from_slice(&content.0);
            }
            insert.execute(params![first, self.moment.at.as_ms(), blob])?;
            first += run.len() as u64;
        }
        Ok(())
    }

    fn known(&self, draft: &Draft) -> rusqlite::Result<KeyMatch> {
        let (key, content) = (draft.key, draft.content);
        let classify = |stored: ContentDigest, seq| {
            if stored == content { KeyMatch::Same } else { KeyMatch::Conflict(seq) }
        };
        if let Some(&index) = self.keys.find(spread(&key), |index| self.entries[*index].0 == key) {
            return Ok(classify(self.entries[index].1, self.first + index as u64));
        }
        for seq in self.directory.candidates(&key, self.first - 1) {
            if let Some((stored_key, stored)) = self.stored(seq)?
                && stored_key == key
            {
                return Ok(classify(stored, seq));
            }
        }
        Ok(KeyMatch::No)
    }

    /// Reads the key and content digest of a stored event.
    fn stored(&self, seq: u64) -> rusqlite::Result<Option<(Key, ContentDigest)>> {
        let mut find = self.connection.prepare_cached(
            "SELECT first, entries FROM key_run WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
        )?;
        find.query_row([seq], |row| {
            let first: u64 = row.get(0)?;
            let entries = row.get_ref(1)?.as_blob()?;
            Ok(usize::try_from(seq - first).ok().and_then(|index| entry(entries, index)))
        })
        .optional()
        .map(Option::flatten)
    }

    fn store(&mut self, draft: &Draft) -> rusqlite::Result<u64> {
        let element = &draft.element;
        let seq = self.first + self.events.len() as u64;
        self.insert.execute(params![
            seq,
            self.received_at.as_ms(),
            class_number(element.class()),
            &*draft.source,
            element.name(),
            element.raw().as_bytes(),
            self.received_at.ms_since(self.moment.at)
        ])?;
        let (key, entries) = (draft.key, &mut self.entries);
        self.keys.insert_unique(spread(&key), entries.len(), |index| spread(&entries[*index].0));
        entries.push((key, draft.content));
        self.events.push(Arc::new(Event {
            seq,
            came_at: self.moment.at,
            received_at: self.received_at,
            source: Arc::clone(&draft.source),
            element: Arc::clone(element),
        }));
        Ok(seq)
    }

    fn quarantine(&self, item: &Quarantined, conflicts_with: Option<u64>) -> rusqlite::Result<()> {
        let mut digest = Sha256::new();
        for part in [item.source.as_bytes(), item.reason.as_str().as_bytes()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.update(&item.bytes);
        let digest = digest.finalize();
        let again = self
            .connection
            .prepare_cached(
                "UPDATE quarantine SET count = count + 1, last_at = ?2, era = ?3 WHERE digest = ?1",
            )?
            .execute(params![digest.as_slice(), self.moment.at.as_ms(), self.moment.era])?;
        // The two statements are not one upsert, because `INSERT … ON CONFLICT DO UPDATE` would use up an id even if it
        // only updates.
        if again > 0 {
            return Ok(());
        }
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO quarantine
               (digest, source, reason, detail, conflicts_with, bytes, count, first_at, last_at, era)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7, ?8)",
        )?;
        insert.execute(params![
            digest.as_slice(),
            &*item.source,
            item.reason.as_str(),
            item.detail,
            conflicts_with,
            item.bytes,
            self.moment.at.as_ms(),
            self.moment.era
        ])?;
        Ok(())
    }
}

/// Reads the key and content digest at an index of a run.
fn entry(entries: &[u8], index: usize) -> Option<(Key, ContentDigest)> {
    let bytes = entries.get(index * ENTRY..(index + 1) * ENTRY)?;
    let (key, content) = bytes.split_at(16);
    Some((Key(key.try_into().ok()?), ContentDigest(content.try_into().ok()?)))
}

/// The keys of a run that starts with the event `first`, each with its seq.
pub(super) fn keys_of_run(first: u64, entries: &[u8]) -> impl Iterator<Item = (Key, u64)> {
    (0..entries.len() / ENTRY).filter_map(move |index| Some((entry(entries, index)?.0, first + index as u64)))
}

/// A key is already a digest, so its first bytes serve as the hash.
fn spread(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = key.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The number stored in `event.class` and `lane.class`.
pub(super) const fn class_number(class: Class) -> i64 {
    match class {
        Class::Incoming => 0,
        Class::Other => 1,
    }
}

/// The class whose [`class_number`] is `number`.
pub(super) const fn class_of(number: i64) -> Class {
    if number == 0 { Class::Incoming } else { Class::Other }
}

fn conflict(draft: &Draft, seq: u64) -> Quarantined {
    Quarantined {
        source: Arc::clone(&draft.source),
        bytes: draft.element.raw().as_bytes().to_vec(),
        reason: Reason::Conflict,
        detail: format!("the same key as event {seq}, with other content"),
    }
}
