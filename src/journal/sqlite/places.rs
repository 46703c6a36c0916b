//! Progress of all known handlers, including those no longer configured, and renaming of a handler.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    file::{DatabaseFile, FORMAT},
    group::class_of,
    offline::refuse_foreign,
    reader::unreadable,
};
use crate::journal::{HandlerPlace, JournalOpenError, LanePlace, RenameError, RenameRefusal};

/// Every handler in the file, sorted by name. The names in `enrolled` are configured.
pub(super) fn all(
    connection: &Connection,
    tip: u64,
    low: u64,
    enrolled: &[Arc<str>],
) -> rusqlite::Result<Vec<HandlerPlace>> {
    let mut select = connection.prepare_cached(
        "SELECT handler, class, cursor, (SELECT count(*) FROM aside WHERE aside.lane = lane.id) FROM lane
         WHERE replay = 0 ORDER BY handler, class",
    )?;
    let mut rows = select.query([])?;
    let mut places: Vec<HandlerPlace> = Vec::new();
    while let Some(row) = rows.next()? {
        let handler: Arc<str> = row.get(0)?;
        let cursor: u64 = row.get(2)?;
        let lane = LanePlace {
            class: class_of(row.get(1)?),
            cursor,
            // Events that retention has deleted do not count.
            lag: tip.saturating_sub(cursor.max(low.saturating_sub(1))),
            before: (cursor + 1).saturating_sub(low),
            set_aside: row.get(3)?,
        };
        match places.last_mut().filter(|place| place.handler == handler) {
            Some(place) => place.lanes.push(lane),
            None => {
                let configured = enrolled.contains(&handler);
                places.push(HandlerPlace { handler, configured, lanes: vec![lane] });
            }
        }
    }
    Ok(places)
}

/// Why `old` cannot be renamed to `new`; `None` if it can. [`rename`] checks this again in its transaction.
pub(super) fn refusal(
    connection: &Connection,
    old: &str,
    new: &str,
) -> rusqlite::Result<Option<RenameRefusal>> {
    let has = |sql: &str, name: &str| connection.prepare_cached(sql)?.exists([name]);
    if !has("SELECT 1 FROM lane WHERE handler = ?1 AND replay = 0", old)? {
        return Ok(Some(RenameRefusal::Unknown));
    }
    if old == new {
        return Ok(Some(RenameRefusal::Same));
    }
    // A lane without progress since its enrolment has one row in the cursor history (table `settle`), whose `upto` is
    // the cursor. It has no rows in `aside` and `dead`.
    let progressed = "SELECT 1 FROM lane WHERE handler = ?1 AND (replay <> 0
           OR EXISTS (SELECT 1 FROM settle WHERE settle.lane = lane.id AND upto <> lane.cursor)
           OR EXISTS (SELECT 1 FROM aside WHERE aside.lane = lane.id)
           OR EXISTS (SELECT 1 FROM dead WHERE dead.lane = lane.id))";
    // After the rename, `new` has the cursor of `old`. If that cursor is higher than the present cursor of `new`, the
    // rename would make `new` skip events. The query above does not rule this out. `new` may have made no progress, or
    // its progress may no longer be in the cursor history, because that history is kept for some days only. So compare
    // the cursors, too.
    let ahead = "SELECT 1 FROM lane AS old JOIN lane AS new ON new.class = old.class AND new.replay = 0
         WHERE old.handler = ?1 AND old.replay = 0 AND new.handler = ?2 AND old.cursor > new.cursor";
    let is_ahead = connection.prepare_cached(ahead)?.exists([old, new])?;
    Ok((is_ahead || has(progressed, new)?).then_some(RenameRefusal::Progressed))
}

/// Renames `old` to `new`: cursors, events set aside, dead letters, replays, the pause. Returns `[1]`; empty if the
/// rename was refused.
pub(super) fn rename(connection: &Connection, old: &str, new: &str) -> rusqlite::Result<Vec<i64>> {
    if refusal(connection, old, new)?.is_some() {
        return Ok(Vec::new());
    }
    for sql in [
        "DELETE FROM settle WHERE lane IN (SELECT id FROM lane WHERE handler = ?1)",
        "DELETE FROM omitted WHERE lane IN (SELECT id FROM lane WHERE handler = ?1)",
        // A later lane may get the id of a deleted one, so the marks of that id must go.
        "DELETE FROM mark WHERE EXISTS (SELECT 1 FROM lane WHERE handler = ?1
           AND mark.name BETWEEN 'settled ' || lane.id || ' ' AND 'settled ' || lane.id || '!')",
        "DELETE FROM lane WHERE handler = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([new])?;
    }
    for sql in [
        "UPDATE lane SET handler = ?2 WHERE handler = ?1",
        "UPDATE replay SET handler = ?2 WHERE handler = ?1",
        "UPDATE OR REPLACE pause SET handler = ?2 WHERE handler = ?1",
    ] {
        connection.prepare_cached(sql)?.execute(params![old, new])?;
    }
    Ok(vec![1])
}

/// Renames a handler in the journal of a stopped receiver.
///
/// # Errors
/// Returns a [`RenameError`]; then nothing was renamed.
pub fn rename_offline(path: &Path, old: &str, new: &str) -> Result<(), RenameError> {
    std::fs::metadata(path).map_err(|source| JournalOpenError::io(path, source))?;
    refuse_foreign(path)?;
    let file = DatabaseFile::lock(path)?;
    match file.format()? {
        FORMAT => {}
        found => return Err(file.older(found).into()),
    }
    let mut connection = file.writer()?;
    let transaction = connection.transaction().map_err(unreadable)?;
    if let Some(refusal) = refusal(&transaction, old, new).map_err(unreadable)? {
        return Err(refusal.into());
    }
    rename(&transaction, old, new).map_err(unreadable)?;
    transaction.commit().map_err(unreadable)?;
    Ok(())
}
