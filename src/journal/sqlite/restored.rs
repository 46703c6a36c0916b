//! The state that a start reads from the file.

use rusqlite::{Connection, OptionalExtension};

use super::{
    directory::Directory,
    eras::Eras,
    group::{ENTRY, keys_of_run},
    lanes::Lanes,
    pauses, reader, replays,
};
use crate::{
    clock::{LastKnown, Timestamp},
    journal::{Pauses, Replays},
};

/// State that a start reads from the file.
pub(super) struct RestoredState {
    pub(super) tip: u64,
    pub(super) low: u64,
    pub(super) received_at: Timestamp,
    pub(super) eras: Eras,
    /// The time that the clock starts from; `None` in a new file.
    pub(super) known: Option<LastKnown>,
    pub(super) directory: Directory,
    pub(super) oldest_key: Option<Timestamp>,
    pub(super) lanes: Lanes,
    pub(super) paused: Pauses,
    pub(super) replays: Replays,
}

impl RestoredState {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let eras = Eras::load(connection)?;
        let last_event: Option<(u64, i64)> = connection
            .query_row("SELECT seq, received_at FROM event ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let mut tip = mark(connection, "seq")?.and_then(|seq| u64::try_from(seq).ok()).unwrap_or_default();
        let mut received_at = mark(connection, "received_at")?.unwrap_or_default();
        if let Some((seq, at)) = last_event {
            tip = tip.max(seq);
            if eras.of(seq) == eras.now() {
                received_at = received_at.max(at);
            }
        }
        let known = last_known(connection, received_at)?;
        let (directory, oldest_key) = read_keys(connection, &eras, tip)?;
        Ok(Self {
            tip,
            low: reader::span(connection)?.map_or(tip + 1, |(low, _)| low),
            received_at: Timestamp::from_ms(received_at),
            eras,
            known,
            directory,
            oldest_key,
            lanes: Lanes::load(connection)?,
            paused: pauses::load(connection)?,
            replays: replays::load(connection)?,
        })
    }
}

fn mark(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM mark WHERE name = ?1", [name], |row| row.get(0)).optional()
}

/// The last known time; `None` in a file that has no time.
fn last_known(connection: &Connection, received_at: i64) -> rusqlite::Result<Option<LastKnown>> {
    let last_settle: Option<i64> = connection
        .query_row("SELECT at FROM settle ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let noted = mark(connection, "clock")?;
    // The latest of these times counts. `received_at` and the noted time are of the current era. The last settle may be
    // of an earlier era, so it counts only if no time was noted. Each correction of the clock begins an era and notes
    // the time, so without a noted time there is only one era.
    let at = noted.into_iter().chain([received_at]).chain(last_settle.filter(|_| noted.is_none())).max();
    let deletion = mark(connection, "deletion")?.map(Timestamp::from_ms);
    Ok(at.filter(|at| *at != 0).map(|at| LastKnown {
        at: Timestamp::from_ms(at),
        deletion,
        noted: noted.is_some(),
    }))
}

/// Rebuilds the key directory. Also returns when the oldest run of keys was stored, in the time of the current clock
/// era; `None` without keys.
fn read_keys(
    connection: &Connection,
    eras: &Eras,
    tip: u64,
) -> rusqlite::Result<(Directory, Option<Timestamp>)> {
    let mut directory = Directory::new();
    let mut oldest_key = None;
    let mut next = None;
    let mut runs = connection.prepare("SELECT first, came_at, entries FROM key_run ORDER BY first")?;
    let mut rows = runs.query([])?;
    while let Some(row) = rows.next()? {
        let (first, at): (u64, i64) = (row.get(0)?, row.get(1)?);
        let entries = row.get_ref(2)?.as_blob().unwrap_or_default();
        let is_whole = !entries.is_empty() && entries.len().is_multiple_of(ENTRY);
        if !is_whole || next.is_some_and(|next| next != first) {
            return Err(DamagedKeys { seq: next.unwrap_or(first) }.into());
        }
        oldest_key.get_or_insert(eras.aged(eras.of(first), Timestamp::from_ms(at)));
        for (key, seq) in keys_of_run(first, entries) {
            directory.insert(&key, seq);
        }
        next = Some(first + (entries.len() / ENTRY) as u64);
    }
    // The oldest keys are evicted first, so the remaining runs must end at the tip.
    if let Some(seq) = next.filter(|next| *next != tip + 1) {
        return Err(DamagedKeys { seq }.into());
    }
    Ok((directory, oldest_key))
}

/// The rows of the deduplication window have a gap or an invalid length. If the journal opened without these keys, a
/// duplicate could be stored as a new event.
#[derive(Debug, thiserror::Error)]
#[error(
    "the deduplication keys (table key_run) are damaged at seq {seq}; the events are in another table: restore a backup"
)]
struct DamagedKeys {
    seq: u64,
}

impl From<DamagedKeys> for rusqlite::Error {
    fn from(damaged: DamagedKeys) -> Self {
        Self::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(damaged))
    }
}
