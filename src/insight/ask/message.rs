//! One message: what became of it, and how it was told.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{
    super::{
        failures::Failures,
        state::{State, Step},
    },
    words::Words,
};
use crate::{
    clock::Timestamp,
    event::{Category, OrderKey, Owner, Status},
};

/// A message that was told of so much later than it was made came late.
const LATE_MS: i64 = 60_000;

/// A message, in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its place among all messages, in the order in which they were first seen.
    pub id: i64,
    /// BIK's id of it.
    pub message_id: String,
    /// The source that its events came in by.
    pub source: Arc<str>,
    /// The store.
    pub store: Option<Arc<str>>,
    /// The channel.
    pub channel: Option<Arc<str>>,
    /// The customer sent it.
    pub incoming: bool,
    /// Who sent it; `None` for one from a customer.
    pub owner: Option<Arc<str>>,
    /// Which of these.
    pub owner_id: Option<Arc<str>>,
    /// BIK's category of the owner.
    pub category: Option<&'static str>,
    /// What became of it; `None` for one from a customer.
    pub state: Option<State>,
    /// It was taken back.
    pub deleted: bool,
    /// BIK's text of its failure.
    pub reason: Option<String>,
    /// The class of its failure; `None` where it has not failed.
    pub failure: Option<String>,
    /// The customer's number in insight, for [`super::conversation()`].
    pub contact: Option<i64>,
    /// The customer's address on the channel.
    pub address: Option<String>,
    /// The customer's name.
    pub name: Option<String>,
    /// The event that it was first seen in.
    pub first_seq: u64,
    /// When it was first seen, by our clock.
    pub first_at: Timestamp,
    /// When something was last heard of it, by our clock.
    pub last_at: Timestamp,
    /// When it was made, as BIK says.
    pub created_at: Option<Timestamp>,
}

/// The columns that [`Message::from_row`] reads.
pub const COLUMNS: &str = "message.id, message.message_id, slice.source, slice.store, slice.channel, slice.owner,
    slice.owner_id, message.incoming, message.state, message.deleted, reason.text, message.contact, contact.address,
    contact.name, message.first_seq, message.first_at, message.last_at, message.created_at";
/// What they are of.
pub const TABLES: &str = "message JOIN slice ON slice.id = message.slice
    LEFT JOIN contact ON contact.id = message.contact LEFT JOIN reason ON reason.id = message.reason";

impl Message {
    /// From a row of `COLUMNS`.
    pub fn from_row(row: &Row<'_>, words: &Words<'_>, failures: &Failures) -> rusqlite::Result<Self> {
        let owner = words.optional(row.get(5)?)?;
        let state = row.get::<_, Option<usize>>(8)?.and_then(|state| State::ALL.get(state).copied());
        let reason: Option<String> = row.get(10)?;
        let failed = state == Some(State::Failed);
        Ok(Self {
            id: row.get(0)?,
            message_id: row.get(1)?,
            source: words.text(row.get(2)?)?,
            store: words.optional(row.get(3)?)?,
            channel: words.optional(row.get(4)?)?,
            category: owner.as_deref().and_then(category_of),
            owner,
            owner_id: words.optional(row.get(6)?)?,
            incoming: row.get(7)?,
            state,
            deleted: row.get(9)?,
            failure: failed.then(|| failures.class_of(reason.as_deref()).to_owned()),
            reason,
            contact: row.get(11)?,
            address: row.get(12)?,
            name: row.get(13)?,
            first_seq: row.get(14)?,
            first_at: Timestamp::from_ms(row.get(15)?),
            last_at: Timestamp::from_ms(row.get(16)?),
            created_at: row.get::<_, Option<i64>>(17)?.map(Timestamp::from_ms),
        })
    }
}

/// BIK's category of an owner's word.
pub fn category_of(owner: &str) -> Option<&'static str> {
    Owner::from(owner).category().map(Category::as_str)
}

/// A message with everything that was told of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// What was told of it, in the order of arrival.
    pub sightings: Vec<Sighting>,
}

/// What one event told of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// The event.
    pub seq: u64,
    /// The status; `None`: the message itself.
    pub status: Option<Arc<str>>,
    /// When it came, by our clock.
    pub at: Timestamp,
    /// BIK's `createdAt`.
    pub created_at: Option<Timestamp>,
    /// A later step had been told before.
    pub disordered: bool,
    /// It had been told before.
    pub repeated: bool,
    /// It came more than a minute after BIK made it. Of the first that was told alone: later statuses repeat `createdAt`.
    pub late: bool,
}

/// A message by BIK's id, from each source that has one of that id.
///
/// # Errors
/// Whatever SQLite says.
pub fn timeline(
    connection: &Connection,
    message_id: &str,
    failures: &Failures,
) -> rusqlite::Result<Vec<Timeline>> {
    let words = Words::new(connection);
    let sources: Vec<i64> = connection
        .prepare_cached("SELECT DISTINCT source FROM slice")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut timelines = Vec::new();
    for source in sources {
        let key = OrderKey::of(&words.text(source)?, message_id).0.cast_signed();
        let message = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE message.key = ?1"))?
            .query_row([key], |row| Message::from_row(row, &words, failures))
            .optional()?;
        if let Some(message) = message {
            let sightings = sightings(connection, &words, message.id)?;
            timelines.push(Timeline { message, sightings });
        }
    }
    Ok(timelines)
}

/// A message by its place among all messages ([`Message::id`]); `None` where there is none.
///
/// # Errors
/// Whatever SQLite says.
pub fn timeline_of(
    connection: &Connection,
    id: i64,
    failures: &Failures,
) -> rusqlite::Result<Option<Timeline>> {
    let words = Words::new(connection);
    let message = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE message.id = ?1"))?
        .query_row([id], |row| Message::from_row(row, &words, failures))
        .optional()?;
    let Some(message) = message else { return Ok(None) };
    let sightings = sightings(connection, &words, message.id)?;
    Ok(Some(Timeline { message, sightings }))
}

fn sightings(connection: &Connection, words: &Words<'_>, message: i64) -> rusqlite::Result<Vec<Sighting>> {
    let mut select = connection.prepare_cached(
        "SELECT seq, status, at, created_at FROM sighting WHERE message = ?1 ORDER BY seq LIMIT 1000",
    )?;
    let mut rows = select.query(params![message])?;
    let mut sightings: Vec<Sighting> = Vec::new();
    let mut reached = None;
    while let Some(row) = rows.next()? {
        let status = match row.get(1)? {
            0 => None,
            status => Some(words.text(status)?),
        };
        let step = status.as_deref().and_then(|status| Step::of(&Status::from(status)));
        let repeated = sightings.iter().any(|known| known.status == status);
        let (at, created_at) =
            (Timestamp::from_ms(row.get(2)?), row.get::<_, Option<i64>>(3)?.map(Timestamp::from_ms));
        sightings.push(Sighting {
            seq: row.get(0)?,
            disordered: !repeated && step.is_some() && step < reached,
            repeated,
            late: sightings.is_empty() && created_at.is_some_and(|made| at.ms_since(made) > LATE_MS),
            status,
            at,
            created_at,
        });
        reached = reached.max(step);
    }
    Ok(sightings)
}
