//! `/quarantine`: input that could not be stored as events. Each entry has a page with its bytes, a retry, and a drop.

mod bytes;

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;

use super::{
    confirm::Confirm,
    error_page::PageResult,
    form::Posted,
    format::{Tag, When, number, quantity},
    frame::Frame,
    visit::{PageVisit, download},
};
use crate::{
    admin::{
        chunks::each,
        decision::quarantine,
        params::parse_number,
        wire::{Retried, RetryOutcome},
    },
    event::{Position, Reason},
    journal::{QuarantineEntry, QuarantineQuery},
};
use bytes::{MarkedText, hex};

/// Entries per page.
const LIMIT: usize = 50;

/// An entry of the list, without its bytes.
struct QuarantineTableRow {
    id: i64,
    source: Arc<str>,
    reason: Tag,
    about: &'static str,
    conflicts_with: Option<u64>,
    size: String,
    count: u64,
    first_at: When,
    last_at: When,
}

impl QuarantineTableRow {
    fn of(entry: &QuarantineEntry) -> Self {
        let reason = entry.item.reason;
        let colour = if reason == Reason::Conflict { "note" } else { "warn" };
        Self {
            id: entry.id,
            source: Arc::clone(&entry.item.source),
            reason: Tag::new(colour, reason.as_str()),
            about: about(reason),
            conflicts_with: entry.conflicts_with,
            size: number(entry.item.bytes.len() as u64),
            count: entry.count,
            first_at: When::from(entry.first_at),
            last_at: When::from(entry.last_at),
        }
    }
}

const fn about(reason: Reason) -> &'static str {
    match reason {
        Reason::NotJson => "The whole body is not JSON, or cannot be decompressed. The sender got 400.",
        Reason::Syntax => "The element is not JSON. Other elements of its body may be stored.",
        Reason::Utf8 => "The element is not valid UTF-8.",
        Reason::Depth => "The element is nested deeper than 128 levels.",
        Reason::NotAnObject => "The element is not a JSON object.",
        Reason::NoEventName => "The eventName of the object is missing, empty or not a string.",
        Reason::TooMany => {
            "The body has more elements than an earlier version accepted. A retry reads all of them."
        }
        Reason::Conflict => "A stored event has the same id but other content.",
    }
}

#[derive(Template)]
#[template(path = "quarantine.html")]
struct QuarantineListPage {
    frame: Frame,
    rows: Vec<QuarantineTableRow>,
    next: Option<String>,
}

/// `GET /quarantine?before=`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let before = visit.form().read("before")?;
    let read = |before, limit| visit.journal().quarantine(QuarantineQuery { before, limit });
    let mut found = each(LIMIT + 1, before, read, |entry| (entry.id, QuarantineTableRow::of(entry))).await?;
    let is_more = found.len() > LIMIT;
    found.truncate(LIMIT);
    let next = found.last().filter(|_| is_more);
    let next = next.map(|(id, _)| visit.form().older("/quarantine", id));
    let rows = found.into_iter().map(|(_, row)| row).collect();
    visit.show(|frame| QuarantineListPage { frame, rows, next })
}

#[derive(Template)]
#[template(path = "quarantined.html")]
struct QuarantineEntryPage {
    frame: Frame,
    row: QuarantineTableRow,
    /// Why the input could not be stored, as text. While personal data is masked, only the length of the text is shown.
    detail: String,
    place: Option<Position>,
    /// `None` if personal data is masked.
    shown: Option<ShownBytes>,
}

/// The displayed part of the bytes.
struct ShownBytes {
    text: MarkedText,
    hex: String,
    /// There are more bytes than the hex digits show.
    is_cut: bool,
}

/// `GET /quarantine/{id}`
pub(super) async fn one(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    let entry = quarantine::entry(&visit.shared, parse_number("id", &id)?).await?;
    let row = QuarantineTableRow::of(&entry);
    let (bytes, place) = (&entry.item.bytes, entry.at);
    let shown = visit.redaction().is_off.then(|| ShownBytes {
        text: MarkedText::of(bytes, place.map(|place| place.offset(bytes))),
        hex: hex(bytes),
        is_cut: bytes.len() > bytes::HEX_BYTES,
    });
    // The detail may quote the payload in any form, so all of it is masked.
    let detail = visit.redaction().text(&entry.item.detail).into_owned();
    visit.show(|frame| QuarantineEntryPage { frame, row, detail, place, shown })
}

/// `GET /quarantine/{id}/bytes`: the raw bytes of the entry as a file download.
pub(super) async fn bytes(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    visit.check_revealed()?;
    let entry = quarantine::entry(&visit.shared, parse_number("id", &id)?).await?;
    Ok(download(&format!("quarantine-{}.bin", entry.id), entry.item.bytes))
}

/// `POST /quarantine/{id}/retry`
pub(super) async fn retry(Path(id): Path<String>, posted: Posted) -> PageResult {
    let id = parse_number("id", &id)?;
    let retried = quarantine::retry(&posted.visit.shared, id).await?;
    let has_left =
        matches!(retried.outcome, RetryOutcome::Stored | RetryOutcome::Partly | RetryOutcome::Unknown);
    let path = if has_left { "/quarantine".to_owned() } else { format!("/quarantine/{id}") };
    posted.says(&path, retried.outcome == RetryOutcome::Stored, result_text(&retried))
}

/// `GET /quarantine/{id}/drop`: asks for confirmation.
pub(super) async fn ask(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    let id = quarantine::entry(&visit.shared, parse_number("id", &id)?).await?.id;
    let what =
        "The bytes are deleted permanently. No copy of this input is left that a later version could read.";
    let title = format!("Drop entry {id}?");
    visit.show(|frame| Confirm::drop(frame, format!("/quarantine/{id}"), title, what.to_owned()))
}

/// `POST /quarantine/{id}/drop`
pub(super) async fn drop(Path(id): Path<String>, posted: Posted) -> PageResult {
    let id = parse_number("id", &id)?;
    let was_there = !quarantine::drop(&posted.visit.shared, vec![id]).await?.is_empty();
    let what = if was_there { "was dropped" } else { "is not in quarantine" };
    posted.says("/quarantine", was_there, format!("Entry {id} {what}."))
}

/// Describes the result of a retry in a sentence.
fn result_text(retried: &Retried) -> String {
    let id = retried.id;
    let events = || {
        let accepted = quantity(retried.accepted, "event was stored", "events were stored");
        match retried.duplicates {
            0 => accepted,
            duplicates => format!("{accepted}, {} already stored", quantity(duplicates, "was", "were")),
        }
    };
    match retried.outcome {
        RetryOutcome::Stored => format!("Entry {id} could be read: {}. It left the quarantine.", events()),
        RetryOutcome::Partly => format!(
            "Entry {id} could be read in part: {}; {}.",
            events(),
            quantity(
                retried.unreadable as u64 + u64::from(retried.conflicts),
                "element that could not be stored is now a separate entry",
                "elements that could not be stored are now separate entries"
            )
        ),
        RetryOutcome::Unreadable if retried.unreadable == 0 => {
            format!("Entry {id} stays: it has no elements, so nothing was stored.")
        }
        RetryOutcome::Unreadable => format!("Entry {id} still cannot be read."),
        RetryOutcome::Conflict => {
            format!("Entry {id} stays: a stored event still has the same id but other content.")
        }
        RetryOutcome::Unknown => format!("Entry {id} is not in quarantine."),
    }
}
