//! Customers: those with the latest events, those who wait for an answer, and the conversation with each.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::failures::FailureClasses,
    message::{COLUMNS, MessageRow, TABLES},
    search::ListPage,
    words::WordLookup,
};
use crate::{clock::Timestamp, event::canonical_address};

/// BIK accepts free-form messages for this many milliseconds after the customer's last message (BIK §4).
pub const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

/// A customer on a channel.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// The id of the customer in insight's file.
    pub id: i64,
    /// The channel; null if it is unknown.
    pub channel: Option<Arc<str>>,
    /// The address on the channel; a phone number as digits only.
    pub address: String,
    /// BIK's id of the customer.
    pub customer: Option<String>,
    pub name: Option<String>,
    /// The store of the customer.
    pub store: Option<Arc<str>>,
    /// The seq of the last event about the customer.
    pub last_seq: u64,
    /// When the last event about the customer was received.
    pub last_at: Timestamp,
    /// When the customer last wrote.
    pub incoming_at: Option<Timestamp>,
    /// When the customer was last sent a message that is not a broadcast.
    pub answered_at: Option<Timestamp>,
    /// When the 24-hour window for free-form messages ends; null if the customer never wrote.
    pub open_until: Option<Timestamp>,
}

const CONTACT: &str = "SELECT id, channel, address, customer, name, store, last_seq, last_at, incoming_at, answered_at FROM contact";

impl Contact {
    fn from_row(row: &Row<'_>, words: &WordLookup<'_>) -> rusqlite::Result<Self> {
        let time = |at: usize| row.get::<_, Option<i64>>(at).map(|ms| ms.map(Timestamp::from_ms));
        let incoming_at = time(8)?;
        Ok(Self {
            id: row.get(0)?,
            channel: words.optional(Some(row.get(1)?).filter(|channel| *channel != 0))?,
            address: row.get(2)?,
            customer: row.get(3)?,
            name: row.get(4)?,
            store: words.optional(row.get(5)?)?,
            last_seq: row.get(6)?,
            last_at: Timestamp::from_ms(row.get(7)?),
            incoming_at,
            answered_at: time(9)?,
            open_until: incoming_at.map(|at| at.plus_ms(WINDOW_MS)),
        })
    }
}

/// Returns one customer by its id in insight's file.
///
/// # Errors
/// Returns SQLite errors.
pub fn contact(connection: &Connection, id: i64) -> rusqlite::Result<Option<Contact>> {
    let words = WordLookup::new(connection);
    connection
        .prepare_cached(&format!("{CONTACT} WHERE id = ?1"))?
        .query_row([id], |row| Contact::from_row(row, &words))
        .optional()
}

/// Returns a page of customers, the one with the latest event first. With `address`, returns only the customers with
/// this address, on any channel. The page may exceed the limit, because customers with the same last event are on one
/// page.
///
/// # Errors
/// Returns SQLite errors.
pub fn contacts(
    connection: &Connection,
    address: Option<&str>,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<ListPage<Contact>> {
    let words = WordLookup::new(connection);
    let before = before.unwrap_or(i64::MAX);
    let address = address.map(canonical_address);
    let only = if address.is_some() { "address = ?2 AND" } else { "" };
    let sql = format!("{CONTACT} WHERE {only} last_seq < ?1 ORDER BY last_seq DESC");
    let values = [Some(&before as &dyn ToSql), address.as_ref().map(|address| address as &dyn ToSql)];
    let values = params_from_iter(values.into_iter().flatten());
    let mut select = connection.prepare_cached(&sql)?;
    let found = select.query_map(values, |row| Contact::from_row(row, &words))?;
    let (rows, next) = whole(found, limit.clamp(1, 1_000), |contact| contact.last_seq)?;
    Ok(ListPage { rows, next: next.map(u64::cast_signed) })
}

/// Returns a page of rows, and the seq before which the next page starts. Rows with the same seq are on one page, so
/// the page can exceed the limit.
fn whole<T>(
    rows: impl IntoIterator<Item = rusqlite::Result<T>>,
    limit: usize,
    seq: impl Fn(&T) -> u64,
) -> rusqlite::Result<(Vec<T>, Option<u64>)> {
    let mut page: Vec<T> = Vec::new();
    for row in rows {
        let row = row?;
        let last = page.last().filter(|_| page.len() >= limit).map(&seq);
        if last.is_some_and(|last| last != seq(&row)) {
            return Ok((page, last));
        }
        page.push(row);
    }
    Ok((page, None))
}

/// Returns the customers who wrote since a time and have no answer yet (a broadcast is no answer), longest wait first;
/// at most `limit`, and at most 1,000.
///
/// # Errors
/// Returns SQLite errors.
pub fn waiting(connection: &Connection, since: Timestamp, limit: usize) -> rusqlite::Result<Vec<Contact>> {
    let words = WordLookup::new(connection);
    connection
        .prepare_cached(&format!(
            "{CONTACT} WHERE incoming_at > coalesce(answered_at, 0) AND incoming_at >= ?1 ORDER BY incoming_at LIMIT ?2"
        ))?
        .query_map(params![since.as_ms(), limit.clamp(1, 1_000)], |row| Contact::from_row(row, &words))?
        .collect()
}

/// Counts the customers of [`waiting`] up to a limit, and returns when the longest-waiting one wrote.
///
/// # Errors
/// Returns SQLite errors.
pub fn waiting_since(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<(usize, Option<Timestamp>)> {
    connection
        .prepare_cached(
            "SELECT count(*), min(incoming_at) FROM (SELECT incoming_at FROM contact
             WHERE incoming_at > coalesce(answered_at, 0) AND incoming_at >= ?1 ORDER BY incoming_at LIMIT ?2)",
        )?
        .query_row(params![since.as_ms(), limit], |row| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Timestamp::from_ms)))
        })
}

/// A conversation with a customer, newest entry first.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation {
    /// The customer of the conversation.
    pub contact: Contact,
    /// Messages, and events without a message.
    pub entries: Vec<ConversationEntry>,
    /// The seq to pass as `before` for the next page; `None` on the last page.
    pub next: Option<u64>,
}

/// One entry of a conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum ConversationEntry {
    /// A message from the customer or to the customer.
    Message(Box<MessageRow>),
    /// An event without a message, such as `optedOut`.
    #[serde(rename_all = "camelCase")]
    Event {
        seq: u64,
        name: Arc<str>,
        /// When the event was received, by our clock.
        at: Timestamp,
    },
}

impl ConversationEntry {
    /// The seq of the event in which the entry was first seen.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Message(message) => message.first_seq,
            Self::Event { seq, .. } => *seq,
        }
    }
}

/// Returns a page of a conversation, newest entry first; `None` if the customer is unknown. With `before`, the page has
/// only entries that were first seen before the event with this seq. The page may exceed the limit, because entries
/// that were first seen in the same event are on one page.
///
/// # Errors
/// Returns SQLite errors.
pub fn conversation(
    connection: &Connection,
    id: i64,
    before: Option<u64>,
    limit: usize,
    failures: &FailureClasses,
) -> rusqlite::Result<Option<Conversation>> {
    let Some(contact) = contact(connection, id)? else { return Ok(None) };
    let words = WordLookup::new(connection);
    let limit = limit.clamp(1, 1_000);
    let below = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let mut messages = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE message.contact = ?1 AND message.first_seq < ?2
         ORDER BY message.id DESC"
    ))?;
    let messages = messages.query_map(params![id, below], |row| {
        MessageRow::from_row(row, &words, failures)
            .map(|message| ConversationEntry::Message(Box::new(message)))
    })?;
    let (messages, older_messages) = whole(messages, limit, ConversationEntry::seq)?;
    let mut events = connection.prepare_cached(
        "SELECT seq, name, at FROM occurrence WHERE contact = ?1 AND seq < ?2 ORDER BY seq DESC",
    )?;
    let events = events.query_map(params![id, below], |row| {
        Ok(ConversationEntry::Event {
            seq: row.get(0)?,
            name: words.text(row.get(1)?)?,
            at: Timestamp::from_ms(row.get(2)?),
        })
    })?;
    let (events, older_events) = whole(events, limit, ConversationEntry::seq)?;
    let mut entries = [messages, events].concat();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.seq()));
    let (entries, older) = whole(entries.into_iter().map(Ok), limit, ConversationEntry::seq)?;
    // If the page has every entry that was read, the next page starts where reading stopped.
    let next = older.or(older_messages).or(older_events);
    Ok(Some(Conversation { contact, entries, next }))
}
