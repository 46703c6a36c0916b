//! `/api/v1`: JSON. Lists come newest first, by cursor: `next` of one page is `before` of the following one, and `null`
//! after the last. A page has a bound of bytes beside its limit, so it may be shorter than asked and still have a next.

mod contacts;
mod dead;
mod events;
mod figures;
mod handlers;
mod insight;
mod messages;
mod quarantine;
mod replays;
mod status;
mod tail;

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;

pub(super) use tail::tails;

use super::{Shared, fault::Fault};
use crate::journal;

/// Bytes of payload after which a page takes no further row.
const PAGE_BYTES: usize = 4 << 20;
/// Rows that a list reads at once: each may carry a payload of some MiB that the list does not show.
const CHUNK: usize = 16;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/events", get(events::list))
        .route("/events/{seq}", get(events::one))
        .route("/handlers", get(handlers::list))
        .route("/handlers/{name}/skip", post(handlers::skip))
        .route("/handlers/{name}/pause", post(handlers::pause))
        .route("/handlers/{name}/resume", post(handlers::resume))
        .route("/dead", get(dead::list))
        .route("/dead/retry", post(dead::retry))
        .route("/dead/drop", post(dead::drop))
        .route("/dead/{id}", get(dead::one))
        .route("/replays", get(replays::list).post(replays::start))
        .route("/replays/{id}", get(replays::one))
        .route("/replays/{id}/pause", post(replays::pause))
        .route("/replays/{id}/resume", post(replays::resume))
        .route("/replays/{id}/cancel", post(replays::cancel))
        .route("/quarantine", get(quarantine::list))
        .route("/quarantine/retry", post(quarantine::retry))
        .route("/quarantine/drop", post(quarantine::drop))
        .route("/quarantine/{id}", get(quarantine::one))
        .route("/quarantine/{id}/bytes", get(quarantine::bytes))
        .route("/tail", get(tail::tail))
        .route("/messages", get(messages::list))
        .route("/messages/{messageId}", get(messages::one))
        .route("/contacts", get(contacts::list))
        .route("/contacts/waiting", get(contacts::waiting))
        .route("/contacts/{id}", get(contacts::one))
        .route("/funnel", get(figures::funnel))
        .route("/failures", get(figures::failures))
        .route("/arrivals", get(figures::arrivals))
        .route("/sources", get(figures::sources))
        .route("/insight", get(insight::progress))
        .route("/insight/rebuild", post(insight::rebuild))
        .route("/credentials", get(status::credentials))
        .route("/status", get(status::status))
}

/// A segment of the path that is a number.
fn number<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_invalid| Fault::parameter(name, "is not a number"))
}

/// A page of a list, as it grows.
struct Page {
    rows: Vec<String>,
    bytes: usize,
    next: Option<i64>,
}

impl Page {
    /// Rows of a list whose entries carry payloads: read in chunks, so that not all of them are in memory at once.
    /// `read` gives a chunk after a cursor, newest first; `row` tells an entry's id, its size in bytes, and what is shown
    /// of it, if it is.
    async fn read<T, R: Serialize, F>(
        limit: usize,
        before: Option<i64>,
        read: impl Fn(Option<i64>, usize) -> F,
        row: impl Fn(&T) -> (i64, usize, Option<R>),
    ) -> Result<Self, Fault>
    where
        F: Future<Output = Result<Vec<T>, journal::Error>>,
    {
        let mut page = Self { rows: Vec::new(), bytes: 0, next: before };
        while page.rows.len() < limit && page.bytes < PAGE_BYTES {
            let asked = CHUNK.min(limit - page.rows.len());
            let chunk = read(page.next, asked).await?;
            for entry in &chunk {
                let (id, size, row) = row(entry);
                if let Some(row) = row {
                    page.rows.push(serde_json::to_string(&row).map_err(|_never| Fault::Inside)?);
                }
                page.bytes += size;
                page.next = Some(id);
            }
            if chunk.len() < asked {
                page.next = None;
                break;
            }
        }
        Ok(page)
    }

    /// What `look` says of up to `limit` rows, with the id of each.
    async fn each<T, S, F>(
        limit: usize,
        before: Option<i64>,
        read: impl Fn(Option<i64>, usize) -> F,
        look: impl Fn(&T) -> (i64, S),
    ) -> Result<Vec<(i64, S)>, Fault>
    where
        F: Future<Output = Result<Vec<T>, journal::Error>>,
    {
        let mut seen: Vec<(i64, S)> = Vec::new();
        while seen.len() < limit {
            let asked = CHUNK.min(limit - seen.len());
            let chunk = read(seen.last().map(|(id, _)| *id).or(before), asked).await?;
            seen.extend(chunk.iter().map(&look));
            if chunk.len() < asked {
                break;
            }
        }
        Ok(seen)
    }

    fn answer(self, name: &str) -> Response {
        list(name, &self.rows.join(","), self.next)
    }
}

/// `{"NAME":[ROWS],"next":NEXT}`, from rows that are JSON already: nothing of theirs goes through a parser.
fn list(name: &str, rows: &str, next: Option<impl std::fmt::Display>) -> Response {
    let mut text = String::with_capacity(rows.len() + name.len() + 48);
    // Writing to a String does not fail.
    let _ = match next {
        Some(next) => write!(text, "{{\"{name}\":[{rows}],\"next\":{next}}}"),
        None => write!(text, "{{\"{name}\":[{rows}],\"next\":null}}"),
    };
    json(text)
}

/// Text that is JSON already.
fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// Bytes as they came: never to be shown as anything by a browser.
fn octets(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}
