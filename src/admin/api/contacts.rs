//! Customers and their conversations.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, PAGE_BYTES, PageQuery, insight};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, Segment, TakeParameters, UrlQuery},
        wire::{ContactList, ConversationPage, EntryRow, WaitingList},
    },
    clock::Timestamp,
    insight::ask::{self, Conversation, ConversationEntry, ListPage},
    journal::Journal,
};

/// By default, `GET contacts/waiting` lists only customers whose last message is younger than this.
const WAITING_MS: i64 = 24 * 60 * 60 * 1_000;

/// The parameters of `GET contacts`.
pub(super) struct ContactQuery {
    address: Option<String>,
    page: PageQuery<i64>,
}

impl TakeParameters for ContactQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let address = query.take("address", "A complete phone number or other address.")?;
        Ok(Self { address, page: PageQuery::take(query)? })
    }
}

/// `GET contacts`: the most recently active contact first.
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    Parameters(ContactQuery { address, page }): Parameters<ContactQuery>,
) -> ApiResult<ContactList> {
    let PageQuery { before, limit } = page;
    let insight = insight::of(&shared)?;
    let page = insight.ask(move |file| ask::contacts(file, address.as_deref(), before, limit));
    let ListPage { rows: contacts, next } = page.await?;
    Ok(Json(ContactList { contacts, next }))
}

/// The parameters of `GET contacts/waiting`.
pub(super) struct WaitingQuery {
    since: Option<Timestamp>,
    limit: usize,
}

impl TakeParameters for WaitingQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        Ok(Self { since: query.since()?, limit: query.limit()? })
    }
}

/// `GET contacts/waiting`: the longest-waiting contact first.
pub(super) async fn waiting(
    State(shared): State<Arc<AdminState>>,
    Parameters(WaitingQuery { since, limit }): Parameters<WaitingQuery>,
) -> ApiResult<WaitingList> {
    let since = since.unwrap_or_else(|| shared.parts.journal.clock().now().plus_ms(-WAITING_MS));
    let contacts = insight::of(&shared)?.ask(move |file| ask::waiting(file, since, limit)).await?;
    Ok(Json(WaitingList { contacts }))
}

/// `GET contacts/{id}`: one conversation, newest entry first.
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<i64>,
    Parameters(PageQuery { before, limit }): Parameters<PageQuery<u64>>,
) -> ApiResult<ConversationPage> {
    let insight = insight::of(&shared)?;
    let failures = insight.failures().clone();
    let page = insight.ask(move |file| ask::conversation(file, id, before, limit, &failures));
    let conversation =
        page.await?.ok_or_else(|| RequestError::NotFound(format!("contact {id} in insight")))?;
    Ok(Json(ConversationPage::of(conversation, &*shared.parts.journal).await?))
}

impl ConversationPage {
    /// Reads the texts of the messages from the journal, because insight stores none. The page ends early once its
    /// texts have [`PAGE_BYTES`] or more. It does not end between the entries of one event, because the next page
    /// starts at a lower seq and would omit the rest of them.
    async fn of(conversation: Conversation, journal: &dyn Journal) -> Result<Self, RequestError> {
        let Conversation { contact, entries: all, mut next } = conversation;
        let mut entries = Vec::with_capacity(all.len());
        let mut bytes = 0;
        for entry in all {
            let last = entries.last().map(|row: &EntryRow| row.entry.seq());
            if bytes >= PAGE_BYTES && last != Some(entry.seq()) {
                next = last;
                break;
            }
            let text = text_of(&entry, journal).await?;
            bytes += text.as_ref().map_or(0, String::len);
            entries.push(EntryRow { entry, text });
        }
        Ok(Self { contact, entries, next })
    }
}

async fn text_of(entry: &ConversationEntry, journal: &dyn Journal) -> Result<Option<String>, RequestError> {
    let ConversationEntry::Message(message) = entry else { return Ok(None) };
    let event = journal.get(message.first_seq).await?;
    Ok(event.and_then(|event| event.element.view().text_of(&message.message_id).map(str::to_owned)))
}
