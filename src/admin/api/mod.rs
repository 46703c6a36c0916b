//! `/api/v1`, the JSON API. Lists are newest first and paged by cursor: the `next` of one page is the `before` of the
//! following page, and `null` on the last page. A page is bounded in bytes as well as by its limit: it may be shorter
//! than requested and still have a `next`.

mod changes;
mod clock;
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

use std::sync::Arc;

use axum::{
    Router,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};

use super::{AdminState, chunks::CHUNK, error::RequestError, params::Parameters};
use crate::journal;

/// A page takes no more rows after this many bytes of payload.
const PAGE_BYTES: usize = 4 << 20;

type ApiResult = Result<Response, RequestError>;
type Route = (MethodFilter, &'static str, fn(MethodFilter) -> MethodRouter<Arc<AdminState>>);

/// All routes. [`DOCUMENT`] describes their parameters and answers.
const ROUTES: [Route; 41] = [
    (MethodFilter::GET, "/events", |method| on(method, events::list)),
    (MethodFilter::GET, "/events/{seq}", |method| on(method, events::one)),
    (MethodFilter::GET, "/handlers", |method| on(method, handlers::list)),
    (MethodFilter::POST, "/handlers/{name}/skip", |method| on(method, handlers::skip)),
    (MethodFilter::POST, "/handlers/{name}/pause", |method| on(method, handlers::pause)),
    (MethodFilter::POST, "/handlers/{name}/resume", |method| on(method, handlers::resume)),
    (MethodFilter::POST, "/handlers/{name}/rename", |method| on(method, handlers::rename)),
    (MethodFilter::POST, "/handlers/{name}/retry", |method| on(method, handlers::retry)),
    (MethodFilter::POST, "/handlers/{name}/believe", |method| on(method, handlers::believe)),
    (MethodFilter::GET, "/dead", |method| on(method, dead::list)),
    (MethodFilter::POST, "/dead/retry", |method| on(method, dead::retry)),
    (MethodFilter::POST, "/dead/drop", |method| on(method, dead::drop)),
    (MethodFilter::GET, "/dead/{id}", |method| on(method, dead::one)),
    (MethodFilter::GET, "/replays", |method| on(method, replays::list)),
    (MethodFilter::POST, "/replays", |method| on(method, replays::start)),
    (MethodFilter::GET, "/replays/{id}", |method| on(method, replays::one)),
    (MethodFilter::POST, "/replays/{id}/pause", |method| on(method, replays::pause)),
    (MethodFilter::POST, "/replays/{id}/resume", |method| on(method, replays::resume)),
    (MethodFilter::POST, "/replays/{id}/cancel", |method| on(method, replays::cancel)),
    (MethodFilter::GET, "/quarantine", |method| on(method, quarantine::list)),
    (MethodFilter::POST, "/quarantine/retry", |method| on(method, quarantine::retry)),
    (MethodFilter::POST, "/quarantine/drop", |method| on(method, quarantine::drop)),
    (MethodFilter::GET, "/quarantine/{id}", |method| on(method, quarantine::one)),
    (MethodFilter::GET, "/quarantine/{id}/bytes", |method| on(method, quarantine::bytes)),
    (MethodFilter::GET, "/tail", |method| on(method, tail::tail)),
    (MethodFilter::GET, "/messages", |method| on(method, messages::list)),
    (MethodFilter::GET, "/messages/{messageId}", |method| on(method, messages::one)),
    (MethodFilter::GET, "/contacts", |method| on(method, contacts::list)),
    (MethodFilter::GET, "/contacts/waiting", |method| on(method, contacts::waiting)),
    (MethodFilter::GET, "/contacts/{id}", |method| on(method, contacts::one)),
    (MethodFilter::GET, "/funnel", |method| on(method, figures::funnel)),
    (MethodFilter::GET, "/failures", |method| on(method, figures::failures)),
    (MethodFilter::GET, "/arrivals", |method| on(method, figures::arrivals)),
    (MethodFilter::GET, "/sources", |method| on(method, figures::sources)),
    (MethodFilter::GET, "/insight", |method| on(method, insight::progress)),
    (MethodFilter::POST, "/insight/rebuild", |method| on(method, insight::rebuild)),
    (MethodFilter::GET, "/clock", |method| on(method, clock::show)),
    (MethodFilter::POST, "/clock/accept", |method| on(method, clock::accept)),
    (MethodFilter::GET, "/credentials", |method| on(method, status::credentials)),
    (MethodFilter::GET, "/status", |method| on(method, status::status)),
    (MethodFilter::GET, "/openapi.json", |method| on(method, document)),
];

/// The OpenAPI document, written by hand. One test compares its paths with the routes; another compares its schemas
/// with the answers of the real binary.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn routes() -> Router<Arc<AdminState>> {
    ROUTES.into_iter().fold(Router::new(), |router, (method, path, route)| router.route(path, route(method)))
}

/// `GET openapi.json`
async fn document(parameters: Parameters) -> ApiResult {
    parameters.end()?;
    Ok(json(DOCUMENT.to_owned()))
}

/// A page of a list while it is being read.
struct BoundedPage<R> {
    rows: Vec<R>,
    bytes: usize,
    next: Option<i64>,
}

impl<R> BoundedPage<R> {
    /// Reads a list whose entries carry payloads, in chunks, so that not all payloads are in memory at once. `read`
    /// returns the chunk after a cursor, newest first. `row` returns an entry's id, its size in bytes and, if the entry
    /// is shown, its row.
    async fn read<T, F>(
        limit: usize,
        before: Option<i64>,
        read: impl Fn(Option<i64>, usize) -> F,
        row: impl Fn(&T) -> (i64, usize, Option<R>),
    ) -> Result<Self, RequestError>
    where
        F: Future<Output = Result<Vec<T>, journal::Error>>,
    {
        let mut page = Self { rows: Vec::new(), bytes: 0, next: before };
        while page.rows.len() < limit && page.bytes < PAGE_BYTES {
            let wanted = CHUNK.min(limit - page.rows.len());
            let chunk = read(page.next, wanted).await?;
            for entry in &chunk {
                let (id, size, row) = row(entry);
                page.rows.extend(row);
                page.bytes += size;
                page.next = Some(id);
            }
            if chunk.len() < wanted {
                page.next = None;
                break;
            }
        }
        Ok(page)
    }
}

/// An answer from text that is JSON already.
fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// An answer of raw bytes, with a content type that no browser renders.
fn octets(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                documented.insert((method.clone(), path.clone()));
            }
        }
        let method = |filter| match filter {
            MethodFilter::GET => "get".to_owned(),
            MethodFilter::POST => "post".to_owned(),
            other => panic!("{other:?}"),
        };
        let routes: BTreeSet<_> =
            ROUTES.iter().map(|(filter, path, _)| (method(*filter), (*path).to_owned())).collect();
        assert_eq!(routes.len(), ROUTES.len());
        assert_eq!(documented, routes);
    }

    #[test]
    fn the_document_has_the_answers_that_every_path_can_give() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for status in ["401", "405", "421", "429"] {
                    assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
                }
            }
        }
    }
}
