//! Customers: those with the latest events, those who wait for an answer, and the conversation with each.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{
        contact_key::{ContactKey, ContactKeyKind, ContactKeyRange},
        failures::FailureClasses,
        public_id::PublicId,
    },
    message::{COLUMNS, MessageRow, TABLES},
    search::{ListPage, contains},
    words::WordLookup,
};
use crate::clock::Timestamp;

/// BIK accepts free-form messages for this many milliseconds after the customer's last message (BIK §4). A customer who
/// has waited for longer counts as missed.
pub const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;
/// Maximum number of customers that a search by address finds for each [`ContactKeyRange`], on all pages together.
const FOUND_MAX: usize = 1_000;
/// Maximum number of customers whose names are compared for a page.
const NAMES_MAX: usize = 100_000;

/// A customer within a store, or within a source if the events name no store.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// The id of the customer. It stays the same after a rebuild of insight.
    pub id: PublicId,
    /// The channel of the last event that has one; null if none has.
    pub channel: Option<Arc<str>>,
    /// The first of `addresses`; null if none is known.
    pub address: Option<String>,
    /// All addresses that were seen with this customer, phone numbers first; a phone number as digits only.
    pub addresses: Vec<String>,
    /// The first of `customers`; null if none is known.
    pub customer: Option<String>,
    /// BIK's customer ids that were seen with this customer.
    pub customers: Vec<String>,
    pub name: Option<String>,
    /// The store of the customer; null if the events name none.
    pub store: Option<Arc<str>>,
    /// The seq of the last event about the customer.
    pub last_seq: u64,
    /// When the last event about the customer was received.
    pub last_at: Timestamp,
    /// When the customer last wrote, according to BIK.
    pub incoming_at: Option<Timestamp>,
    /// When the customer last got an answer, according to BIK. A broadcast or a failed message is no answer.
    pub answered_at: Option<Timestamp>,
    /// When the customer sent the first message that has no answer yet, according to BIK; null if the customer does not
    /// wait. A customer who has waited for more than 24 hours counts as missed.
    pub waits_since: Option<Timestamp>,
    /// When the 24-hour window for free-form messages ends; null if the customer never wrote.
    pub open_until: Option<Timestamp>,
    /// The id in insight's file.
    #[serde(skip)]
    pub(super) number: i64,
}

/// `CROSS JOIN` makes SQLite read `contact` before `scope`, so that a list can use an index of `contact`.
const CONTACT: &str =
    "SELECT contact.id, public, channel, keys, name, scope.kind, scope.text, last_seq, last_at,
    incoming_at, answered_at, waits_since FROM contact CROSS JOIN scope ON scope.id = contact.scope";

impl Contact {
    fn from_row(row: &Row<'_>, words: &WordLookup<'_>) -> rusqlite::Result<Self> {
        let time = |at: usize| row.get::<_, Option<i64>>(at).map(|ms| ms.map(Timestamp::from_ms));
        let mut keys = ContactKey::list(row.get_ref(3)?.as_str()?);
        keys.sort();
        let (ids, addresses): (Vec<_>, Vec<_>) =
            keys.iter().partition(|key| key.kind == ContactKeyKind::Customer);
        let shown = |keys: Vec<&ContactKey>| keys.into_iter().map(|key| key.shown().to_owned()).collect();
        let (customers, addresses): (Vec<String>, Vec<String>) = (shown(ids), shown(addresses));
        let store: Option<String> = if row.get::<_, i64>(5)? == 0 { row.get(6)? } else { None };
        let incoming_at = time(9)?;
        Ok(Self {
            id: PublicId::from_bytes(row.get(1)?),
            channel: words.optional(row.get(2)?)?,
            address: addresses.first().cloned(),
            addresses,
            customer: customers.first().cloned(),
            customers,
            name: row.get(4)?,
            store: store.map(Arc::from),
            last_seq: row.get(7)?,
            last_at: Timestamp::from_ms(row.get(8)?),
            incoming_at,
            answered_at: time(10)?,
            waits_since: time(11)?,
            open_until: incoming_at.map(|at| at.plus_ms(WINDOW_MS)),
            number: row.get(0)?,
        })
    }
}

/// Returns the customer with a public id. If that customer was merged into another one, returns the other one.
///
/// # Errors
/// Returns SQLite errors.
pub fn contact(connection: &Connection, id: PublicId) -> rusqlite::Result<Option<Contact>> {
    let words = WordLookup::new(connection);
    connection
        .prepare_cached(&format!(
            "{CONTACT} WHERE contact.id = coalesce((SELECT id FROM contact WHERE public = ?1),
               (SELECT contact FROM merged_contact WHERE public = ?1))"
        ))?
        .query_row([id.as_bytes()], |row| Contact::from_row(row, &words))
        .optional()
}

/// Selects customers for a list.
#[derive(Clone, Debug, Default)]
pub struct ContactSearch {
    /// An address, or at least the last six digits of a phone number.
    pub address: Option<String>,
    /// A part of the name, ignoring case.
    pub name: Option<String>,
    /// Only customers whose last event has a seq below this one. For a next page, this is `next` of the previous page.
    pub before: Option<i64>,
    /// Maximum number of customers in the page; at most 1,000.
    pub limit: usize,
}

/// Returns a page of customers, the one with the latest event first. The page may exceed the limit, because customers
/// with the same last event are on one page.
///
/// # Errors
/// Returns SQLite errors.
pub fn contacts(connection: &Connection, search: &ContactSearch) -> rusqlite::Result<ListPage<Contact>> {
    let words = WordLookup::new(connection);
    let before = search.before.unwrap_or(i64::MAX);
    let limit = search.limit.clamp(1, 1_000);
    let name = search.name.as_ref().map(|name| name.to_lowercase());
    let fits = |row: &Row<'_>| -> rusqlite::Result<bool> {
        let Some(name) = &name else { return Ok(true) };
        Ok(row.get_ref(4)?.as_str_or_null()?.is_some_and(|text| contains(text, name)))
    };
    if let Some(address) = &search.address {
        let mut select =
            connection.prepare_cached(&format!("{CONTACT} WHERE contact.id = ?1 AND last_seq < ?2"))?;
        let mut found = Vec::new();
        for id in numbers_in(connection, &ContactKeyRange::of_address(address), FOUND_MAX)? {
            let mut rows = select.query([id, before])?;
            while let Some(row) = rows.next()? {
                if fits(row)? {
                    found.push(Contact::from_row(row, &words)?);
                }
            }
        }
        found.sort_by_key(|contact| std::cmp::Reverse(contact.last_seq));
        let (rows, next) = whole(found.into_iter().map(Ok), limit, |contact| contact.last_seq)?;
        return Ok(ListPage { rows, next: next.map(u64::cast_signed) });
    }
    let sql = format!("{CONTACT} WHERE last_seq < ?1 ORDER BY last_seq DESC");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([before])?;
    let (mut page, mut compared, mut last): (Vec<Contact>, usize, Option<u64>) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let seq: u64 = row.get(7)?;
        // Customers with the same last event are on one page.
        if last != Some(seq) && (page.len() >= limit || compared >= NAMES_MAX) {
            return Ok(ListPage { rows: page, next: last.map(u64::cast_signed) });
        }
        compared += 1;
        last = Some(seq);
        if fits(row)? {
            page.push(Contact::from_row(row, &words)?);
        }
    }
    Ok(ListPage { rows: page, next: None })
}

/// Finds the customers with a [`ContactKey`] in one of the ranges, at most `limit` for each range. Returns their ids in
/// insight's file.
pub(super) fn numbers_in(
    connection: &Connection,
    ranges: &[ContactKeyRange],
    limit: usize,
) -> rusqlite::Result<BTreeSet<i64>> {
    let sql = "SELECT contact FROM contact_key WHERE kind = ?1 AND text >= ?2 AND text < ?3 LIMIT ?4";
    let mut select = connection.prepare_cached(sql)?;
    let mut found = BTreeSet::new();
    for range in ranges {
        let ids =
            select.query_map(params![range.kind as i64, range.from, range.end, limit], |row| row.get(0))?;
        for id in ids {
            found.insert(id?);
        }
    }
    Ok(found)
}

/// Returns a page of rows. If more rows follow, also returns the seq of the page's last row; the next page has the rows
/// below that seq. Rows with the same seq are on one page, so the page can exceed the limit.
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

/// Selects customers whose [`Contact::waits_since`] is `since` or later, and before `until`.
#[derive(Clone, Copy, Debug, Default)]
pub struct WaitingSpan {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl WaitingSpan {
    /// Customers who have waited for at most 24 hours.
    pub const fn recent(now: Timestamp) -> Self {
        Self { since: Some(now.plus_ms(-WINDOW_MS)), until: None }
    }

    /// Customers who have waited for more than 24 hours.
    pub const fn missed(now: Timestamp) -> Self {
        Self { since: None, until: Some(now.plus_ms(-WINDOW_MS)) }
    }

    fn bounds(self) -> (i64, i64) {
        (self.since.map_or(i64::MIN, Timestamp::as_ms), self.until.map_or(i64::MAX, Timestamp::as_ms))
    }
}

/// Returns the customers who wait for an answer, longest wait first; at most `limit`, and at most 1,000.
///
/// # Errors
/// Returns SQLite errors.
pub fn waiting(connection: &Connection, span: WaitingSpan, limit: usize) -> rusqlite::Result<Vec<Contact>> {
    let words = WordLookup::new(connection);
    let (since, until) = span.bounds();
    connection
        .prepare_cached(&format!(
            "{CONTACT} WHERE waits_since >= ?1 AND waits_since < ?2 ORDER BY waits_since, contact.id LIMIT ?3"
        ))?
        .query_map(params![since, until, limit.clamp(1, 1_000)], |row| Contact::from_row(row, &words))?
        .collect()
}

/// Counts the customers of [`waiting`] up to a limit. Also returns their earliest [`Contact::waits_since`].
///
/// # Errors
/// Returns SQLite errors.
pub fn count_waiting(
    connection: &Connection,
    span: WaitingSpan,
    limit: usize,
) -> rusqlite::Result<(usize, Option<Timestamp>)> {
    let (since, until) = span.bounds();
    connection
        .prepare_cached(
            "SELECT count(*), min(waits_since) FROM (SELECT waits_since FROM contact
             WHERE waits_since >= ?1 AND waits_since < ?2 ORDER BY waits_since LIMIT ?3)",
        )?
        .query_row(params![since, until, limit], |row| {
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

/// Returns a page of a conversation, newest entry first; `None` if the customer is unknown. If the customer was merged
/// into another one, returns the conversation of that one. With `before`, the page has only entries that were first
/// seen before the event with this seq. The page may exceed the limit, because entries that were first seen in the same
/// event are on one page.
///
/// # Errors
/// Returns SQLite errors.
pub fn conversation(
    connection: &Connection,
    id: PublicId,
    before: Option<u64>,
    limit: usize,
    failures: &FailureClasses,
) -> rusqlite::Result<Option<Conversation>> {
    let Some(contact) = contact(connection, id)? else { return Ok(None) };
    let id = contact.number;
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
    // `older` is `None` if the page has all entries that the two queries returned. The next page then starts where a
    // query stopped at the limit; if none did, this is the last page.
    let next = older.or(older_messages).or(older_events);
    Ok(Some(Conversation { contact, entries, next }))
}
