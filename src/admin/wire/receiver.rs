//! The receiver itself: health, status, credentials and clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Word;
use crate::{
    clock::{ClockStatus, Timestamp},
    http::CredentialStatus,
    journal::JournalFigures,
};

/// The health of the receiver. It gives no detailed reasons, because no credentials are needed to read it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub ready: bool,
    /// One of `ready`, `full`, `stalled`, `failed`, `closed` and `stopping`.
    pub state: Word,
    /// The handler whose undelivered events prevent a full journal from deleting old events.
    pub held_by: Option<Arc<str>>,
}

/// The answer to `GET status`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub version: Word,
    pub uptime_secs: u64,
    #[serde(flatten)]
    pub health: Health,
    pub tip: u64,
    pub journal: FiguresRow,
}

/// The answer to `GET credentials`.
#[derive(Serialize)]
pub(crate) struct CredentialList {
    pub credentials: Vec<CredentialRow>,
}

/// A credential of the public side with its last use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialRow {
    source: Arc<str>,
    name: Arc<str>,
    kind: &'static str,
    pinned: Option<&'static str>,
    form: Option<&'static str>,
    last_used_at: Option<Timestamp>,
    uses: u64,
    not_after: Option<Timestamp>,
}

impl From<CredentialStatus> for CredentialRow {
    fn from(status: CredentialStatus) -> Self {
        Self {
            source: status.source,
            name: status.name,
            kind: status.kind.as_str(),
            pinned: status.pinned.map(|form| form.as_str()),
            form: status.form.map(|form| form.as_str()),
            last_used_at: status.last_used_at,
            uses: status.uses,
            not_after: status.not_after,
        }
    }
}

/// Figures of the journal: its span, sizes, and counts.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FiguresRow {
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    keys: u64,
    window_ms: i64,
    wal_bytes: u64,
    file_bytes: u64,
    room_bytes: u64,
    quarantined: u64,
    dead: u64,
}

impl From<&JournalFigures> for FiguresRow {
    fn from(figures: &JournalFigures) -> Self {
        Self {
            first_seq: figures.span.map(|(first, _)| first),
            last_seq: figures.span.map(|(_, last)| last),
            keys: figures.keys,
            window_ms: figures.window_ms,
            wal_bytes: figures.wal_bytes,
            file_bytes: figures.file_bytes,
            room_bytes: figures.room_bytes,
            quarantined: figures.quarantined,
            dead: figures.dead.iter().map(|(_, dead)| dead).sum(),
        }
    }
}

/// The answer to `POST clock/accept`.
#[derive(Serialize, Deserialize)]
pub(crate) struct AcceptedClock {
    /// False if the wall clock was trusted already.
    pub accepted: bool,
    #[serde(flatten)]
    pub clock: ClockStatus,
}
