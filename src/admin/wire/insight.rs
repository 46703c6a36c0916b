//! The data of insight: messages, customers, figures, and the progress of insight. The rows of the lists are those of
//! [`insight::ask`](crate::insight::ask), some with additional members.

use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    event::MessageContent,
    insight::{
        MessageState,
        ask::{ArrivalRow, Contact, ConversationEntry, MessageRow, SourceRow, Timeline},
    },
};

/// A page of messages: the answer to `GET messages`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MessageList {
    pub messages: Vec<MessageRow>,
    /// The value of the query parameter `before` for the next page; null on the last page.
    pub next: Option<i64>,
}

/// The message, with one entry for each source that has it: the answer to `GET messages/{messageId}`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct TimelineList<R> {
    pub messages: Vec<R>,
}

/// A message with the events that reported it (at most the first 1,000), and with its content.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Timeline")]
pub(crate) struct TimelineReport<S = MessageState> {
    #[serde(flatten)]
    pub timeline: Timeline<S>,
    #[serde(flatten)]
    pub content: ShownContent,
}

/// The content of a message as people read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(!default)]
pub(crate) struct ShownContent {
    /// The text of the message, the title of the button or list row that the customer chose, the caption of a file, or
    /// another detail. If the message was edited, this is the text of its newest version. Null if the message has no
    /// such text, if it was deleted, or if the journal no longer has the event with the content.
    pub text: Option<String>,
    /// The kind of the content, such as `image`, `order of 2 items` or `deleted message`; null for a text and for a
    /// chosen button or list row.
    pub content: Option<String>,
    /// Whether the customer edited the message.
    pub edited: bool,
}

impl From<MessageContent<'_>> for ShownContent {
    fn from(MessageContent { label, text }: MessageContent<'_>) -> Self {
        Self { text: text.map(Cow::into_owned), content: label.map(Cow::into_owned), edited: false }
    }
}

impl fmt::Display for ShownContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, content, edited } = self;
        let parts: Vec<&str> = content.as_deref().into_iter().chain(text.as_deref()).collect();
        f.write_str(&parts.join(": "))?;
        if *edited { f.write_str(" (edited)") } else { Ok(()) }
    }
}

/// A page of customers: the answer to `GET contacts`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ContactList {
    pub contacts: Vec<Contact>,
    /// The value of the query parameter `before` for the next page; null on the last page. `before` is the seq of a
    /// customer's last event. Customers with the same last event stay on one page. So a page can have more rows than
    /// `limit`.
    pub next: Option<i64>,
}

/// The customers who wait for a reply: the answer to `GET contacts/waiting`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WaitingList {
    pub contacts: Vec<Contact>,
    /// Number of all customers who have waited for at most 24 hours; counted up to 10,000.
    pub waiting: usize,
    /// Number of all customers who have waited for more than 24 hours; counted up to 10,000.
    pub missed: usize,
}

/// The customer, and a page of the conversation with the texts of its messages.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConversationPage {
    pub contact: Contact,
    pub entries: Vec<EntryRow>,
    /// The value of the query parameter `before` for the next page; null on the last page. `before` is a seq, and
    /// entries of one event stay on one page. So a page can have more entries than `limit`.
    pub next: Option<u64>,
}

/// An entry of a conversation.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Entry")]
pub(crate) struct EntryRow {
    #[serde(flatten)]
    pub entry: ConversationEntry,
    /// The content of the message. If the entry is not a message, `text` and `content` are null and `edited` is false.
    #[serde(flatten)]
    pub content: ShownContent,
}

/// The rows of `GET funnel` or `GET failures`, with the period and the dimensions of the query.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{R}List")]
pub(crate) struct FigureList<R> {
    pub since: Timestamp,
    pub until: Timestamp,
    pub by: Vec<String>,
    pub rows: Vec<R>,
}

/// Counts of received events for each hour or day, by source and event name, oldest first: the answer to
/// `GET arrivals`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ArrivalList {
    pub rows: Vec<ArrivalRow>,
}

/// The sources: the answer to `GET sources`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct SourceList<R> {
    pub sources: Vec<R>,
}

/// A source, with the time since it last sent anything.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Source")]
pub(crate) struct SourceReport {
    #[serde(flatten)]
    pub row: SourceRow,
    /// Seconds since the source last sent anything.
    #[schemars(range(min = 0))]
    pub silent_seconds: i64,
}

/// The progress of insight through the journal.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Insight")]
pub(crate) struct InsightProgress {
    #[schemars(extend("const" = true))]
    pub enabled: bool,
    /// Insight has processed the events up to this seq.
    pub cursor: u64,
    /// The highest seq of the journal.
    pub tip: u64,
    pub lag: u64,
    /// The seq at which the running rebuild ends; null if no rebuild runs.
    pub rebuilding_to: Option<u64>,
}
