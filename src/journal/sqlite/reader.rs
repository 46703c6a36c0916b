//! Reads events, dead letters and quarantine entries in pages of at most 1,000 rows, so that no read transaction blocks
//! a reset of the write-ahead log for long. Rows of events are decoded after the read transaction.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::{
    eras::Eras,
    group::{class_number, class_of},
};
use crate::{
    clock::Timestamp,
    event::{Class, Element, Event, OWN_SOURCE, OrderKey, Position, Quarantined, Reason, excerpt},
    journal::{
        ASIDE_ERROR_CHARS, Aside, Cause, Claim, DeadLetter, DeadQuery, DeliveryState, Error, EventPage,
        EventQuery, HandlerProgress, History, LaneId, LaneState, OmissionCause, QuarantineEntry,
        QuarantineQuery,
    },
};

/// Maximum number of rows in a page. A page of events is selected from at most this many seqs.
pub(super) const PAGE: u64 = 1_000;
/// A claim or page takes no further event once it has this many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// Access to the file, one read transaction at a time.
pub(super) trait Pages {
    /// Runs one read transaction.
    fn page<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error>;
}

pub(super) fn unreadable(error: rusqlite::Error) -> Error {
    Error::Read(error.to_string().into())
}

/// The undecoded row of an event. It is decoded outside the read transaction, except by [`retrying`].
struct RawEvent {
    seq: u64,
    received_at: Timestamp,
    came_at: Timestamp,
    source: Arc<str>,
    raw: Vec<u8>,
}

impl RawEvent {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let received_at = Timestamp::from_ms(row.get(1)?);
        let behind: i64 = row.get(4)?;
        Ok(Self {
            seq: row.get(0)?,
            received_at,
            came_at: received_at.plus_ms(-behind),
            source: row.get(2)?,
            raw: row.get(3)?,
        })
    }

    /// Decodes the payload of the row.
    ///
    /// # Errors
    /// Returns [`Error::Row`] if the stored bytes can no longer be decoded.
    fn decode(self) -> Result<Arc<Event>, Error> {
        let element = Element::read(&self.raw)
            .map_err(|error| Error::Row { seq: self.seq, what: error.to_string().into() })?;
        Ok(Arc::new(Event {
            seq: self.seq,
            came_at: self.came_at,
            received_at: self.received_at,
            source: self.source,
            element: Arc::new(element),
        }))
    }
}

const EVENT: &str = "SELECT seq, received_at, source, raw, behind FROM event";

/// Reads rows until it has `max` rows, [`PAGE`] rows or [`PAGE_BYTES`]. If it stops at one of these limits, it also
/// returns the seq of the last row.
fn take(mut found: Rows<'_>, max: usize) -> rusqlite::Result<(Vec<RawEvent>, Option<u64>)> {
    let max = max.clamp(1, PAGE as usize);
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let event = RawEvent::from_row(row)?;
        let seq = event.seq;
        bytes += event.raw.len();
        rows.push(event);
        if rows.len() >= max || bytes >= PAGE_BYTES {
            return Ok((rows, Some(seq)));
        }
    }
    Ok((rows, None))
}

/// The events of a class in `after+1 ..= through`: at most `max`, and at most one page. The claim ends before the first
/// row that cannot be decoded.
///
/// # Errors
/// Returns [`Error::Row`] if the very first row cannot be decoded.
pub(super) fn claim(
    pages: &impl Pages,
    class: Class,
    after: u64,
    through: u64,
    max: usize,
) -> Result<Claim, Error> {
    let (rows, stopped_at) = pages.page(|connection| {
        let mut select = connection
            .prepare_cached(&format!("{EVENT} WHERE seq > ?1 AND seq <= ?2 AND class = ?3 ORDER BY seq"))?;
        take(select.query(params![after, through, class_number(class)])?, max)
    })?;
    let mut claim = Claim { events: Vec::with_capacity(rows.len()), through: stopped_at.unwrap_or(through) };
    for row in rows {
        match row.decode() {
            Ok(event) => claim.events.push(event),
            Err(error) => match claim.events.last() {
                None => return Err(error),
                Some(last) => {
                    claim.through = last.seq;
                    break;
                }
            },
        }
    }
    Ok(claim)
}

/// One event; `None` if it is not stored.
pub(super) fn get(pages: &impl Pages, seq: u64) -> Result<Option<Arc<Event>>, Error> {
    let row = pages.page(|connection| {
        // SQLite integers are signed, so a seq above `i64::MAX` cannot be stored.
        let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
        let mut select = connection.prepare_cached(&format!("{EVENT} WHERE seq = ?1"))?;
        select.query_row([seq], RawEvent::from_row).optional()
    })?;
    row.map(RawEvent::decode).transpose()
}

/// The lowest and the highest stored seq; `None` if no event is stored.
pub(super) fn span(connection: &Connection) -> rusqlite::Result<Option<(u64, u64)>> {
    let end = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<u64>>(0));
    let low = end("SELECT min(seq) FROM event")?;
    let high = end("SELECT max(seq) FROM event")?;
    Ok(low.zip(high))
}

/// The seq of the first event received at `time` or later. Bisects each clock era separately, because `received_at`
/// can decrease from one era to the next, but not inside an era.
pub(super) fn first_at_or_after(connection: &Connection, time: Timestamp) -> rusqlite::Result<Option<u64>> {
    let Some((low, high)) = span(connection)? else { return Ok(None) };
    for (low, end) in Eras::load(connection)?.parts(low, high + 1) {
        let edge = edge(connection, low, end, time)?;
        if edge < end {
            return Ok(Some(edge));
        }
    }
    Ok(None)
}

/// The first seq of `low..end` received at `time` or later; `end` if there is none. The range must be in one era.
fn edge(connection: &Connection, mut low: u64, end: u64, time: Timestamp) -> rusqlite::Result<u64> {
    let mut edge = end;
    let mut received_at = connection.prepare_cached("SELECT received_at FROM event WHERE seq = ?1")?;
    while low < edge {
        let middle = low + (edge - low) / 2;
        // A missing row counts as too early, so the search continues after it.
        let at: Option<i64> = received_at.query_row([middle], |row| row.get(0)).optional()?;
        if at.is_some_and(|at| at >= time.as_ms()) {
            edge = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(edge)
}

/// The ranges of seqs that match `since`, `until` and `before`, in order: at most one per era, none of them empty.
fn ranges(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Vec<(u64, u64)>> {
    let Some((low, high)) = span(connection)? else { return Ok(Vec::new()) };
    let end = (high + 1).min(query.before.unwrap_or(u64::MAX));
    if query.since.is_none() && query.until.is_none() {
        return Ok(Vec::from_iter((low < end).then_some((low, end))));
    }
    let mut ranges = Vec::new();
    for (low, high) in Eras::load(connection)?.parts(low, high + 1) {
        let from = query.since.map_or(Ok(low), |since| edge(connection, low, high, since))?;
        let to = query.until.map_or(Ok(high), |until| edge(connection, low, high, until))?.min(end);
        if from < to {
            ranges.push((from, to));
        }
    }
    Ok(ranges)
}

/// A page of events, newest first.
pub(super) fn events(pages: &impl Pages, query: &EventQuery) -> Result<EventPage, Error> {
    let (rows, next) = pages.page(|connection| event_rows(connection, query))?;
    Ok(EventPage { events: rows.into_iter().map(RawEvent::decode).collect::<Result<_, _>>()?, next })
}

fn event_rows(connection: &Connection, query: &EventQuery) -> rusqlite::Result<(Vec<RawEvent>, Option<u64>)> {
    let mut ranges = ranges(connection, query)?;
    let Some((low, end)) = ranges.pop() else { return Ok((Vec::new(), None)) };
    let from = end.saturating_sub(PAGE).max(low);
    let mut select = connection.prepare_cached(&format!(
        "{EVENT} WHERE seq >= ?1 AND seq < ?2 AND (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR source = ?4)
           AND (?5 IS NULL OR source <> ?5) ORDER BY seq DESC"
    ))?;
    let without = query.without_own.then_some(OWN_SOURCE);
    let found = select.query(params![from, end, query.name, query.source, without])?;
    let (rows, stopped_at) = take(found, query.limit)?;
    let searched_to = stopped_at.unwrap_or(from);
    let next = if searched_to > low { Some(searched_to) } else { ranges.pop().map(|(_, end)| end) };
    Ok((rows, next))
}

/// The delivery state of a lane; `None` if the lane is unknown.
pub(super) fn lane(connection: &Connection, lane: &LaneId) -> rusqlite::Result<Option<LaneState>> {
    let Some((id, cursor)) = lane_row(connection, lane)? else { return Ok(None) };
    let own = LaneId { replay: None, ..lane.clone() };
    let Some((home, _)) = lane_row(connection, &own)? else { return Ok(None) };
    let aside = connection
        .prepare_cached(
            "SELECT seq, order_key, behind, attempts, since, next_try, error, history FROM aside WHERE lane = ?1
             ORDER BY seq",
        )?
        .query_map([id], |row| {
            Ok(Aside {
                seq: row.get(0)?,
                order_key: row.get::<_, Option<i64>>(1)?.map(|key| OrderKey(key.cast_unsigned())),
                behind: row.get(2)?,
                attempts: row.get(3)?,
                since: Timestamp::from_ms(row.get(4)?),
                next_try: Timestamp::from_ms(row.get(5)?),
                // An earlier version stored longer texts.
                error: excerpt(row.get_ref(6)?.as_str()?, ASIDE_ERROR_CHARS).into_owned(),
                history: History::from_json(row.get_ref(7)?.as_str()?),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let dead = connection
        .prepare_cached("SELECT count(*) FROM dead WHERE lane = ?1")?
        .query_row([id], |row| row.get(0))?;
    let dead_past_cursor = connection
        .prepare_cached(
            "SELECT seq FROM dead WHERE lane = ?1 AND seq > ?2 AND replay = ?3
             UNION SELECT value FROM mark
               WHERE name BETWEEN 'settled ' || ?1 || ' ' AND 'settled ' || ?1 || '!' AND value > ?2 AND ?3 = 0
             ORDER BY 1",
        )?
        .query_map(params![home, cursor, lane.replay.unwrap_or_default()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(LaneState { cursor, aside, dead, dead_past_cursor }))
}

/// The seqs in `after+1 ..= through` that a lane has set aside; empty if the lane is unknown.
pub(super) fn set_aside(
    connection: &Connection,
    lane: &LaneId,
    after: u64,
    through: u64,
) -> rusqlite::Result<Vec<u64>> {
    let Some((id, _)) = lane_row(connection, lane)? else { return Ok(Vec::new()) };
    connection
        .prepare_cached("SELECT seq FROM aside WHERE lane = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq")?
        .query_map(params![id, after, through], |row| row.get(0))?
        .collect()
}

/// The progress of the event `seq`, which is of class `class`, through each known handler, sorted by name.
pub(super) fn handler_progress(
    connection: &Connection,
    class: Class,
    seq: u64,
) -> rusqlite::Result<Vec<HandlerProgress>> {
    // The time from which a lane was done with the event is known only if the lane's cursor history (table `settle`)
    // has a row with an `upto` below `seq`, and one with an `upto` of at least `seq`.
    connection
        .prepare_cached(
            "SELECT lane.handler, lane.cursor >= ?2,
               (SELECT at FROM settle WHERE lane = lane.id AND upto >= ?2
                  AND EXISTS (SELECT 1 FROM settle AS before WHERE before.lane = lane.id AND before.upto < ?2)
                ORDER BY upto, settle.id LIMIT 1),
               (SELECT since FROM aside WHERE aside.lane = lane.id AND seq = ?2),
               dead.id, dead.died_at, omitted.cause, omitted.at, omitted.user
             FROM lane
               LEFT JOIN dead ON dead.id = (SELECT max(id) FROM dead WHERE dead.lane = lane.id AND seq = ?2)
               LEFT JOIN omitted ON omitted.id = coalesce(
                 (SELECT id FROM omitted AS one
                  WHERE one.lane = lane.id AND one.last = ?2 AND one.first = ?2 LIMIT 1),
                 (SELECT id FROM omitted AS many
                  WHERE many.lane = lane.id AND many.last >= ?2 AND many.first <= ?2 AND many.first < many.last
                  ORDER BY many.last LIMIT 1))
             WHERE lane.class = ?1 AND lane.replay = 0 ORDER BY lane.handler",
        )?
        .query_map(params![class_number(class), seq], |row| progress(row, class))?
        .collect()
}

fn progress(row: &Row<'_>, class: Class) -> rusqlite::Result<HandlerProgress> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_ms));
    let (passed, dead): (bool, Option<i64>) = (row.get(1)?, row.get(4)?);
    let (settled_at, aside_since, died_at, omitted_at) = (time(2)?, time(3)?, time(5)?, time(7)?);
    let cause: Option<String> = row.get(6)?;
    let by: Option<Arc<str>> = row.get::<_, Option<Arc<str>>>(8)?.filter(|user| !user.is_empty());
    let (state, at) = match cause.as_deref().and_then(OmissionCause::from_name) {
        _ if aside_since.is_some() => (DeliveryState::SetAside, aside_since),
        _ if dead.is_some() => (DeliveryState::Dead, died_at),
        Some(OmissionCause::Start) => (DeliveryState::BeforeStart, None),
        Some(OmissionCause::Skipped) => (DeliveryState::Skipped, omitted_at),
        Some(OmissionCause::Dropped) => (DeliveryState::Dropped, omitted_at),
        Some(OmissionCause::Expired) => (DeliveryState::Expired, omitted_at),
        None if passed => (DeliveryState::Delivered, settled_at),
        None => (DeliveryState::Waiting, None),
    };
    let by = by.filter(|_| matches!(state, DeliveryState::Skipped | DeliveryState::Dropped));
    let aside = aside_since.is_some();
    Ok(HandlerProgress { handler: row.get(0)?, class, state, by, passed, at, aside, dead })
}

/// The id and the cursor of a lane.
fn lane_row(connection: &Connection, lane: &LaneId) -> rusqlite::Result<Option<(i64, u64)>> {
    connection
        .prepare_cached("SELECT id, cursor FROM lane WHERE handler = ?1 AND class = ?2 AND replay = ?3")?
        .query_row(
            params![&*lane.handler, class_number(lane.class), lane.replay.unwrap_or_default()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
}

/// The undecoded row of a dead letter.
struct RawDead {
    event: RawEvent,
    id: i64,
    lane: LaneId,
    cause: String,
    attempts: u32,
    error: String,
    died_at: Timestamp,
    retrying: bool,
    history: History,
}

const DEAD: &str = "SELECT dead.seq, dead.came_at, dead.source, dead.raw, 0, dead.id, lane.handler, lane.class,
    dead.cause, dead.attempts, dead.error, dead.died_at, dead.retrying, dead.history FROM dead JOIN lane ON lane.id = dead.lane";

impl RawDead {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            event: RawEvent::from_row(row)?,
            id: row.get(5)?,
            lane: LaneId::live(row.get(6)?, class_of(row.get(7)?)),
            cause: row.get(8)?,
            attempts: row.get(9)?,
            error: row.get(10)?,
            died_at: Timestamp::from_ms(row.get(11)?),
            retrying: row.get(12)?,
            history: History::from_json(row.get_ref(13)?.as_str()?),
        })
    }

    /// Decodes the payload and the cause.
    ///
    /// # Errors
    /// Returns [`Error::Row`] if the payload or the cause cannot be decoded.
    fn decode(self) -> Result<DeadLetter, Error> {
        let unknown = || Error::Row { seq: self.event.seq, what: "unknown cause of the dead letter".into() };
        Ok(DeadLetter {
            id: self.id,
            cause: Cause::from_name(&self.cause).ok_or_else(unknown)?,
            lane: self.lane,
            event: self.event.decode()?,
            attempts: self.attempts,
            error: self.error,
            died_at: self.died_at,
            retrying: self.retrying,
            history: self.history,
        })
    }
}

/// A page of dead letters, newest first.
pub(super) fn dead_letters(pages: &impl Pages, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
    let rows: Vec<RawDead> = pages.page(|connection| {
        connection
            .prepare_cached(&format!(
                "{DEAD} WHERE dead.id < ?1 AND (?2 IS NULL OR lane.handler = ?2) ORDER BY dead.id DESC LIMIT ?3"
            ))?
            .query_map(
                params![query.before.unwrap_or(i64::MAX), query.handler, query.limit.clamp(1, PAGE as usize)],
                RawDead::from_row,
            )?
            .collect()
    })?;
    rows.into_iter().map(RawDead::decode).collect()
}

/// One dead letter; `None` if the id is unknown.
pub(super) fn dead_letter(pages: &impl Pages, id: i64) -> Result<Option<DeadLetter>, Error> {
    let row = pages.page(|connection| {
        let mut select = connection.prepare_cached(&format!("{DEAD} WHERE dead.id = ?1"))?;
        select.query_row([id], RawDead::from_row).optional()
    })?;
    row.map(RawDead::decode).transpose()
}

/// The dead letters of a lane that are marked for retry, oldest first: at most [`PAGE`], and no further dead letter
/// after [`PAGE_BYTES`]. Those that cannot be decoded are logged and left out.
pub(super) fn retrying(connection: &Connection, lane: &LaneId) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut select = connection.prepare_cached(&format!(
        "{DEAD} WHERE dead.retrying = 1 AND lane.handler = ?1 AND lane.class = ?2 AND lane.replay = 0
         ORDER BY dead.id"
    ))?;
    let mut found = select.query(params![&*lane.handler, class_number(lane.class)])?;
    let mut letters = Vec::new();
    let mut bytes = 0;
    while bytes < PAGE_BYTES
        && letters.len() < PAGE as usize
        && let Some(row) = found.next()?
    {
        let raw = RawDead::from_row(row)?;
        let (id, size) = (raw.id, raw.event.raw.len());
        match raw.decode() {
            Ok(letter) => {
                bytes += size;
                letters.push(letter);
            }
            Err(error) => {
                tracing::error!(
                    dead = id,
                    error = error.class(),
                    "dead letter marked for retry cannot be read"
                );
            }
        }
    }
    Ok(letters)
}

/// Number of dead letters per handler, including handlers that have none.
pub(super) fn dead_counts(connection: &Connection) -> rusqlite::Result<Vec<(Arc<str>, u64)>> {
    connection
        .prepare_cached(
            "SELECT lane.handler, count(dead.id) FROM lane LEFT JOIN dead ON dead.lane = lane.id WHERE lane.replay = 0
             GROUP BY lane.handler ORDER BY lane.handler",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

const QUARANTINE: &str =
    "SELECT id, source, reason, detail, conflicts_with, bytes, count, first_at, last_at FROM quarantine";

fn quarantine_row(row: &Row<'_>) -> rusqlite::Result<QuarantineEntry> {
    let reason: String = row.get(2)?;
    let reason = Reason::from_name(&reason).ok_or(rusqlite::Error::InvalidQuery)?;
    let detail: String = row.get(3)?;
    Ok(QuarantineEntry {
        id: row.get(0)?,
        at: Position::read(&detail),
        item: Quarantined { source: row.get(1)?, reason, detail, bytes: row.get(5)? },
        conflicts_with: row.get(4)?,
        count: row.get(6)?,
        first_at: Timestamp::from_ms(row.get(7)?),
        last_at: Timestamp::from_ms(row.get(8)?),
    })
}

/// A page of the quarantine, newest first.
pub(super) fn quarantine(
    connection: &Connection,
    query: &QuarantineQuery,
) -> rusqlite::Result<Vec<QuarantineEntry>> {
    connection
        .prepare_cached(&format!("{QUARANTINE} WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map(
            params![query.before.unwrap_or(i64::MAX), query.limit.clamp(1, PAGE as usize)],
            quarantine_row,
        )?
        .collect()
}

/// One quarantine entry; `None` if the id is unknown.
pub(super) fn quarantined(connection: &Connection, id: i64) -> rusqlite::Result<Option<QuarantineEntry>> {
    connection
        .prepare_cached(&format!("{QUARANTINE} WHERE id = ?1"))?
        .query_row([id], quarantine_row)
        .optional()
}

/// Number of quarantine entries.
pub(super) fn quarantine_count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached("SELECT count(*) FROM quarantine")?.query_row([], |row| row.get(0))
}
