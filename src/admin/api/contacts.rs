//! Customers and their conversations.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, PAGE_BYTES, PageQuery, insight};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, Segment, TakeParameters, UrlQuery},
        wire::{ContactList, ConversationPage, EntryRow, ShownContent, WaitingList},
    },
    clock::Timestamp,
    insight::{
        NotPublicId,
        ask::{self, ContactSearch, Conversation, ConversationEntry, ListPage, WaitingSpan},
    },
    journal::Journal,
};

/// `waiting` and `missed` of [`WaitingList`] are counted up to this number.
const WAITING_MAX: usize = 10_000;

impl TakeParameters for ContactSearch {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let address = query.take(
            "address",
            "A complete address, or at least the last 6 digits of a phone number, with or without its country code.",
        )?;
        let name = query.take("name", "A part of the customer's name, ignoring case.")?;
        let PageQuery { before, limit } = PageQuery::take(query)?;
        Ok(Self { address, name, before, limit })
    }
}

/// `GET contacts`: the most recently active contact first.
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    Parameters(search): Parameters<ContactSearch>,
) -> ApiResult<ContactList> {
    let insight = insight::of(&shared)?;
    let page = insight.ask(move |file| ask::contacts(file, &search));
    let ListPage { rows: contacts, next } = page.await?;
    Ok(Json(ContactList { contacts, next }))
}

/// The parameters of `GET contacts/waiting`.
pub(super) struct WaitingQuery {
    since: Option<Timestamp>,
    missed: Option<bool>,
    limit: usize,
}

impl TakeParameters for WaitingQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let since = query.take(
            "since",
            "Customers whose first message without an answer is of this time or later. A date without a time means midnight UTC.",
        )?;
        let missed = query.either(
            "missed",
            "1: only customers who have waited for more than 24 hours; 0: only the others.",
        )?;
        Ok(Self { since, missed, limit: query.limit()? })
    }
}

/// `GET contacts/waiting`: the longest-waiting contact first.
pub(super) async fn waiting(
    State(shared): State<Arc<AdminState>>,
    Parameters(WaitingQuery { since, missed, limit }): Parameters<WaitingQuery>,
) -> ApiResult<WaitingList> {
    let now = shared.parts.journal.clock().now();
    let (recent_span, missed_span) = (WaitingSpan::recent(now), WaitingSpan::missed(now));
    let mut span = match missed {
        None => WaitingSpan::default(),
        Some(true) => missed_span,
        Some(false) => recent_span,
    };
    span.since = span.since.max(since);
    let answer = insight::of(&shared)?.ask(move |file| {
        Ok(WaitingList {
            contacts: ask::waiting(file, span, limit)?,
            waiting: ask::count_waiting(file, recent_span, WAITING_MAX)?.0,
            missed: ask::count_waiting(file, missed_span, WAITING_MAX)?.0,
        })
    });
    Ok(Json(answer.await?))
}

/// `GET contacts/{contactId}`: one conversation, newest entry first.
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<String>,
    Parameters(PageQuery { before, limit }): Parameters<PageQuery<u64>>,
) -> ApiResult<ConversationPage> {
    let insight = insight::of(&shared)?;
    let failures = insight.failures().clone();
    let public =
        id.parse().map_err(|error: NotPublicId| RequestError::parameter("contactId", error.to_string()))?;
    let page = insight.ask(move |file| ask::conversation(file, public, before, limit, &failures));
    let conversation =
        page.await?.ok_or_else(|| RequestError::NotFound(format!("contact {id} in insight")))?;
    let seqs = ShownContent::seqs_of_entries(insight, &conversation.entries).await?;
    Ok(Json(ConversationPage::of(conversation, seqs, &*shared.parts.journal).await?))
}

impl ConversationPage {
    /// Reads the contents of the messages from the journal, because insight stores none. For each entry, `seqs` has the
    /// seqs of the events that have its content. The page ends early once its texts have [`PAGE_BYTES`] or more. But
    /// entries with the same `entry.seq()` stay on one page, because the next page has only entries with a lower one.
    async fn of(
        conversation: Conversation,
        seqs: Vec<Vec<u64>>,
        journal: &dyn Journal,
    ) -> Result<Self, RequestError> {
        let Conversation { contact, entries: all, mut next } = conversation;
        let mut entries = Vec::with_capacity(all.len());
        let mut bytes = 0;
        for (entry, seqs) in all.into_iter().zip(seqs) {
            let last = entries.last().map(|row: &EntryRow| row.entry.seq());
            if bytes >= PAGE_BYTES && last != Some(entry.seq()) {
                next = last;
                break;
            }
            let content = match &entry {
                ConversationEntry::Message(message) => ShownContent::read(journal, message, &seqs).await?,
                ConversationEntry::Event { .. } => None,
            };
            let content = content.unwrap_or_default();
            bytes += content.text.as_ref().map_or(0, String::len);
            entries.push(EntryRow { entry, content });
        }
        Ok(Self { contact, entries, next })
    }
}
