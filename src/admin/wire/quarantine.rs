//! The quarantine.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Word;
use crate::{clock::Timestamp, journal::QuarantineEntry};

/// The answer to `GET quarantine`.
#[derive(Serialize)]
pub(crate) struct QuarantineList {
    pub quarantine: Vec<QuarantineRow>,
    pub next: Option<i64>,
}

/// A quarantine entry in a list. It contains no personal data.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QuarantineRow {
    pub id: i64,
    pub source: Arc<str>,
    pub reason: Word,
    pub conflicts_with: Option<u64>,
    pub size_bytes: usize,
    pub count: u64,
    pub first_at: Timestamp,
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

/// One quarantine entry with the decoder's description of the error, which may quote the payload.
#[derive(Serialize)]
pub(crate) struct QuarantineDetail {
    #[serde(flatten)]
    row: QuarantineRow,
    detail: String,
}

impl From<QuarantineEntry> for QuarantineDetail {
    fn from(entry: QuarantineEntry) -> Self {
        Self { row: QuarantineRow::from(&entry), detail: entry.item.detail }
    }
}

/// The answer to `POST quarantine/retry`.
#[derive(Serialize, Deserialize)]
pub(crate) struct RetriedList<R> {
    pub results: Vec<R>,
}

/// The result of retrying one entry.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retried<S = RetryOutcome> {
    pub id: i64,
    pub outcome: S,
    pub accepted: u32,
    pub duplicates: u32,
    /// Elements that still cannot be read.
    pub unreadable: usize,
    /// Elements with the key of a stored event but other content.
    pub conflicts: u32,
    pub conflicts_with: Option<u64>,
}

/// How the retry of an entry ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RetryOutcome {
    /// All elements are stored, and the entry left the quarantine.
    Stored,
    /// Some elements are stored. Each of the others is a quarantine entry of its own.
    Partly,
    /// No element can be read, or the entry has none. It stays.
    Unreadable,
    /// No element is stored, because stored events have the same keys and other content. The entry stays.
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
