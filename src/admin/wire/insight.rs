//! The data of insight: messages, customers, figures and its own progress. The rows are those of
//! [`insight::ask`](crate::insight::ask).

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    insight::ask::{ArrivalRow, Contact, ConversationEntry, MessageRow, SourceRow},
};

/// The answer to `GET messages`.
#[derive(Serialize)]
pub(crate) struct MessageList {
    pub messages: Vec<MessageRow>,
    pub next: Option<i64>,
}

/// The answer to `GET messages/{messageId}`.
#[derive(Serialize, Deserialize)]
pub(crate) struct TimelineList<R> {
    pub messages: Vec<R>,
}

/// The answer to `GET contacts`.
#[derive(Serialize)]
pub(crate) struct ContactList {
    pub contacts: Vec<Contact>,
    pub next: Option<i64>,
}

/// The answer to `GET contacts/waiting`.
#[derive(Serialize)]
pub(crate) struct WaitingList {
    pub contacts: Vec<Contact>,
}

/// A conversation with the texts of its messages.
#[derive(Serialize)]
pub(crate) struct ConversationPage {
    pub contact: Contact,
    pub entries: Vec<EntryRow>,
    pub next: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct EntryRow {
    #[serde(flatten)]
    pub entry: ConversationEntry,
    /// The text of the message; null if it has no text or if the journal no longer has its event.
    pub text: Option<String>,
}

/// The answer to `GET funnel` and `GET failures`: rows, with the period and the dimensions of the query.
#[derive(Serialize, Deserialize)]
pub(crate) struct FigureList<R> {
    pub since: Timestamp,
    pub until: Timestamp,
    pub by: Vec<String>,
    pub rows: Vec<R>,
}

/// The answer to `GET arrivals`.
#[derive(Serialize)]
pub(crate) struct ArrivalList {
    pub rows: Vec<ArrivalRow>,
}

/// The answer to `GET sources`.
#[derive(Serialize, Deserialize)]
pub(crate) struct SourceList<R> {
    pub sources: Vec<R>,
}

/// A source with its silence.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceReport {
    #[serde(flatten)]
    pub row: SourceRow,
    /// Seconds since the source last sent anything.
    pub silent_seconds: i64,
}

/// The progress of insight through the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InsightProgress {
    pub enabled: bool,
    pub cursor: u64,
    pub tip: u64,
    pub lag: u64,
    pub rebuilding_to: Option<u64>,
}
