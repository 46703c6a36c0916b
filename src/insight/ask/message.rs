//! One message: its state, and the events that reported it.

use std::{borrow::Cow, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        contact_key::{ContactKey, ContactKeyKind},
        failures::FailureClasses,
        public_id::PublicId,
        state::{MessageState, MessageStep},
    },
    words::WordLookup,
};
use crate::{
    clock::Timestamp,
    event::{Category, OrderKey, Owner, Status},
};

/// The first event of a message is late if it comes more than this many milliseconds after the message was created.
const LATE_MS: i64 = 60_000;

// The command line reads the state as a `String`, so `S` is a parameter.
//
// An entry of a conversation has the members of a message and others, such as `kind` and `text`. The schema of a
// message forbids others, because of `deny_unknown_fields`. So in the schema of an entry, schemars lists all members
// instead of referring to the schema of a message.
/// A message, as shown in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Message", deny_unknown_fields)]
pub struct MessageRow<S = MessageState> {
    /// The id in insight's file; messages are numbered in the order in which they were first seen.
    pub id: i64,
    pub message_id: String,
    /// The source that received the message's events.
    pub source: Arc<str>,
    pub store: Option<Arc<str>>,
    pub channel: Option<Arc<str>>,
    /// Whether the customer sent the message.
    pub incoming: bool,
    /// BIK's word for the sender; null if it is unknown, as for a message from a customer.
    pub owner: Option<Arc<str>>,
    /// The id of the sender, such as the id of a broadcast or an automation.
    pub owner_id: Option<Arc<str>>,
    /// BIK's category of the owner; null if the owner is unknown or has none.
    pub category: Option<Cow<'static, str>>,
    /// The state of the message; null for a message from a customer.
    pub state: Option<S>,
    /// Whether the message was deleted.
    pub deleted: bool,
    /// BIK's text about the failure.
    pub reason: Option<String>,
    /// The class of the failure; null unless the state is `failed`.
    pub failure: Option<String>,
    /// The customer's id; null if the customer is unknown.
    pub contact: Option<PublicId>,
    /// The first of the customer's addresses; phone numbers come first.
    pub address: Option<String>,
    pub name: Option<String>,
    /// The seq of the event in which the message was first seen.
    pub first_seq: u64,
    /// When the message was first seen, by our clock.
    pub first_at: Timestamp,
    /// When the last event about the message was received, by our clock.
    pub last_at: Timestamp,
    /// When the message was created, according to BIK.
    pub created_at: Option<Timestamp>,
    /// The time of the message in its conversation: the earliest among the times of receipt and the valid `createdAt`
    /// times of its events.
    pub said_at: Timestamp,
    /// The customer's id in insight's file.
    #[serde(skip)]
    pub(super) contact_number: Option<i64>,
}

/// The columns that [`MessageRow::from_row`] reads.
pub(super) const COLUMNS: &str = "message.id, message.message_id, slice.source, slice.store, slice.channel, slice.owner,
    slice.owner_id, message.incoming, message.state, message.deleted, reason.text, contact.public, contact.keys,
    contact.name, message.first_seq, message.first_at, message.last_at, message.created_at, message.said_at, contact.id";
/// The tables that hold `COLUMNS`.
pub(super) const TABLES: &str = "message JOIN slice ON slice.id = message.slice
    LEFT JOIN contact ON contact.id = message.contact LEFT JOIN reason ON reason.id = message.reason";

impl MessageRow {
    /// Reads a message from a row of `COLUMNS`.
    pub(super) fn from_row(
        row: &Row<'_>,
        words: &WordLookup<'_>,
        failures: &FailureClasses,
    ) -> rusqlite::Result<Self> {
        let owner = words.optional(row.get(5)?)?;
        let state = row.get::<_, Option<usize>>(8)?.and_then(|state| MessageState::ALL.get(state).copied());
        let reason: Option<String> = row.get(10)?;
        let failed = state == Some(MessageState::Failed);
        let said_at = Timestamp::from_ms(row.get(18)?);
        Ok(Self {
            id: row.get(0)?,
            message_id: row.get(1)?,
            source: words.text(row.get(2)?)?,
            store: words.optional(row.get(3)?)?,
            channel: words.optional(row.get(4)?)?,
            category: owner.as_deref().and_then(category_of).map(Cow::from),
            owner,
            owner_id: words.optional(row.get(6)?)?,
            incoming: row.get(7)?,
            state,
            deleted: row.get(9)?,
            failure: failed.then(|| failures.class_of(reason.as_deref()).to_owned()),
            reason,
            contact: row.get::<_, Option<_>>(11)?.map(PublicId::from_bytes),
            address: row.get::<_, Option<String>>(12)?.and_then(|keys| first_address(&keys)),
            name: row.get(13)?,
            first_seq: row.get(14)?,
            first_at: Timestamp::from_ms(row.get(15)?),
            last_at: Timestamp::from_ms(row.get(16)?),
            created_at: row.get::<_, Option<i64>>(17)?.map(|ms| said_at.plus_ms(ms)),
            said_at,
            contact_number: row.get(19)?,
        })
    }
}

/// Returns the address to show for a customer with these keys; `None` if no key is an address.
fn first_address(keys: &str) -> Option<String> {
    let keys = ContactKey::list(keys).into_iter().filter(|key| key.kind != ContactKeyKind::Customer);
    keys.min().map(|key| key.shown().to_owned())
}

/// Returns BIK's category of an owner; `None` if the owner has none.
pub(super) fn category_of(owner: &str) -> Option<&'static str> {
    Owner::from(owner).category().map(Category::as_str)
}

/// A message and the events that reported it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline<S = MessageState> {
    /// The message itself.
    #[serde(flatten)]
    pub message: MessageRow<S>,
    /// The events about the message, in order of arrival; only the first 1,000.
    pub sightings: Vec<Sighting>,
}

/// The report of one event about a message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    pub seq: u64,
    /// The reported status; null if the event reports none, as for a message from a customer.
    pub status: Option<Arc<str>>,
    /// When the event was received, by our clock.
    pub at: Timestamp,
    /// The value of BIK's `createdAt`.
    pub created_at: Option<Timestamp>,
    /// Whether the status came after one that should follow it, such as `sent` after `read`. Always false if `repeated`
    /// is true.
    pub disordered: bool,
    /// Whether the same status had been reported before.
    pub repeated: bool,
    /// Whether the event came more than a minute after BIK created the message. Only the first event of a message can
    /// be late. Later events repeat the message's `createdAt`, so it does not tell how late they are.
    pub late: bool,
}

/// Returns the messages with this id of BIK: one per source that has it.
///
/// # Errors
/// Returns SQLite errors.
pub fn timeline(
    connection: &Connection,
    message_id: &str,
    failures: &FailureClasses,
) -> rusqlite::Result<Vec<Timeline>> {
    let words = WordLookup::new(connection);
    let sources: Vec<i64> = connection
        .prepare_cached("SELECT DISTINCT source FROM slice")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut timelines = Vec::new();
    for source in sources {
        let key = OrderKey::of(&words.text(source)?, message_id).0.cast_signed();
        timelines.extend(timeline_where(connection, "message.key", key, &words, failures)?);
    }
    Ok(timelines)
}

/// Returns a message by its id in insight's file ([`MessageRow::id`]); `None` if there is none.
///
/// # Errors
/// Returns SQLite errors.
pub fn timeline_of(
    connection: &Connection,
    id: i64,
    failures: &FailureClasses,
) -> rusqlite::Result<Option<Timeline>> {
    timeline_where(connection, "message.id", id, &WordLookup::new(connection), failures)
}

/// Returns the message that has this value in a column; `None` if there is none.
fn timeline_where(
    connection: &Connection,
    column: &str,
    value: i64,
    words: &WordLookup<'_>,
    failures: &FailureClasses,
) -> rusqlite::Result<Option<Timeline>> {
    let message = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE {column} = ?1"))?
        .query_row([value], |row| MessageRow::from_row(row, words, failures))
        .optional()?;
    let Some(message) = message else { return Ok(None) };
    let sightings = sightings(connection, words, message.id)?;
    Ok(Some(Timeline { message, sightings }))
}

fn sightings(
    connection: &Connection,
    words: &WordLookup<'_>,
    message: i64,
) -> rusqlite::Result<Vec<Sighting>> {
    let mut select = connection.prepare_cached(
        "SELECT seq, status, at, created_at FROM sighting WHERE message = ?1 ORDER BY seq LIMIT 1000",
    )?;
    let mut rows = select.query([message])?;
    let mut sightings: Vec<Sighting> = Vec::new();
    let mut reached = None;
    while let Some(row) = rows.next()? {
        let status = match row.get(1)? {
            0 => None,
            status => Some(words.text(status)?),
        };
        let step = status.as_deref().and_then(|status| MessageStep::of(&Status::from(status)));
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
