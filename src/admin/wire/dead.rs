//! Dead letters: the rows of a list, and one dead letter with its details.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer, ser::Error};
use serde_json::{Map, Value, value::RawValue};

use super::Word;
use crate::{
    admin::redaction::Redaction,
    clock::Timestamp,
    event::{Class, Event, WORD_CHARS, excerpt},
    journal::{Cause, DeadLetter, History},
};

/// A page of dead letters: the answer to `GET dead`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DeadList {
    pub dead: Vec<DeadRow>,
    /// The value of the query parameter `before` for the next page; null on the last page.
    pub next: Option<i64>,
}

/// A dead letter in a list. The details of its last error are masked.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetter")]
pub(crate) struct DeadRow {
    pub id: i64,
    pub handler: Arc<str>,
    #[schemars(with = "Class")]
    pub lane: Word,
    pub seq: u64,
    pub received_at: Timestamp,
    pub source: Arc<str>,
    pub event_name: String,
    /// BIK's id of the first message in the event; null if there is none.
    pub message_id: Option<String>,
    #[schemars(with = "Cause")]
    pub cause: Word,
    /// Number of attempts to deliver the event so far.
    pub attempts: u32,
    /// When the event became a dead letter.
    pub died_at: Timestamp,
    /// The dead letter is marked for retry.
    pub retrying: bool,
    /// The last error, with its details masked.
    pub failure: String,
}

impl From<&DeadLetter> for DeadRow {
    fn from(dead: &DeadLetter) -> Self {
        Self {
            id: dead.id,
            handler: Arc::clone(&dead.lane.handler),
            lane: dead.lane.class.as_str().into(),
            seq: dead.event.seq,
            received_at: dead.event.came_at,
            source: Arc::clone(&dead.event.source),
            message_id: dead.event.element.view().message_ids().next().map(str::to_owned),
            event_name: excerpt(dead.event.element.name(), WORD_CHARS).into_owned(),
            cause: dead.cause.as_str().into(),
            attempts: dead.attempts,
            died_at: dead.died_at,
            retrying: dead.retrying,
            failure: Redaction { is_off: false }.error(&dead.error),
        }
    }
}

/// A dead letter with its event, its last error and its failed attempts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterDetail")]
pub(crate) struct DeadDetail {
    #[serde(flatten)]
    row: DeadRow,
    /// The last error. It may quote the payload.
    error: String,
    /// The failed attempts, oldest first. Recording starts with the attempt after which the event was set aside or
    /// became a dead letter. At most ten recorded attempts are kept: the first one and the latest nine.
    history: History,
    /// The element that BIK posted, as strict JSON. Keys and numbers are unchanged.
    #[schemars(with = "Map<String, Value>")]
    #[serde(serialize_with = "rendered")]
    event: Arc<Event>,
}

impl From<DeadLetter> for DeadDetail {
    fn from(dead: DeadLetter) -> Self {
        Self { row: DeadRow::from(&dead), error: dead.error, history: dead.history, event: dead.event }
    }
}

fn rendered<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    let element = event.element.rendered().into_owned();
    RawValue::from_string(element).map_err(S::Error::custom)?.serialize(serializer)
}
