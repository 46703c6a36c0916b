//! Searches messages by id, address, customer, failure text, state, direction and time.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::Serialize;

use super::{
    super::{contact_key::ContactKeyRange, failures::FailureClasses, state::MessageState},
    conversation::numbers_in,
    message::{COLUMNS, MessageRow, TABLES, timeline},
    words::WordLookup,
};
use crate::clock::Timestamp;

/// Maximum number of message ids that each [`Path`] returns for a page. A path checks only some conditions. Messages
/// that fail another one are left out afterwards. So a page may have fewer rows than requested although a next page
/// follows.
const ROWS_MAX: usize = 10_000;
/// Maximum number of customers that a search by address or customer id considers.
const CONTACTS_MAX: usize = 100;
/// Maximum number of failure texts that a search by text considers.
const REASONS_MAX: usize = 200;

/// The conditions of a search; a message must meet all of them.
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// An address, or at least the last six digits of a phone number.
    pub phone: Option<String>,
    /// BIK's id of a message.
    pub message: Option<String>,
    /// BIK's id of a customer.
    pub customer: Option<String>,
    pub state: Option<MessageState>,
    /// A part of the failure's text, ignoring case.
    pub reason: Option<String>,
    /// True: only messages from customers. False: only messages to customers.
    pub incoming: Option<bool>,
    /// Only messages first seen at this time or later.
    pub since: Option<Timestamp>,
    /// Only messages first seen before this time.
    pub until: Option<Timestamp>,
    /// Only messages with an id below this one. For a next page, this is `next` of the previous page.
    pub before: Option<i64>,
    /// Maximum number of messages in the page; at most 1,000.
    pub limit: usize,
}

/// A page of a list, newest row first.
#[derive(Clone, Debug, Serialize)]
pub struct ListPage<T> {
    pub rows: Vec<T>,
    /// The value of `before` for the next page; `None` on the last page.
    pub next: Option<i64>,
}

/// Returns a page of messages, newest first. A search by message id has one page, with at most one message per source.
///
/// # Errors
/// Returns SQLite errors.
pub fn search(
    connection: &Connection,
    query: &SearchQuery,
    failures: &FailureClasses,
) -> rusqlite::Result<ListPage<MessageRow>> {
    let limit = query.limit.clamp(1, 1_000);
    if let Some(message) = &query.message {
        let found = timeline(connection, message, failures)?.into_iter().map(|timeline| timeline.message);
        let contacts = contacts_of(connection, query)?;
        let rows = found
            .filter(|message| query.before.is_none_or(|before| message.id < before))
            .filter(|message| {
                contacts
                    .as_ref()
                    .is_none_or(|contacts| message.contact_number.is_some_and(|id| contacts.contains(&id)))
            })
            .filter(|message| passes(query, message));
        return Ok(ListPage { rows: rows.collect(), next: None });
    }
    let paths = paths(connection, query)?;
    let (above, below) = bounds(connection, query)?;
    // Each path returns ids from one index, newest first. The page takes the newest ids of all paths.
    let mut ids: Vec<i64> = Vec::new();
    let mut searched_to = above;
    for path in &paths {
        let found = path.ids(connection, above, below)?;
        if found.len() == ROWS_MAX {
            // The path reached its limit, so its messages below the last id may be missing.
            searched_to = searched_to.max(found.last().copied().unwrap_or(above) - 1);
        }
        ids.extend(found);
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.dedup();
    ids.retain(|id| *id > searched_to);
    let words = WordLookup::new(connection);
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE message.id = ?1"))?;
    let mut rows = Vec::new();
    for id in &ids {
        let message = select.query_row([id], |row| MessageRow::from_row(row, &words, failures))?;
        if passes(query, &message) {
            rows.push(message);
            if rows.len() == limit {
                let last = ids.last() == Some(id) && searched_to == above;
                return Ok(ListPage { rows, next: (!last).then_some(*id) });
            }
        }
    }
    Ok(ListPage { rows, next: (searched_to > above).then_some(searched_to + 1) })
}

/// Returns [`Path`]s that find the matching messages, and possibly others; none if no message can match.
fn paths(connection: &Connection, query: &SearchQuery) -> rusqlite::Result<Vec<Path>> {
    let (condition, ids) = if let Some(contacts) = contacts_of(connection, query)? {
        ("AND contact = ?3", contacts.into_iter().take(CONTACTS_MAX).collect())
    } else if let Some(reason) = &query.reason {
        ("AND reason = ?3", reasons_with(connection, reason)?)
    } else if let Some(state) = query.state {
        ("AND state = ?3", vec![state as i64])
    } else {
        return Ok(vec![Path { condition: "", value: None }]);
    };
    Ok(ids.into_iter().map(|id| Path { condition, value: Some(id) }).collect())
}

/// Finds the customers with the address and the customer id of a query. Returns their ids in insight's file; `None` if
/// the query has neither an address nor a customer id.
fn contacts_of(connection: &Connection, query: &SearchQuery) -> rusqlite::Result<Option<BTreeSet<i64>>> {
    let with = |ranges: &[ContactKeyRange]| numbers_in(connection, ranges, CONTACTS_MAX);
    let phone = query.phone.as_ref().map(|phone| with(&ContactKeyRange::of_address(phone))).transpose()?;
    let customer = query.customer.as_ref().map(|customer| {
        let range = ContactKeyRange::of_customer(customer);
        with(range.as_slice())
    });
    Ok(match (phone, customer.transpose()?) {
        (Some(phone), Some(customer)) => Some(phone.intersection(&customer).copied().collect()),
        (phone, customer) => phone.or(customer),
    })
}

/// Returns the ids of the newest failure texts that contain `part`, ignoring case. LIKE would ignore the case of ASCII
/// letters only.
fn reasons_with(connection: &Connection, part: &str) -> rusqlite::Result<Vec<i64>> {
    let mut select = connection.prepare_cached("SELECT id, text FROM reason ORDER BY id DESC")?;
    let mut rows = select.query([])?;
    let part = part.to_lowercase();
    let mut ids = Vec::new();
    while ids.len() < REASONS_MAX
        && let Some(row) = rows.next()?
    {
        if contains(row.get_ref(1)?.as_str()?, &part) {
            ids.push(row.get(0)?);
        }
    }
    Ok(ids)
}

/// Returns whether a text contains `part`, which is in lower case.
pub(super) fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(part)
}

/// Returns the bounds of the message ids that `since`, `until` and `before` allow. The ids lie above the first bound
/// and below the second.
fn bounds(connection: &Connection, query: &SearchQuery) -> rusqlite::Result<(i64, i64)> {
    let first_at = |time: Timestamp| -> rusqlite::Result<i64> {
        let sql = "SELECT id FROM message WHERE first_at >= ?1 ORDER BY first_at, id LIMIT 1";
        let mut select = connection.prepare_cached(sql)?;
        let id = select.query_row([time.as_ms()], |row| row.get(0)).optional()?;
        Ok(id.unwrap_or(i64::MAX))
    };
    let above = query.since.map_or(Ok(1), first_at)? - 1;
    let until = query.until.map_or(Ok(i64::MAX), first_at)?;
    Ok((above, until.min(query.before.unwrap_or(i64::MAX))))
}

/// A condition on messages. An index finds the ids of the matching messages in order.
struct Path {
    /// An SQL condition to append; empty to find every message.
    condition: &'static str,
    /// The value in the condition; `None` if there is no condition.
    value: Option<i64>,
}

impl Path {
    fn ids(&self, connection: &Connection, above: i64, below: i64) -> rusqlite::Result<Vec<i64>> {
        let sql = format!(
            "SELECT id FROM message WHERE id > ?1 AND id < ?2 {} ORDER BY id DESC LIMIT {ROWS_MAX}",
            self.condition
        );
        let values = [Some(above), Some(below), self.value].into_iter().flatten();
        connection.prepare_cached(&sql)?.query_map(params_from_iter(values), |row| row.get(0))?.collect()
    }
}

/// Checks all conditions except those on the message id and the customer, which `search` and [`paths`] check.
fn passes(query: &SearchQuery, message: &MessageRow) -> bool {
    query.state.is_none_or(|state| message.state == Some(state))
        && query.incoming.is_none_or(|incoming| message.incoming == incoming)
        && query.since.is_none_or(|since| message.first_at >= since)
        && query.until.is_none_or(|until| message.first_at < until)
        && query.reason.as_ref().is_none_or(|wanted| {
            let wanted = wanted.to_lowercase();
            message.reason.as_ref().is_some_and(|reason| contains(reason, &wanted))
        })
}
