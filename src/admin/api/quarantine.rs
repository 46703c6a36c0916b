//! The quarantine: input that could not be stored as events, and its retry.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, PageQuery, answers::Octets, bounded_page, changes::IdList};
use crate::{
    admin::{
        AdminState,
        decision::quarantine::{self, entry},
        error::RequestError,
        params::{JsonBody, Parameters, Segment},
        wire::{DroppedRows, QuarantineDetail, QuarantineList, QuarantineRow, Retried, RetriedList},
    },
    journal::{QuarantineEntry, QuarantineQuery},
};

/// `GET quarantine`
pub(super) async fn list(
    State(shared): State<Arc<AdminState>>,
    Parameters(page): Parameters<PageQuery<i64>>,
) -> ApiResult<QuarantineList> {
    let journal = &shared.parts.journal;
    let read = |before, limit| journal.quarantine(QuarantineQuery { before, limit });
    let row = |entry: &QuarantineEntry| (entry.id, entry.item.bytes.len(), Some(QuarantineRow::from(entry)));
    let (quarantine, next) = bounded_page(page, read, row).await?;
    Ok(Json(QuarantineList { quarantine, next }))
}

/// `GET quarantine/{id}`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<i64>,
    _: Parameters<()>,
) -> ApiResult<QuarantineDetail> {
    Ok(Json(QuarantineDetail::from(entry(&shared, id).await?)))
}

/// `GET quarantine/{id}/bytes`
pub(super) async fn bytes(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment<i64>,
    _: Parameters<()>,
) -> Result<Octets, RequestError> {
    Ok(Octets(entry(&shared, id).await?.item.bytes))
}

/// `POST quarantine/drop`: deletes entries permanently.
pub(super) async fn drop(
    State(shared): State<Arc<AdminState>>,
    JsonBody(IdList { ids }): JsonBody<IdList>,
) -> ApiResult<DroppedRows> {
    let done = quarantine::drop(&shared, ids.clone()).await?;
    let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
    Ok(Json(DroppedRows { dropped: done.len(), unknown }))
}

/// `POST quarantine/retry`: elements that can now be read become events. If any element of an entry is stored, or is a
/// duplicate of a stored event, the entry leaves the quarantine, and each of its other elements becomes a new entry.
/// Otherwise the entry stays.
pub(super) async fn retry(
    State(shared): State<Arc<AdminState>>,
    JsonBody(IdList { ids }): JsonBody<IdList>,
) -> ApiResult<RetriedList<Retried>> {
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push(quarantine::retry(&shared, id).await?);
    }
    Ok(Json(RetriedList { results }))
}
