//! The receiver: health, status, credentials and clock.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;
use crate::{clock::ClockStatus, http::CredentialStatus, journal::JournalFigures};

/// The health of the receiver. It gives no detailed reasons, because no credentials are needed to read it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub ready: bool,
    /// `ready` if the receiver can store events, otherwise why it cannot.
    #[schemars(extend("enum" = ["ready", "full", "stalled", "failed", "closed", "stopping"]))]
    pub state: Word,
    /// The handler whose undelivered events prevent a full journal from deleting expired events; null if there is none.
    pub held_by: Option<Arc<str>>,
}

/// The version, the health and the figures of the journal: the answer to `GET status`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub version: Word,
    /// Time since the start of the process, in seconds.
    pub uptime_secs: u64,
    #[serde(flatten)]
    pub health: Health,
    /// The highest seq ever stored, even if its event was deleted; 0 before the first event.
    pub tip: u64,
    pub journal: FiguresRow,
}

/// The credentials: the answer to `GET credentials`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CredentialList {
    pub credentials: Vec<CredentialStatus>,
}

/// Figures of the journal: its span, sizes, and counts.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FiguresRow {
    /// The lowest stored seq; null while the journal is empty.
    first_seq: Option<u64>,
    /// The highest stored seq; null while the journal is empty.
    last_seq: Option<u64>,
    /// Number of keys in the window for duplicates.
    keys: u64,
    /// How far back the window for duplicates reaches, in milliseconds.
    window_ms: i64,
    /// Bytes written to the write-ahead log since it was last reset. The file may be larger.
    wal_bytes: u64,
    /// Size of the database file, in bytes.
    file_bytes: u64,
    /// Free space for the journal in bytes. This includes the reserve, which the journal leaves free.
    room_bytes: u64,
    /// Number of quarantine entries.
    quarantined: u64,
    /// Number of dead letters.
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

/// The state of the clock, and whether the request changed it: the answer to `POST clock/accept`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct AcceptedClock {
    /// True if the wall clock was not trusted, or if deletion by age was waiting for an operator to confirm the clock.
    pub accepted: bool,
    #[serde(flatten)]
    pub clock: ClockStatus,
}
