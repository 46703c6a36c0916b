//! Delivery state: lanes, their cursors, and what waits to be settled.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{eras::Moment, group::class_number};
use crate::{
    event::{Class, Draft},
    journal::{Ends, Enrolment, LaneId, NewDead, Start, notice},
};

/// A dead letter is settled so soon after it died, unless the clocks differ.
const SETTLED_WITHIN_MS: i64 = 3_600_000;

/// Every lane that the file knows, and the settles that wait for a commit.
#[derive(Default)]
pub struct Lanes {
    known: HashMap<LaneId, Lane>,
    pending: Vec<(LaneId, Ends)>,
    pending_since: Option<Instant>,
    /// Who is configured is known: before that, anybody may need anything.
    enrolled: bool,
    /// Somebody wants to be told of dead letters.
    tells_of_dead: bool,
}

#[derive(Clone, Copy)]
struct Lane {
    id: i64,
    cursor: u64,
    /// Configured in this run: it holds retention back.
    configured: bool,
    /// Where its dead letters are kept: the handler's own lane.
    home: i64,
    /// The replay that it belongs to; 0 for a handler's own.
    replay: i64,
}

/// What an enrolment wrote, to be taken over after its commit.
pub struct Enrolled {
    lanes: Vec<KnownLane>,
    tells_of_dead: bool,
}

/// A lane as the file has it.
pub struct KnownLane {
    lane: LaneId,
    id: i64,
    cursor: u64,
}

impl Lanes {
    /// As the file has them.
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut lanes = Self::default();
        let rows = lanes.reload(connection)?;
        for KnownLane { lane, id, cursor } in rows.iter().filter(|row| row.lane.replay.is_none()) {
            lanes.known.insert(
                lane.clone(),
                Lane { id: *id, cursor: *cursor, configured: false, home: *id, replay: 0 },
            );
        }
        lanes.reloaded(rows);
        Ok(lanes)
    }

    /// The rows of every lane; [`Self::reloaded`] takes those of replays over after the commit.
    pub fn reload(&self, connection: &Connection) -> rusqlite::Result<Vec<KnownLane>> {
        let mut select = connection.prepare_cached("SELECT id, handler, class, cursor, replay FROM lane")?;
        let rows = select.query_map([], |row| {
            let class = if row.get::<_, i64>(2)? == 0 { Class::Incoming } else { Class::Other };
            let replay = Some(row.get(4)?).filter(|replay| *replay != 0);
            let lane = LaneId { handler: row.get::<_, String>(1)?.into(), class, replay };
            Ok(KnownLane { lane, id: row.get(0)?, cursor: row.get(3)? })
        })?;
        rows.collect()
    }

    /// Replays came or went: their lanes are those of these rows. Each is needed as its handler's own are.
    pub fn reloaded(&mut self, rows: Vec<KnownLane>) {
        self.known.retain(|lane, _| lane.replay.is_none());
        for KnownLane { lane, id, cursor } in rows.into_iter().filter(|row| row.lane.replay.is_some()) {
            if let Some(own) = self.known.get(&LaneId { replay: None, ..lane.clone() }) {
                let lane_of_replay = Lane { id, cursor, replay: lane.replay.unwrap_or_default(), ..*own };
                self.known.insert(lane, lane_of_replay);
            }
        }
    }

    /// Writes the lanes of new handlers; [`Self::enrolled`] takes them over after the commit.
    pub fn enrol(
        &self,
        connection: &Connection,
        enrolments: &[Enrolment],
        tip: u64,
        now: Moment,
    ) -> rusqlite::Result<Enrolled> {
        let tells_of_dead = enrolments.iter().any(|enrolment| enrolment.dead_letters);
        let mut enrolled = Enrolled { lanes: Vec::new(), tells_of_dead };
        for enrolment in enrolments {
            for class in Class::ALL {
                let lane = LaneId::live(Arc::clone(&enrolment.handler), class);
                if let Some(known) = self.known.get(&lane) {
                    enrolled.lanes.push(KnownLane { lane, id: known.id, cursor: known.cursor });
                    continue;
                }
                let cursor = start_cursor(connection, enrolment.start, tip)?;
                connection.execute(
                    "INSERT INTO lane (handler, class, cursor) VALUES (?1, ?2, ?3)",
                    params![&*lane.handler, class_number(class), cursor],
                )?;
                let id = connection.last_insert_rowid();
                record(connection, id, cursor, now)?;
                enrolled.lanes.push(KnownLane { lane, id, cursor });
            }
        }
        Ok(enrolled)
    }

    /// What [`Self::enrol`] wrote is durable: these handlers, and no others, are configured.
    pub fn enrolled(&mut self, enrolled: Enrolled) {
        let Enrolled { lanes, tells_of_dead } = enrolled;
        let handlers: HashSet<Arc<str>> = lanes.iter().map(|row| Arc::clone(&row.lane.handler)).collect();
        for KnownLane { lane, id, cursor } in lanes {
            self.known.insert(lane, Lane { id, cursor, configured: true, home: id, replay: 0 });
        }
        for (lane, state) in &mut self.known {
            state.configured = handlers.contains(&lane.handler);
        }
        self.enrolled = true;
        self.tells_of_dead = tells_of_dead;
    }

    /// The place of a handler that is not configured was given to another name.
    pub fn renamed(&mut self, old: &Arc<str>, new: &Arc<str>) {
        for class in Class::ALL {
            let lane = self.known.remove(&LaneId::live(Arc::clone(old), class));
            self.known.extend(lane.map(|lane| (LaneId::live(Arc::clone(new), class), lane)));
        }
    }

    /// Takes a settle, to be written with a later commit.
    pub fn pend(&mut self, lane: LaneId, ends: Ends) {
        self.pending_since.get_or_insert_with(Instant::now);
        // A cursor that only moves on replaces the one that waits, unless rows were settled in between.
        if let Some((_, last)) = self.pending.iter_mut().rev().find(|(pending, _)| *pending == lane)
            && ends.has_no_rows()
        {
            last.cursor = last.cursor.max(ends.cursor);
            return;
        }
        self.pending.push((lane, ends));
    }

    /// How long the oldest settle has waited.
    pub fn waited(&self) -> Option<Duration> {
        self.pending_since.map(|since| since.elapsed())
    }

    /// Writes what is pending; [`Self::settled`] forgets it after the commit. Returns what is to be told of it: events of
    /// the same transaction.
    pub fn write(&self, connection: &Connection, now: Moment) -> rusqlite::Result<Vec<Draft>> {
        let mut notices = Vec::new();
        for (id, ends) in &self.pending {
            let Some(lane) = self.known.get(id) else { continue };
            for (dead_id, dead) in write_ends(connection, *lane, ends, now)? {
                notices
                    .extend(self.tells_of_dead.then(|| notice::of_dead_letter(dead_id, id, dead)).flatten());
            }
        }
        Ok(notices)
    }

    /// What was pending is durable.
    pub fn settled(&mut self) {
        for (lane, ends) in self.pending.drain(..) {
            if let (Some(lane), Some(cursor)) = (self.known.get_mut(&lane), ends.cursor) {
                lane.cursor = lane.cursor.max(cursor);
            }
        }
        self.pending_since = None;
    }

    /// Whether it is known who is configured, and so what retention may take.
    pub const fn are_enrolled(&self) -> bool {
        self.enrolled
    }

    /// The ids of the lanes whose handlers are known not to be configured, as a list of SQL.
    pub fn not_configured(&self) -> String {
        let gone = self.known.values().filter(|lane| self.enrolled && !lane.configured);
        let mut ids: Vec<i64> = gone.map(|lane| lane.id).collect();
        ids.sort_unstable();
        ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
    }

    /// What retention must keep: everything above this seq, and the handler that needs it. `None`: nothing is needed.
    pub fn needed_above(&self, connection: &Connection) -> rusqlite::Result<Option<(u64, Arc<str>)>> {
        let mut lowest: Option<(u64, Arc<str>)> = None;
        let mut first_aside = connection.prepare_cached("SELECT min(seq) FROM aside WHERE lane = ?1")?;
        for (id, lane) in self.known.iter().filter(|(_, lane)| lane.configured) {
            let aside: Option<u64> = first_aside.query_row([lane.id], |row| row.get(0))?;
            let above = aside.map_or(lane.cursor, |seq| lane.cursor.min(seq.saturating_sub(1)));
            if lowest.as_ref().is_none_or(|(least, _)| above < *least) {
                lowest = Some((above, Arc::clone(&id.handler)));
            }
        }
        Ok(lowest)
    }
}

fn start_cursor(connection: &Connection, start: Option<Start>, tip: u64) -> rusqlite::Result<u64> {
    match start {
        // A journal that never held an event has tip 0: from the beginning and from now are the same.
        None | Some(Start::Now) => Ok(tip),
        Some(Start::Beginning) => Ok(0),
        Some(Start::At(time)) => {
            Ok(super::reader::first_at_or_after(connection, time)?.map_or(tip, |seq| seq - 1))
        }
    }
}

/// The dead letters among them that are new, by their id.
fn write_ends<'a>(
    connection: &Connection,
    lane: Lane,
    ends: &'a Ends,
    now: Moment,
) -> rusqlite::Result<Vec<(i64, &'a NewDead)>> {
    if let Some(cursor) = ends.cursor {
        connection
            .prepare_cached("UPDATE lane SET cursor = max(cursor, ?2) WHERE id = ?1")?
            .execute(params![lane.id, cursor])?;
        record(connection, lane.id, cursor, now)?;
    }
    for row in &ends.set_aside {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO aside
                   (lane, seq, order_key, behind, attempts, since, next_try, error, history)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                lane.id,
                row.seq,
                row.order_key.map(|key| key.0.cast_signed()),
                row.behind,
                row.attempts,
                row.since.as_ms(),
                row.next_try.as_ms(),
                row.error,
                row.history.to_json()
            ])?;
    }
    for seq in &ends.resolved {
        connection
            .prepare_cached("DELETE FROM aside WHERE lane = ?1 AND seq = ?2")?
            .execute(params![lane.id, seq])?;
    }
    let mut new = Vec::new();
    for dead in &ends.dead {
        new.extend(bury(connection, lane, dead, now)?.map(|id| (id, dead)));
    }
    for id in &ends.revived {
        connection.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([id])?;
    }
    for again in &ends.dead_again {
        connection
            .prepare_cached(
                "UPDATE dead SET attempts = ?2, error = ?3, retrying = ?4, history = ?5 WHERE id = ?1",
            )?
            .execute(params![
                again.id,
                again.attempts,
                again.error,
                again.still_retrying,
                again.history.to_json()
            ])?;
    }
    Ok(new)
}

/// A new dead letter: its id. What is dead already, by the handler's own lane or by a replay, stays one.
fn bury(connection: &Connection, lane: Lane, dead: &NewDead, now: Moment) -> rusqlite::Result<Option<i64>> {
    let event = &dead.event;
    // The lane that says so has a clock of its own, which a correction of the trusted one does not reach.
    let is_told_in_time = (0..=SETTLED_WITHIN_MS).contains(&now.at.ms_since(dead.at));
    let died_at = if is_told_in_time { dead.at } else { now.at };
    let again = connection
        .prepare_cached(
            "UPDATE dead SET cause = ?3, attempts = ?4, error = ?5, died_at = ?6, history = ?7, replay = ?8, era = ?9
             WHERE lane = ?1 AND seq = ?2",
        )?
        .execute(params![
            lane.home,
            event.seq,
            dead.cause.as_str(),
            dead.attempts,
            dead.error,
            died_at.as_ms(),
            dead.history.to_json(),
            lane.replay,
            now.era
        ])?;
    if again > 0 {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "INSERT INTO dead
               (lane, seq, came_at, source, raw, cause, attempts, error, died_at, history, replay, era)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            lane.home,
            event.seq,
            event.came_at.as_ms(),
            &*event.source,
            event.element.raw().as_bytes(),
            dead.cause.as_str(),
            dead.attempts,
            dead.error,
            died_at.as_ms(),
            dead.history.to_json(),
            lane.replay,
            now.era
        ])?;
    Ok(Some(connection.last_insert_rowid()))
}

/// A row of the cursor's history.
fn record(connection: &Connection, lane: i64, upto: u64, now: Moment) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO settle (lane, upto, at, era) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![lane, upto, now.at.as_ms(), now.era])?;
    Ok(())
}
