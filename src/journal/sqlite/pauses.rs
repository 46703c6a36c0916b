//! Storage of paused handlers.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};

use crate::{
    clock::Timestamp,
    journal::{Pause, Pauses},
};

/// Reads all pauses from the file.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Pauses> {
    let mut select = connection.prepare("SELECT handler, at, reason FROM pause")?;
    let rows = select.query_map([], |row| {
        let pause = Pause { at: Timestamp::from_ms(row.get(1)?), reason: row.get(2)? };
        Ok((row.get(0)?, pause))
    })?;
    rows.collect::<rusqlite::Result<BTreeMap<_, _>>>().map(Arc::new)
}

/// Pauses a handler. Returns `[1]`; empty if the handler was already paused.
pub(super) fn insert(connection: &Connection, handler: &str, pause: &Pause) -> rusqlite::Result<Vec<i64>> {
    let changed = connection
        .prepare_cached("INSERT OR IGNORE INTO pause (handler, at, reason) VALUES (?1, ?2, ?3)")?
        .execute(params![handler, pause.at.as_ms(), pause.reason])?;
    Ok(vec![1; changed])
}

/// Resumes a handler. Returns `[1]`; empty if the handler was not paused.
pub(super) fn remove(connection: &Connection, handler: &str) -> rusqlite::Result<Vec<i64>> {
    let changed = connection.prepare_cached("DELETE FROM pause WHERE handler = ?1")?.execute([handler])?;
    Ok(vec![1; changed])
}
