//! Messages and their outcomes.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, insight};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, Segment, TakeParameters, UrlQuery},
        wire::{MessageList, ShownContent, TimelineList, TimelineReport},
    },
    insight::{
        MessageState,
        ask::{self, ListPage, SearchQuery},
    },
};

impl TakeParameters for SearchQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let states = MessageState::ALL.map(MessageState::as_str);
        Ok(Self {
            phone: query.take("phone", "A complete phone number or other address.")?,
            message: query.take("message", "BIK's id of the message.")?,
            customer: query.take("customer", "BIK's id of the customer.")?,
            state: query.word("state", "The state of the message.", MessageState::from_any_case, &states)?,
            reason: query.take("reason", "Text that BIK's failure reason contains, ignoring case.")?,
            incoming: query
                .either("incoming", "1: only messages from customers; 0: only messages to customers.")?,
            since: query.since()?,
            until: query.until()?,
            before: query.before()?,
            limit: query.limit()?,
        })
    }
}

/// `GET messages`
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    Parameters(query): Parameters<SearchQuery>,
) -> ApiResult<MessageList> {
    let insight = insight::of(&shared)?;
    let failures = insight.failures().clone();
    let ListPage { rows: messages, next } =
        insight.ask(move |file| ask::search(file, &query, &failures)).await?;
    Ok(Json(MessageList { messages, next }))
}

/// `GET messages/{messageId}`: one entry for each source that has a message with this id.
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(message): Segment<String>,
    _: Parameters<()>,
) -> ApiResult<TimelineList<TimelineReport>> {
    let insight = insight::of(&shared)?;
    let failures = insight.failures().clone();
    let id = message.clone();
    let timelines = insight.ask(move |file| ask::timeline(file, &id, &failures)).await?;
    if timelines.is_empty() {
        return Err(RequestError::NotFound(format!("message {message:?} in insight")));
    }
    let mut messages = Vec::with_capacity(timelines.len());
    for timeline in timelines {
        let (journal, seqs) = (&*shared.parts.journal, ShownContent::seqs(&timeline));
        let content = ShownContent::read(journal, &timeline.message, &seqs).await?.unwrap_or_default();
        messages.push(TimelineReport { timeline, content });
    }
    Ok(Json(TimelineList { messages }))
}
