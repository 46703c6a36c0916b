//! The ids of values that repeat in insight's file: words (such as the names of sources or of events), slices and
//! failure texts. A slice is a combination of words by which messages are counted. Ids that were looked up stay in
//! memory.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{
    super::vocabulary::{OTHER, Vocabulary},
    execute,
};
use crate::event::{WORD_CHARS, excerpt};

/// Maximum number of slices, not counting extra slices. At the limit, messages of a new combination of words are
/// counted in an extra slice of their source. Each source has an extra slice for each owner that BIK documents, and one
/// for all other owners.
pub(super) const MAX_SLICES: usize = 50_000;
/// Maximum number of failure texts in memory. At the limit all are dropped.
const CACHED_REASONS: usize = 10_000;

/// The columns of a slice besides its source, in the order of [`Slice::words`], with their vocabularies.
pub(super) const COLUMNS: [(&str, Vocabulary); 4] = [
    ("store", Vocabulary::Store),
    ("channel", Vocabulary::Channel),
    ("owner", Vocabulary::Owner),
    ("owner_id", Vocabulary::OwnerId),
];

/// The values that figures are grouped by; each is the id of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Slice {
    pub source: i64,
    /// The values of [`COLUMNS`]; `None`: unknown.
    pub words: [Option<i64>; COLUMNS.len()],
}

impl Slice {
    /// Keeps the known values. Takes the values that are unknown here from `other`.
    pub(super) fn or(self, other: Self) -> Self {
        let [store, channel, owner, owner_id] = self.words;
        let [other_store, other_channel, other_owner, other_owner_id] = other.words;
        // An owner id is valid only together with its own owner.
        let is_same = owner.is_none() || owner == other_owner;
        let owner_id = owner_id.or(other_owner_id.filter(|_| is_same));
        let words = [store.or(other_store), channel.or(other_channel), owner.or(other_owner), owner_id];
        Self { source: self.source, words }
    }
}

/// The ids that are known in memory.
#[derive(Default)]
pub(super) struct WordIds {
    /// Ids of words, by vocabulary.
    words: [HashMap<Box<str>, i64>; Vocabulary::ALL.len()],
    /// Ids of the slices in the file.
    pub(super) slices: HashMap<Slice, i64>,
    /// The slices in the file, by their ids.
    pub(super) by_id: HashMap<i64, Slice>,
    /// Ids of failure texts. Cleared when texts are deleted from the file.
    pub(super) reasons: HashMap<Box<str>, i64>,
}

impl WordIds {
    /// Loads the words and slices of the file.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut ids = Self::default();
        let mut select = connection.prepare_cached(
            "SELECT vocabulary.kind, text, id FROM vocabulary JOIN word ON word.id = vocabulary.word",
        )?;
        for row in select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))? {
            let (kind, text, id): (usize, Box<str>, i64) = row?;
            if let Some(words) = ids.words.get_mut(kind) {
                words.insert(text, id);
            }
        }
        let mut select =
            connection.prepare_cached("SELECT id, source, store, channel, owner, owner_id FROM slice")?;
        let rows = select.query_map([], |row| {
            let words = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            Ok((row.get(0)?, Slice { source: row.get(1)?, words }))
        })?;
        for row in rows {
            let (id, slice) = row?;
            ids.slices.insert(slice, id);
            ids.by_id.insert(id, slice);
        }
        Ok(ids)
    }

    /// Returns the id of a word. A word that is too long is cut. Stores a new word if the vocabulary is not full, or if
    /// BIK documents the word. Returns the id of [`OTHER`] for any other new word.
    pub(super) fn id(
        &mut self,
        connection: &Connection,
        kind: Vocabulary,
        text: &str,
    ) -> rusqlite::Result<i64> {
        let text = &*excerpt(text, WORD_CHARS);
        let words = &self.words[kind as usize];
        if let Some(id) = words.get(text) {
            return Ok(*id);
        }
        let is_full = words.len() >= kind.bound();
        let text = if is_full && !kind.is_documented(text) { OTHER } else { text };
        if let Some(id) = words.get(text) {
            return Ok(*id);
        }
        let id = text_id(connection, "word", text)?;
        let sql = "INSERT OR IGNORE INTO vocabulary (kind, word) VALUES (?1, ?2)";
        execute(connection, sql, params![kind as i64, id])?;
        self.words[kind as usize].insert(text.into(), id);
        Ok(id)
    }

    /// Number of words in a vocabulary.
    pub(super) fn len(&self, kind: Vocabulary) -> usize {
        self.words[kind as usize].len()
    }

    /// Returns the id of a slice, which is stored first if it is new. If there are already [`MAX_SLICES`], returns the
    /// id of [`Self::other_slice`] instead of storing the new slice.
    pub(super) fn slice(&mut self, connection: &Connection, slice: Slice) -> rusqlite::Result<i64> {
        if let Some(id) = self.slices.get(&slice) {
            return Ok(*id);
        }
        let slice =
            if self.slices.len() >= MAX_SLICES { self.other_slice(connection, slice)? } else { slice };
        if let Some(id) = self.slices.get(&slice) {
            return Ok(*id);
        }
        let [store, channel, owner, owner_id] = slice.words;
        let sql = "INSERT INTO slice (source, store, channel, owner, owner_id) VALUES (?1, ?2, ?3, ?4, ?5)";
        execute(connection, sql, params![slice.source, store, channel, owner, owner_id])?;
        let id = connection.last_insert_rowid();
        self.slices.insert(slice, id);
        self.by_id.insert(id, slice);
        Ok(id)
    }

    /// Returns the extra slice of the same source. All its words are [`OTHER`], except an owner that BIK documents.
    /// This owner is kept, because it decides whether a message is an answer.
    fn other_slice(&mut self, connection: &Connection, slice: Slice) -> rusqlite::Result<Slice> {
        let mut other = slice;
        for (word, (_, kind)) in other.words.iter_mut().zip(COLUMNS) {
            if kind != Vocabulary::Owner || !self.is_documented(kind, *word) {
                *word = Some(self.id(connection, kind, OTHER)?);
            }
        }
        Ok(other)
    }

    fn is_documented(&self, kind: Vocabulary, id: Option<i64>) -> bool {
        let words = &self.words[kind as usize];
        words.iter().any(|(text, known)| Some(*known) == id && kind.is_documented(text))
    }

    /// Returns the id of a failure's text, which is stored first if it is new.
    pub(super) fn reason(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.reasons.get(text) {
            return Ok(*id);
        }
        let id = text_id(connection, "reason", text)?;
        if self.reasons.len() >= CACHED_REASONS {
            self.reasons.clear();
        }
        self.reasons.insert(text.into(), id);
        Ok(id)
    }
}

/// Returns the id of a text in a table. A new text is stored first.
fn text_id(connection: &Connection, table: &str, text: &str) -> rusqlite::Result<i64> {
    let sql = format!("INSERT INTO {table} (text) VALUES (?1) ON CONFLICT (text) DO NOTHING");
    execute(connection, &sql, [text])?;
    let mut select = connection.prepare_cached(&format!("SELECT id FROM {table} WHERE text = ?1"))?;
    select.query_row([text], |row| row.get(0))
}
