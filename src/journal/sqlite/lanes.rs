//! Delivery state: lanes, their cursors, and settles that wait for a commit.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    eras::Moment,
    group::{class_number, class_of},
};
use crate::{
    event::{Class, Draft},
    journal::{Aside, Ends, Enrolment, LaneId, LaneStart, NewDead, Omission, OmissionCause, notice},
};

/// The longest plausible interval from [`NewDead::at`] to the settle of the dead letter. `at` is from the clock of the
/// lane. The time of the settle is from the clock of the journal. A longer interval shows that the two clocks differ.
const SETTLED_WITHIN_MS: i64 = 3_600_000;

/// SQL that marks events past the cursor as settled, before their dead letters are deleted. After a restart, only the
/// marks show that these events are settled. `ids` is a list of dead letter ids, or a query for such ids, in
/// parentheses.
pub(super) fn mark_settled(ids: &str) -> String {
    format!(
        "INSERT OR IGNORE INTO mark (name, value)
           SELECT 'settled ' || lane.id || ' ' || dead.seq, dead.seq FROM dead JOIN lane ON lane.id = dead.lane
           WHERE dead.id IN {ids} AND dead.seq > lane.cursor AND dead.replay = 0"
    )
}

/// SQL that records why events were not delivered, before their dead letters are deleted. For a dead letter of a
/// replay, it only updates an existing record, because the handler's own lane may have delivered the event. `ids` is as
/// in [`mark_settled`]; `at` and `by` are SQL values.
pub(super) fn record_deleted(ids: &str, cause: OmissionCause, at: &str, by: &str) -> [String; 2] {
    let cause = cause.as_str();
    [
        format!(
            "UPDATE omitted SET cause = '{cause}', at = {at}, user = {by} FROM dead
             WHERE dead.id IN {ids} AND dead.replay != 0
               AND omitted.lane = dead.lane AND omitted.last = dead.seq AND omitted.first = dead.seq"
        ),
        format!(
            "INSERT INTO omitted (lane, first, last, cause, at, user)
               SELECT lane, seq, seq, '{cause}', {at}, {by} FROM dead WHERE id IN {ids} AND replay = 0"
        ),
    ]
}

/// Deletes dead letters that a user drops, and records that. Returns the ids that existed.
pub(super) fn drop_dead(
    connection: &Connection,
    ids: &[i64],
    by: &str,
    now: Moment,
) -> rusqlite::Result<Vec<i64>> {
    for sql in record_deleted("(?1)", OmissionCause::Dropped, "?2", "?3") {
        let mut record = connection.prepare_cached(&sql)?;
        for id in ids {
            record.execute(params![id, now.at.as_ms(), by])?;
        }
    }
    delete_dead(connection, ids)
}

/// Deletes dead letters that were dropped or delivered. Returns the ids that existed.
fn delete_dead(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<i64>> {
    each(connection, ids, &mark_settled("(?1)"))?;
    each(connection, ids, "DELETE FROM dead WHERE id = ?1")
}

/// Runs a statement for each id. Returns the ids for which it changed a row.
pub(super) fn each(connection: &Connection, ids: &[i64], sql: &str) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut done = Vec::new();
    for id in ids {
        if statement.execute([id])? > 0 {
            done.push(*id);
        }
    }
    Ok(done)
}

/// Every lane in the file, and the settles that wait for a commit.
#[derive(Default)]
pub(super) struct Lanes {
    known: HashMap<LaneId, KnownLane>,
    pending: BTreeMap<LaneId, PendingLane>,
    /// The pending settles that change dead letters or skip events, in order. Their cursors and set-aside events are in
    /// `pending` instead.
    pending_dead: Vec<(LaneId, Ends)>,
    pending_since: Option<Instant>,
    /// When a commit with the pending settles last failed.
    failed_at: Option<Instant>,
    /// True once it is known which handlers are configured. Until then, retention must keep every event.
    pub enrolled: bool,
    /// True if a configured handler delivers announcements of dead letters.
    announces_dead: bool,
}

/// The pending cursor and set-aside events of a lane.
#[derive(Default)]
struct PendingLane {
    cursor: Option<u64>,
    /// The row of each set-aside event, by seq; `None` if the event is no longer set aside.
    aside: BTreeMap<u64, Option<Aside>>,
}

#[derive(Clone, Copy)]
struct KnownLane {
    id: i64,
    cursor: u64,
    /// True if the handler is in the current configuration. Only then does retention keep its undelivered events.
    configured: bool,
    /// Id of the lane that gets this lane's dead letters: the handler's own lane of the same class.
    home: i64,
    /// Id of the replay that the lane belongs to; 0 for a handler's own lane.
    replay: i64,
}

/// Result of an enrolment, to be applied after its commit.
pub(super) struct EnrolledLanes {
    lanes: Vec<StoredLane>,
    announces_dead: bool,
}

/// The row of a lane.
pub(super) struct StoredLane {
    lane: LaneId,
    id: i64,
    cursor: u64,
}

impl Lanes {
    /// Reads all lanes from the file.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let (own, of_replays): (Vec<_>, Vec<_>) =
            stored_lanes(connection)?.into_iter().partition(|row| row.lane.replay.is_none());
        let mut lanes = Self::default();
        lanes.insert_own(own, false);
        lanes.apply_replay_lanes(of_replays);
        Ok(lanes)
    }

    fn insert_own(&mut self, rows: Vec<StoredLane>, configured: bool) {
        for StoredLane { lane, id, cursor } in rows {
            self.known.insert(lane, KnownLane { id, cursor, configured, home: id, replay: 0 });
        }
    }

    /// Replaces the lanes of replays by those in `rows`, after replays started or ended. Such a lane protects events
    /// from retention only if its handler is configured.
    pub(super) fn apply_replay_lanes(&mut self, rows: Vec<StoredLane>) {
        self.known.retain(|lane, _| lane.replay.is_none());
        for StoredLane { lane, id, cursor } in rows.into_iter().filter(|row| row.lane.replay.is_some()) {
            if let Some(own) = self.known.get(&LaneId { replay: None, ..lane.clone() }) {
                let lane_of_replay =
                    KnownLane { id, cursor, replay: lane.replay.unwrap_or_default(), ..*own };
                self.known.insert(lane, lane_of_replay);
            }
        }
    }

    /// Writes the lanes of new handlers. [`Self::apply_enrolment`] applies the result after the commit.
    pub(super) fn enrol(
        &self,
        connection: &Connection,
        enrolments: &[Enrolment],
        tip: u64,
        now: Moment,
    ) -> rusqlite::Result<EnrolledLanes> {
        let announces_dead = enrolments.iter().any(|enrolment| enrolment.dead_letters);
        let mut enrolled = EnrolledLanes { lanes: Vec::new(), announces_dead };
        for enrolment in enrolments {
            for class in Class::ALL {
                let lane = LaneId::live(Arc::clone(&enrolment.handler), class);
                if let Some(known) = self.known.get(&lane) {
                    enrolled.lanes.push(StoredLane { lane, id: known.id, cursor: known.cursor });
                    continue;
                }
                let cursor = start_cursor(connection, enrolment.start, tip)?;
                connection.execute(
                    "INSERT INTO lane (handler, class, cursor) VALUES (?1, ?2, ?3)",
                    params![&*lane.handler, class_number(class), cursor],
                )?;
                let id = connection.last_insert_rowid();
                record_cursor(connection, id, cursor, now)?;
                if cursor > 0 {
                    let (cause, at, by) = (OmissionCause::Start, now.at, "".into());
                    record_omission(connection, id, &Omission { first: 1, last: cursor, cause, at, by })?;
                }
                enrolled.lanes.push(StoredLane { lane, id, cursor });
            }
        }
        Ok(enrolled)
    }

    /// Applies a committed [`Self::enrol`]. Exactly its handlers count as configured from then on.
    pub(super) fn apply_enrolment(&mut self, enrolled: EnrolledLanes) {
        let EnrolledLanes { lanes, announces_dead } = enrolled;
        let handlers: HashSet<Arc<str>> = lanes.iter().map(|row| Arc::clone(&row.lane.handler)).collect();
        self.insert_own(lanes, true);
        for (lane, state) in &mut self.known {
            state.configured = handlers.contains(&lane.handler);
        }
        self.enrolled = true;
        self.announces_dead = announces_dead;
    }

    /// Applies a committed rename of a handler that is not configured.
    pub(super) fn apply_rename(&mut self, old: &Arc<str>, new: &Arc<str>) {
        for class in Class::ALL {
            let lane = self.known.remove(&LaneId::live(Arc::clone(old), class));
            self.known.extend(lane.map(|lane| (LaneId::live(Arc::clone(new), class), lane)));
        }
    }

    /// Queues a settle for a later commit. Cursors and set-aside events are merged by lane. Otherwise the pending
    /// settles would grow without a bound while commits fail, because each attempt of a set-aside event adds a settle.
    pub(super) fn queue_settle(&mut self, lane: LaneId, mut ends: Ends) {
        self.pending_since.get_or_insert_with(Instant::now);
        let pending = self.pending.entry(lane.clone()).or_default();
        pending.cursor = pending.cursor.max(ends.cursor.take());
        let set_aside = std::mem::take(&mut ends.set_aside);
        pending.aside.extend(set_aside.into_iter().map(|row| (row.seq, Some(row))));
        let resolved = std::mem::take(&mut ends.resolved);
        pending.aside.extend(resolved.into_iter().map(|seq| (seq, None)));
        if !ends.is_empty() {
            self.pending_dead.push((lane, ends));
        }
    }

    /// How long the oldest pending settle has waited.
    pub(super) fn oldest_wait(&self) -> Option<Duration> {
        self.pending_since.map(|since| since.elapsed())
    }

    /// Records that a commit with the pending settles failed.
    pub(super) fn commit_failed(&mut self) {
        self.failed_at = Some(Instant::now());
    }

    /// Returns whether a commit with the pending settles failed less than `time` ago.
    pub(super) fn has_failed_within(&self, time: Duration) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < time)
    }

    /// Writes the pending settles; [`Self::apply_settles`] removes them after the commit. Returns the events that
    /// announce new dead letters, to be stored in the same transaction.
    pub(super) fn write(&self, connection: &Connection, now: Moment) -> rusqlite::Result<Vec<Draft>> {
        for (id, pending) in &self.pending {
            let Some(lane) = self.known.get(id) else { continue };
            write_lane(connection, *lane, pending, now)?;
        }
        let mut notices = Vec::new();
        for (id, ends) in &self.pending_dead {
            let Some(lane) = self.known.get(id) else { continue };
            for omission in &ends.omitted {
                record_omission(connection, lane.home, omission)?;
            }
            for (dead_id, dead) in write_dead(connection, *lane, ends, now)? {
                notices
                    .extend(self.announces_dead.then(|| notice::of_dead_letter(dead_id, id, dead)).flatten());
            }
        }
        Ok(notices)
    }

    /// Applies the pending cursors and removes the pending settles, after the commit.
    pub(super) fn apply_settles(&mut self) {
        for (lane, pending) in std::mem::take(&mut self.pending) {
            if let (Some(lane), Some(cursor)) = (self.known.get_mut(&lane), pending.cursor) {
                lane.cursor = lane.cursor.max(cursor);
            }
        }
        self.pending_dead.clear();
        self.pending_since = None;
        self.failed_at = None;
    }

    /// The ids of the lanes whose handlers are known not to be configured, as an SQL list.
    pub(super) fn not_configured(&self) -> String {
        let lanes = self.known.values().filter(|lane| self.enrolled && !lane.configured);
        let mut ids: Vec<i64> = lanes.map(|lane| lane.id).collect();
        ids.sort_unstable();
        ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The seq above which retention must keep every event, and the handler that needs these events. `None` if no
    /// handler is configured.
    pub(super) fn needed_above(&self, connection: &Connection) -> rusqlite::Result<Option<(u64, Arc<str>)>> {
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

/// Reads the rows of all lanes. A transaction that changes replays calls this before its commit, and passes the rows to
/// [`Lanes::apply_replay_lanes`] after the commit.
pub(super) fn stored_lanes(connection: &Connection) -> rusqlite::Result<Vec<StoredLane>> {
    let mut select = connection.prepare_cached("SELECT id, handler, class, cursor, replay FROM lane")?;
    let rows = select.query_map([], |row| {
        let replay = Some(row.get(4)?).filter(|replay| *replay != 0);
        let lane = LaneId { handler: row.get(1)?, class: class_of(row.get(2)?), replay };
        Ok(StoredLane { lane, id: row.get(0)?, cursor: row.get(3)? })
    })?;
    rows.collect()
}

fn start_cursor(connection: &Connection, start: Option<LaneStart>, tip: u64) -> rusqlite::Result<u64> {
    match start {
        // In a journal that never held an event, the tip is 0, so a start at the tip is a start at the beginning.
        None | Some(LaneStart::Now) => Ok(tip),
        Some(LaneStart::Beginning) => Ok(0),
        Some(LaneStart::At(time)) => {
            Ok(super::reader::first_at_or_after(connection, time)?.map_or(tip, |seq| seq - 1))
        }
    }
}

/// Writes the cursor and the set-aside events of a lane. Deletes the marks of settled events that the cursor passes.
fn write_lane(
    connection: &Connection,
    lane: KnownLane,
    pending: &PendingLane,
    now: Moment,
) -> rusqlite::Result<()> {
    if let Some(cursor) = pending.cursor {
        connection
            .prepare_cached("UPDATE lane SET cursor = max(cursor, ?2) WHERE id = ?1")?
            .execute(params![lane.id, cursor])?;
        connection
            .prepare_cached(
                "DELETE FROM mark
                 WHERE name BETWEEN 'settled ' || ?1 || ' ' AND 'settled ' || ?1 || '!' AND value <= ?2",
            )?
            .execute(params![lane.id, cursor])?;
        record_cursor(connection, lane.id, cursor, now)?;
    }
    for (seq, row) in &pending.aside {
        let Some(row) = row else {
            connection
                .prepare_cached("DELETE FROM aside WHERE lane = ?1 AND seq = ?2")?
                .execute(params![lane.id, seq])?;
            continue;
        };
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO aside
                   (lane, seq, order_key, behind, attempts, since, next_try, error, history)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                lane.id,
                seq,
                row.order_key.map(|key| key.0.cast_signed()),
                row.behind,
                row.attempts,
                row.since.as_ms(),
                row.next_try.as_ms(),
                row.error,
                row.history.to_json()
            ])?;
    }
    Ok(())
}

/// Writes the changes of dead letters of one settle. Returns the new dead letters with their ids.
fn write_dead<'a>(
    connection: &Connection,
    lane: KnownLane,
    ends: &'a Ends,
    now: Moment,
) -> rusqlite::Result<Vec<(i64, &'a NewDead)>> {
    let mut new = Vec::new();
    for dead in &ends.dead {
        new.extend(store_dead(connection, lane, dead, now)?.map(|id| (id, dead)));
    }
    // The dead letters in `revived` were retried, and their events have been delivered. If an earlier dead letter of
    // such an event was dropped, a record says that the event was not delivered. Delete this record.
    let withdraw =
        "DELETE FROM omitted WHERE (lane, last, first) IN (SELECT lane, seq, seq FROM dead WHERE id = ?1)";
    each(connection, &ends.revived, withdraw)?;
    delete_dead(connection, &ends.revived)?;
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

/// Stores a dead letter and returns its id. If the event already has a dead letter, from the handler's own lane or from
/// a replay, updates that row and returns `None`.
fn store_dead(
    connection: &Connection,
    lane: KnownLane,
    dead: &NewDead,
    now: Moment,
) -> rusqlite::Result<Option<i64>> {
    let event = &dead.event;
    // `dead.at` is from the clock of the lane. A correction of the journal's clock does not change the clock of the
    // lane. If `dead.at` is later than the settle, or too long before it, the time of the settle is stored instead.
    let is_plausible = (0..=SETTLED_WITHIN_MS).contains(&now.at.ms_since(dead.at));
    let died_at = if is_plausible { dead.at } else { now.at };
    let values = params![
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
    ];
    if lane.replay != 0 {
        // If this dead letter of a replay replaces a dead letter of the handler's own lane, an omission records that
        // the own lane did not deliver the event. The omission is not shown as long as the new dead letter exists. When
        // the new dead letter is dropped or expires, the omission gets that cause and time. When a retry of the dead
        // letter delivers the event, the omission is deleted.
        connection
            .prepare_cached(
                "INSERT INTO omitted (lane, first, last, cause, at, user)
                   SELECT lane, seq, seq, ?3, ?4, '' FROM dead WHERE lane = ?1 AND seq = ?2 AND replay = 0",
            )?
            .execute(params![lane.home, event.seq, OmissionCause::Dropped.as_str(), now.at.as_ms()])?;
    }
    let updated = connection
        .prepare_cached(
            "UPDATE dead SET cause = ?6, attempts = ?7, error = ?8, died_at = ?9, history = ?10, replay = ?11, era = ?12
             WHERE lane = ?1 AND seq = ?2",
        )?
        .execute(values)?;
    if updated > 0 {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "INSERT INTO dead
               (lane, seq, came_at, source, raw, cause, attempts, error, died_at, history, replay, era)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(values)?;
    Ok(Some(connection.last_insert_rowid()))
}

/// Records events that are not delivered.
fn record_omission(connection: &Connection, lane: i64, omission: &Omission) -> rusqlite::Result<()> {
    let Omission { first, last, cause, at, by } = omission;
    connection
        .prepare_cached(
            "INSERT INTO omitted (lane, first, last, cause, at, user) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![lane, first, last, cause.as_str(), at.as_ms(), &**by])?;
    Ok(())
}

/// Adds a row to the cursor history.
fn record_cursor(connection: &Connection, lane: i64, upto: u64, now: Moment) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO settle (lane, upto, at, era) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![lane, upto, now.at.as_ms(), now.era])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, journal::History};

    const NOW: Moment = Moment { at: Timestamp::from_ms(1_000), era: 0 };

    fn aside(seq: u64, attempts: u32) -> Aside {
        Aside {
            seq,
            order_key: None,
            behind: false,
            attempts,
            since: NOW.at,
            next_try: NOW.at,
            error: "status 500".to_owned(),
            history: History::default(),
        }
    }

    /// The lanes of the handler "crm" in a file without events, and the id of one lane.
    fn lanes() -> (Connection, Lanes, LaneId) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        connection.execute_batch(include_str!("schema-omitted.sql")).unwrap();
        let mut lanes = Lanes::load(&connection).unwrap();
        let crm = Enrolment { handler: "crm".into(), start: Some(LaneStart::Beginning), dead_letters: false };
        let enrolled = lanes.enrol(&connection, &[crm], 0, NOW).unwrap();
        lanes.apply_enrolment(enrolled);
        (connection, lanes, LaneId::live("crm".into(), Class::Other))
    }

    #[test]
    fn pending_settles_of_the_same_event_are_merged_into_its_last_state() {
        let (connection, mut lanes, lane) = lanes();
        let settle = |set_aside, resolved| Ends { set_aside, resolved, ..Ends::default() };
        for attempts in 1..=1_000 {
            let ends = settle(vec![aside(7, attempts), aside(8, attempts)], vec![]);
            lanes.queue_settle(lane.clone(), Ends { cursor: Some(attempts.into()), ..ends });
        }
        lanes.queue_settle(lane.clone(), settle(vec![aside(9, 1)], vec![8]));
        lanes.queue_settle(lane.clone(), settle(vec![], vec![9]));
        lanes.queue_settle(lane.clone(), settle(vec![aside(9, 2), aside(10, 1)], vec![10]));
        assert_eq!((lanes.pending[&lane].aside.len(), lanes.pending_dead.len()), (4, 0));

        let id = lanes.known[&lane].id;
        let rows = |sql: &str| -> Vec<(u64, u64)> {
            let mut select = connection.prepare(sql).unwrap();
            let rows = select.query_map([id], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        lanes.write(&connection, NOW).unwrap();
        assert_eq!(
            rows("SELECT seq, attempts FROM aside WHERE lane = ?1 ORDER BY seq"),
            [(7, 1_000), (9, 2)]
        );
        assert_eq!(rows("SELECT cursor, 0 FROM lane WHERE id = ?1"), [(1_000, 0)]);
        // The enrolment wrote one row, and all settles together wrote one.
        assert_eq!(rows("SELECT count(*), max(upto) FROM settle WHERE lane = ?1"), [(2, 1_000)]);
        lanes.apply_settles();
        assert!(lanes.pending.is_empty() && lanes.oldest_wait().is_none());
    }

    #[test]
    fn a_failed_commit_delays_the_next_one_until_a_commit_succeeds() {
        let (_connection, mut lanes, lane) = lanes();
        lanes.queue_settle(lane, Ends { cursor: Some(1), ..Ends::default() });
        assert!(!lanes.has_failed_within(Duration::from_secs(3_600)));
        lanes.commit_failed();
        assert!(lanes.has_failed_within(Duration::from_secs(3_600)));
        assert!(!lanes.has_failed_within(Duration::ZERO));
        lanes.apply_settles();
        assert!(!lanes.has_failed_within(Duration::from_secs(3_600)));
    }
}
