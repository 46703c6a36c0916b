//! Translates words to ids and ids to words, for one query. A word is a text that insight's file stores once, such as
//! the name of a channel.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension};

use crate::event::{WORD_CHARS, excerpt};

/// Looks up words and their ids. Keeps in memory the words that it has looked up by id.
pub(super) struct WordLookup<'a> {
    connection: &'a Connection,
    known: RefCell<HashMap<i64, Arc<str>>>,
}

impl<'a> WordLookup<'a> {
    /// Creates a lookup over a connection.
    pub fn new(connection: &'a Connection) -> Self {
        Self { connection, known: RefCell::default() }
    }

    /// Returns the word with this id.
    pub fn text(&self, id: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(text) = self.known.borrow().get(&id) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = self
            .connection
            .prepare_cached("SELECT text FROM word WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        self.known.borrow_mut().insert(id, Arc::clone(&text));
        Ok(text)
    }

    /// Returns the word with this id; `None` if `id` is `None`.
    pub fn optional(&self, id: Option<i64>) -> rusqlite::Result<Option<Arc<str>>> {
        id.map(|id| self.text(id)).transpose()
    }

    /// Returns the id of a word; `None` if the word was never stored.
    pub fn id(&self, text: &str) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT id FROM word WHERE text = ?1")?
            .query_row([&*excerpt(text, WORD_CHARS)], |row| row.get(0))
            .optional()
    }
}
