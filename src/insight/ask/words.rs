//! Words by their numbers, and numbers by their words: for one question.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension};

use crate::event::{WORD_CHARS, excerpt};

/// Looks words up, each once.
pub struct Words<'a> {
    connection: &'a Connection,
    known: RefCell<HashMap<i64, Arc<str>>>,
}

impl<'a> Words<'a> {
    /// Over a connection.
    pub fn new(connection: &'a Connection) -> Self {
        Self { connection, known: RefCell::default() }
    }

    /// The word of a number.
    pub fn text(&self, id: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(text) = self.known.borrow().get(&id) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = self
            .connection
            .prepare_cached("SELECT text FROM word WHERE id = ?1")?
            .query_row([id], |row| row.get::<_, String>(0))?
            .into();
        self.known.borrow_mut().insert(id, Arc::clone(&text));
        Ok(text)
    }

    /// The word of a number that may be absent.
    pub fn optional(&self, id: Option<i64>) -> rusqlite::Result<Option<Arc<str>>> {
        id.map(|id| self.text(id)).transpose()
    }

    /// The number of a word; `None` where nothing was ever called so.
    pub fn id(&self, text: &str) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT id FROM word WHERE text = ?1")?
            .query_row([&*excerpt(text, WORD_CHARS)], |row| row.get(0))
            .optional()
    }
}
