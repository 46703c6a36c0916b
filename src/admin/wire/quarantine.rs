//! Quarantine entries, and the results of retrying them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;
use crate::{clock::Timestamp, event::Reason, journal::QuarantineEntry};

/// A page of quarantine entries: the answer to `GET quarantine`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct QuarantineList {
    pub quarantine: Vec<QuarantineRow>,
    /// The value of the query parameter `before` for the next page; null on the last page.
    pub next: Option<i64>,
}

/// A quarantine entry in a list. It contains no personal data.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Quarantined")]
pub(crate) struct QuarantineRow {
    pub id: i64,
    pub source: Arc<str>,
    #[schemars(with = "Reason")]
    pub reason: Word,
    /// The seq of the stored event with the same key and other content; null unless the reason is `conflict`.
    pub conflicts_with: Option<u64>,
    pub size_bytes: usize,
    /// How often the same bytes were received.
    pub count: u64,
    /// When the bytes were first received.
    pub first_at: Timestamp,
    /// When the bytes were last received.
    pub last_at: Timestamp,
}

impl From<&QuarantineEntry> for QuarantineRow {
    fn from(entry: &QuarantineEntry) -> Self {
        Self {
            id: entry.id,
            source: Arc::clone(&entry.item.source),
            reason: entry.item.reason.as_str().into(),
            conflicts_with: entry.conflicts_with,
            size_bytes: entry.item.bytes.len(),
            count: entry.count,
            first_at: entry.first_at,
            last_at: entry.last_at,
        }
    }
}

/// A quarantine entry with the details of its error.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QuarantinedDetail")]
pub(crate) struct QuarantineDetail {
    #[serde(flatten)]
    row: QuarantineRow,
    /// The error in the bytes. It may quote the payload.
    detail: String,
}

impl From<QuarantineEntry> for QuarantineDetail {
    fn from(entry: QuarantineEntry) -> Self {
        Self { row: QuarantineRow::from(&entry), detail: entry.item.detail }
    }
}

/// The result of each entry: the answer to `POST quarantine/retry`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct RetriedList<R> {
    pub results: Vec<R>,
}

/// The result of retrying one entry.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retried<S = RetryOutcome> {
    pub id: i64,
    pub outcome: S,
    /// Number of elements that became events.
    pub accepted: u32,
    /// Number of elements that were stored as events before.
    pub duplicates: u32,
    /// Number of elements that still cannot be read.
    pub unreadable: usize,
    /// Number of elements with the key of a stored event but other content.
    pub conflicts: u32,
    /// The seq of the stored event that the entry itself conflicts with; null unless its reason is `conflict`.
    pub conflicts_with: Option<u64>,
}

/// How the retry of an entry ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RetryOutcome {
    /// All elements are stored, by this retry or earlier. The entry left the quarantine.
    Stored,
    /// Some elements are stored, by this retry or earlier. Each of the others is now a separate quarantine entry, and
    /// this entry left the quarantine.
    Partly,
    /// No element can be read, or the entry has no element. The entry stays.
    Unreadable,
    /// No element is stored, and at least one has the key of a stored event but other content. The entry stays.
    Conflict,
    /// No entry has this id.
    #[default]
    Unknown,
}

impl RetryOutcome {
    /// The name in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Partly => "partly",
            Self::Unreadable => "unreadable",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
        }
    }
}
