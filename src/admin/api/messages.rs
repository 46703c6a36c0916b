//! Messages and their outcomes.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};

use super::{ApiResult, insight};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, Segment},
        wire::{MessageList, TimelineList},
    },
    insight::{
        MessageState,
        ask::{self, ListPage, SearchQuery},
    },
};

/// `GET messages?phone=&message=&customer=&state=&reason=&incoming=&since=&until=&before=&limit=`
pub(super) async fn list(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let query = SearchQuery {
        phone: parameters.take("phone")?,
        message: parameters.take("message")?,
        customer: parameters.take("customer")?,
        state: parameters.word(
            "state",
            MessageState::from_name,
            &MessageState::ALL.map(MessageState::as_str),
        )?,
        reason: parameters.take("reason")?,
        incoming: parameters.either("incoming")?,
        since: parameters.take("since")?,
        until: parameters.take("until")?,
        before: parameters.take("before")?,
        limit: parameters.limit()?,
    };
    parameters.end()?;
    let insight = insight::of(&shared)?;
    let failures = insight.failures().clone();
    let ListPage { rows: messages, next } =
        insight.ask(move |file| ask::search(file, &query, &failures)).await?;
    Ok(Json(MessageList { messages, next }).into_response())
}

/// `GET messages/{messageId}`: one entry for each source that has a message with this id.
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(message): Segment,
    parameters: Parameters,
) -> ApiResult {
    parameters.end()?;
    let insight = insight::of(&shared)?;
    let failures = insight.failures().clone();
    let id = message.clone();
    let messages = insight.ask(move |file| ask::timeline(file, &id, &failures)).await?;
    if messages.is_empty() {
        return Err(RequestError::NotFound(format!("message {message:?} in insight")));
    }
    Ok(Json(TimelineList { messages }).into_response())
}
