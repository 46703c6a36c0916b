//! Customers: who wrote last, who waits for an answer, and what was said.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{
    super::failures::Failures,
    message::{COLUMNS, Message, TABLES},
    search::Page,
    words::Words,
};
use crate::{clock::Timestamp, event::canonical_address};

/// Free-form messages are taken for so long after the customer's last one (BIK §4).
pub const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

/// A customer on a channel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// Its number here.
    pub id: i64,
    /// The channel.
    pub channel: Option<Arc<str>>,
    /// The address on it: a phone by its digits.
    pub address: String,
    /// BIK's id of the customer.
    pub customer: Option<String>,
    /// The customer's name.
    pub name: Option<String>,
    /// The store.
    pub store: Option<Arc<str>>,
    /// The last event that concerns it.
    pub last_seq: u64,
    /// When something was last heard of it.
    pub last_at: Timestamp,
    /// When the customer wrote last.
    pub incoming_at: Option<Timestamp>,
    /// When something was last sent that is no broadcast.
    pub answered_at: Option<Timestamp>,
    /// Until when free-form messages are taken (the 24-hour window); `None` where the customer never wrote.
    pub open_until: Option<Timestamp>,
}

const CONTACT: &str = "SELECT id, channel, address, customer, name, store, last_seq, last_at, incoming_at, answered_at FROM contact";

impl Contact {
    fn from_row(row: &Row<'_>, words: &Words<'_>) -> rusqlite::Result<Self> {
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

/// One customer by its number.
///
/// # Errors
/// Whatever SQLite says.
pub fn contact(connection: &Connection, id: i64) -> rusqlite::Result<Option<Contact>> {
    let words = Words::new(connection);
    connection
        .prepare_cached(&format!("{CONTACT} WHERE id = ?1"))?
        .query_row([id], |row| Contact::from_row(row, &words))
        .optional()
}

/// A page of customers, who was heard of last first; of one address (whole, on any channel), or all. It is longer than the
/// limit where its last event concerns more of them.
///
/// # Errors
/// Whatever SQLite says.
pub fn contacts(
    connection: &Connection,
    address: Option<&str>,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Page<Contact>> {
    let words = Words::new(connection);
    let limit = limit.clamp(1, 1_000);
    let before = before.unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| Contact::from_row(row, &words);
    let (rows, next) = match address {
        Some(address) => {
            let mut found = connection.prepare_cached(&format!(
                "{CONTACT} WHERE address = ?1 AND last_seq < ?2 ORDER BY last_seq DESC"
            ))?;
            let found = found.query_map(params![canonical_address(address), before], read)?;
            whole(found, limit, |contact| contact.last_seq)?
        }
        None => {
            let mut found = connection
                .prepare_cached(&format!("{CONTACT} WHERE last_seq < ?1 ORDER BY last_seq DESC"))?;
            let found = found.query_map([before], read)?;
            whole(found, limit, |contact| contact.last_seq)?
        }
    };
    Ok(Page { rows, next: next.map(u64::cast_signed) })
}

/// The first rows, at least as many as the limit if there are, and the seq that the next page is before. A cursor is a seq, so
/// a page ends between two of them: all rows of its last event are on it.
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

/// Customers who wrote since this time and got no answer yet (a broadcast is none), who waits longest first.
///
/// # Errors
/// Whatever SQLite says.
pub fn waiting(connection: &Connection, since: Timestamp, limit: usize) -> rusqlite::Result<Vec<Contact>> {
    let words = Words::new(connection);
    connection
        .prepare_cached(&format!(
            "{CONTACT} WHERE incoming_at > coalesce(answered_at, 0) AND incoming_at >= ?1 ORDER BY incoming_at LIMIT ?2"
        ))?
        .query_map(params![since.as_ms(), limit.clamp(1, 1_000)], |row| Contact::from_row(row, &words))?
        .collect()
}

/// How many they are of [`waiting`], counted up to a limit, and when the one wrote who waits longest.
///
/// # Errors
/// Whatever SQLite says.
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

/// What was said with a customer, newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation {
    /// The customer.
    pub contact: Contact,
    /// Messages, and events of no message.
    pub entries: Vec<Entry>,
    /// `before` of the next page, a seq; `None` after the last.
    pub next: Option<u64>,
}

/// One thing of a conversation.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Entry {
    /// A message, from the customer or to it.
    Message(Box<Message>),
    /// An event of no message, such as `optedOut`.
    #[serde(rename_all = "camelCase")]
    Event {
        /// The event.
        seq: u64,
        /// Its name.
        name: Arc<str>,
        /// When it came, by our clock.
        at: Timestamp,
    },
}

impl Entry {
    /// The event that it was first seen in.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Message(message) => message.first_seq,
            Self::Event { seq, .. } => *seq,
        }
    }
}

/// A page of a conversation, newest first: what was first seen before an event. `None` for a customer that is not known. It is
/// longer than the limit where more was first seen in its last event.
///
/// # Errors
/// Whatever SQLite says.
pub fn conversation(
    connection: &Connection,
    id: i64,
    before: Option<u64>,
    limit: usize,
    failures: &Failures,
) -> rusqlite::Result<Option<Conversation>> {
    let Some(contact) = contact(connection, id)? else { return Ok(None) };
    let words = Words::new(connection);
    let limit = limit.clamp(1, 1_000);
    let below = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let mut messages = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE message.contact = ?1 AND message.first_seq < ?2
         ORDER BY message.id DESC"
    ))?;
    let messages = messages.query_map(params![id, below], |row| {
        Message::from_row(row, &words, failures).map(|message| Entry::Message(Box::new(message)))
    })?;
    let (messages, older_messages) = whole(messages, limit, Entry::seq)?;
    let mut events = connection.prepare_cached(
        "SELECT seq, name, at FROM occurrence WHERE contact = ?1 AND seq < ?2 ORDER BY seq DESC",
    )?;
    let events = events.query_map(params![id, below], |row| {
        Ok(Entry::Event {
            seq: row.get(0)?,
            name: words.text(row.get(1)?)?,
            at: Timestamp::from_ms(row.get(2)?),
        })
    })?;
    let (events, older_events) = whole(events, limit, Entry::seq)?;
    let mut entries = [messages, events].concat();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.seq()));
    let (entries, older) = whole(entries.into_iter().map(Ok), limit, Entry::seq)?;
    // Where the page has all that was read, what was read ends where the page does.
    let next = older.or(older_messages).or(older_events);
    Ok(Some(Conversation { contact, entries, next }))
}
