//! Dead letters.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

use super::Word;
use crate::{
    clock::Timestamp,
    event::{Event, WORD_CHARS, excerpt},
    journal::{DeadLetter, History},
};

/// The answer to `GET dead`.
#[derive(Serialize)]
pub(crate) struct DeadList {
    pub dead: Vec<DeadRow>,
    pub next: Option<i64>,
}

/// A dead letter in a list. It contains no personal data.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadRow {
    pub id: i64,
    pub handler: Arc<str>,
    pub lane: Word,
    pub seq: u64,
    pub received_at: Timestamp,
    pub source: Arc<str>,
    pub event_name: String,
    pub cause: Word,
    pub attempts: u32,
    pub died_at: Timestamp,
    pub retrying: bool,
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
            event_name: excerpt(dead.event.element.name(), WORD_CHARS).into_owned(),
            cause: dead.cause.as_str().into(),
            attempts: dead.attempts,
            died_at: dead.died_at,
            retrying: dead.retrying,
        }
    }
}

/// One dead letter with its rendered element and its error, which may quote the payload.
#[derive(Serialize)]
pub(crate) struct DeadDetail {
    #[serde(flatten)]
    row: DeadRow,
    error: String,
    /// Failed attempts since the event was first tried alone, oldest first: the first and the last nine.
    history: History,
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
