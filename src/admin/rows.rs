//! Rows of JSON answers, shared by the API and by the command line when it reads the journal of a stopped receiver. The
//! JSON form of an event is [`Event::push_json_line`].

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    event::{Event, WORD_CHARS, excerpt},
    http::CredentialStatus,
    journal::{DeadLetter, Figures, History, QuarantineEntry},
};

/// Appends an event as one line of JSON. With `raw`, the line includes the stored bytes as the member `raw`.
pub fn push_event(out: &mut String, event: &Event, raw: bool) -> Result<(), serde_json::Error> {
    event.push_json_line(out);
    if raw {
        out.pop();
        out.push_str(",\"raw\":");
        out.push_str(&serde_json::to_string(event.element.raw())?);
        out.push('}');
    }
    Ok(())
}

/// A dead letter in a list. It contains no personal data.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadRow {
    id: i64,
    handler: Arc<str>,
    lane: &'static str,
    seq: u64,
    received_at: Timestamp,
    source: Arc<str>,
    event_name: String,
    cause: &'static str,
    attempts: u32,
    died_at: Timestamp,
    retrying: bool,
}

impl From<&DeadLetter> for DeadRow {
    fn from(dead: &DeadLetter) -> Self {
        Self {
            id: dead.id,
            handler: Arc::clone(&dead.lane.handler),
            lane: dead.lane.class.as_str(),
            seq: dead.event.seq,
            received_at: dead.event.came_at,
            source: Arc::clone(&dead.event.source),
            event_name: excerpt(dead.event.element.name(), WORD_CHARS).into_owned(),
            cause: dead.cause.as_str(),
            attempts: dead.attempts,
            died_at: dead.died_at,
            retrying: dead.retrying,
        }
    }
}

/// One dead letter with its rendered element and its error, which may quote the payload.
#[derive(Serialize)]
pub struct DeadDetail {
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

/// A quarantine entry in a list. It contains no personal data.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineRow {
    id: i64,
    source: Arc<str>,
    reason: &'static str,
    conflicts_with: Option<u64>,
    size_bytes: usize,
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl From<&QuarantineEntry> for QuarantineRow {
    fn from(entry: &QuarantineEntry) -> Self {
        Self {
            id: entry.id,
            source: Arc::clone(&entry.item.source),
            reason: entry.item.reason.as_str(),
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
pub struct QuarantineDetail {
    #[serde(flatten)]
    row: QuarantineRow,
    detail: String,
}

impl From<QuarantineEntry> for QuarantineDetail {
    fn from(entry: QuarantineEntry) -> Self {
        Self { row: QuarantineRow::from(&entry), detail: entry.item.detail }
    }
}

/// A credential of the public side with its last use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRow {
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
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FiguresRow {
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

impl From<&Figures> for FiguresRow {
    fn from(figures: &Figures) -> Self {
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
