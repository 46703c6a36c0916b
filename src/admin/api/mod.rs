//! `/api/v1`, the JSON API. Paged lists are newest first: the `next` of one page is the `before` of the following page,
//! and `null` on the last page. If a request for the list of events has `after`, the list is oldest first. Its `next`
//! is then the `after` of the following page. A page has limits for its entries and for its bytes. So it may have fewer
//! entries than `limit` and still have a `next`.

mod answers;
mod changes;
mod clock;
mod contacts;
mod dead;
mod document;
mod events;
mod figures;
mod handlers;
mod insight;
mod messages;
mod operation;
mod quarantine;
mod replays;
mod routes;
mod schemas;
mod status;
mod tail;

pub(super) use routes::router;

use std::{fmt::Display, str::FromStr};

use axum::Json;
use schemars::JsonSchema;

use super::{
    chunks::CHUNK,
    error::RequestError,
    params::{TakeParameters, UrlQuery},
    selection::PAGE_BYTES,
};
use crate::journal;

type ApiResult<T> = Result<Json<T>, RequestError>;

/// The page of a list that a request asks for.
struct PageQuery<I> {
    before: Option<I>,
    limit: usize,
}

impl<I: FromStr<Err: Display> + JsonSchema> TakeParameters for PageQuery<I> {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        Ok(Self { before: query.before()?, limit: query.limit()? })
    }
}

/// Reads a page of a list whose entries have payloads. The page is read in chunks, so that not all payloads are in
/// memory at once. `read(None, count)` returns the newest `count` entries, newest first. `read(Some(id), count)` does
/// the same for the entries with a lower id. `row` returns the id of an entry, its size in bytes and, if the entry
/// matches the request, its row. Returns the rows, and the `before` of the next page.
async fn bounded_page<T, R, F>(
    PageQuery { before, limit }: PageQuery<i64>,
    read: impl Fn(Option<i64>, usize) -> F,
    row: impl Fn(&T) -> (i64, usize, Option<R>),
) -> Result<(Vec<R>, Option<i64>), RequestError>
where
    F: Future<Output = Result<Vec<T>, journal::Error>>,
{
    let (mut rows, mut bytes, mut next) = (Vec::new(), 0, before);
    while rows.len() < limit && bytes < PAGE_BYTES {
        let wanted = CHUNK.min(limit - rows.len());
        let chunk = read(next, wanted).await?;
        for entry in &chunk {
            let (id, size, row) = row(entry);
            rows.extend(row);
            bytes += size;
            next = Some(id);
        }
        if chunk.len() < wanted {
            return Ok((rows, None));
        }
    }
    Ok((rows, next))
}
