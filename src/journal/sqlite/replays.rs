//! Storage of replays and of their lanes.

use std::{collections::BTreeMap, num::NonZeroU32};

use rusqlite::{Connection, Row, params};

use super::group::class_number;
use crate::{
    clock::Timestamp,
    event::Class,
    journal::{NewReplay, Replay, ReplayState, Replays},
};

/// When a replay ends, older ended replays are deleted if their ids are lower by at least this number.
const KEPT: i64 = 100;

/// Reads all replays from the file.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Replays> {
    let mut select = connection.prepare_cached(
        "SELECT id, handler, after, upto, filter, rate, state, created_at, ended_at FROM replay",
    )?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, replay(row)?)))?;
    Ok(rows.collect::<rusqlite::Result<BTreeMap<_, _>>>()?.into())
}

fn replay(row: &Row<'_>) -> rusqlite::Result<Replay> {
    let state: String = row.get(6)?;
    Ok(Replay {
        request: NewReplay {
            handler: row.get(1)?,
            after: row.get(2)?,
            upto: row.get(3)?,
            filter: row.get(4)?,
            rate: row.get::<_, Option<u32>>(5)?.and_then(NonZeroU32::new),
        },
        state: ReplayState::from_name(&state).ok_or(rusqlite::Error::InvalidQuery)?,
        created_at: Timestamp::from_ms(row.get(7)?),
        ended_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_ms),
    })
}

/// Stores a new replay with both its lanes. Returns its id.
pub(super) fn insert(connection: &Connection, new: &NewReplay, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "INSERT INTO replay (handler, after, upto, filter, rate, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            &*new.handler,
            new.after,
            new.upto,
            new.filter,
            new.rate.map(NonZeroU32::get),
            ReplayState::Running.as_str(),
            now.as_ms()
        ])?;
    let id = connection.last_insert_rowid();
    for class in Class::ALL {
        connection
            .prepare_cached("INSERT INTO lane (handler, class, cursor, replay) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![&*new.handler, class_number(class), new.after, id])?;
    }
    Ok(vec![id])
}

/// Changes the state of a replay. Returns its id, or nothing if the replay is unknown, has ended or already has this
/// state. Ending a replay deletes its lanes, with the events that they set aside.
pub(super) fn change(
    connection: &Connection,
    id: i64,
    state: ReplayState,
    now: Timestamp,
) -> rusqlite::Result<Vec<i64>> {
    let ended_at = state.has_ended().then_some(now.as_ms());
    let changed = connection
        .prepare_cached(
            "UPDATE replay SET state = ?2, ended_at = ?3
             WHERE id = ?1 AND state IN ('running', 'paused') AND state <> ?2",
        )?
        .execute(params![id, state.as_str(), ended_at])?;
    if changed == 0 {
        return Ok(Vec::new());
    }
    if state.has_ended() {
        for table in ["aside", "settle"] {
            let sql = format!("DELETE FROM {table} WHERE lane IN (SELECT id FROM lane WHERE replay = ?1)");
            connection.prepare_cached(&sql)?.execute([id])?;
        }
        connection.prepare_cached("DELETE FROM lane WHERE replay = ?1")?.execute([id])?;
        connection
            .prepare_cached("DELETE FROM replay WHERE ended_at IS NOT NULL AND id <= ?1")?
            .execute([id - KEPT])?;
    }
    Ok(vec![id])
}
