//! The quarantine: input that could not be stored as events, and its retry.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};

use super::{ApiResult, BoundedPage, changes::IdList, octets};
use crate::{
    admin::{
        AdminState,
        decision::quarantine::{self, entry},
        params::{JsonBody, Parameters, Segment, parse_number},
        wire::{Changed, ChangedRows, QuarantineDetail, QuarantineList, QuarantineRow, RetriedList},
    },
    journal::QuarantineQuery,
};

/// `GET quarantine?before=&limit=`
pub(super) async fn list(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let before = parameters.take("before")?;
    let limit = parameters.limit()?;
    parameters.end()?;
    let journal = &shared.parts.journal;
    let read = |before, limit| journal.quarantine(QuarantineQuery { before, limit });
    let BoundedPage { rows: quarantine, next, .. } = BoundedPage::read(limit, before, read, |entry| {
        (entry.id, entry.item.bytes.len(), Some(QuarantineRow::from(entry)))
    })
    .await?;
    Ok(Json(QuarantineList { quarantine, next }).into_response())
}

/// `GET quarantine/{id}`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> ApiResult {
    parameters.end()?;
    Ok(Json(QuarantineDetail::from(entry(&shared, parse_number("id", &id)?).await?)).into_response())
}

/// `GET quarantine/{id}/bytes`
pub(super) async fn bytes(
    State(shared): State<Arc<AdminState>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> ApiResult {
    parameters.end()?;
    Ok(octets(entry(&shared, parse_number("id", &id)?).await?.item.bytes))
}

/// `POST quarantine/drop`: deletes entries permanently.
pub(super) async fn drop(
    State(shared): State<Arc<AdminState>>,
    JsonBody(IdList { ids }): JsonBody<IdList>,
) -> ApiResult {
    let done = quarantine::drop(&shared, ids.clone()).await?;
    let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
    Ok(Json(Changed::new(ChangedRows::Dropped(done.len()), unknown)).into_response())
}

/// `POST quarantine/retry`: elements that can be read now become events. If any element of an entry is stored, the
/// entry leaves the quarantine, and each element that is not stored becomes an entry of its own.
pub(super) async fn retry(
    State(shared): State<Arc<AdminState>>,
    JsonBody(IdList { ids }): JsonBody<IdList>,
) -> ApiResult {
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push(quarantine::retry(&shared, id).await?);
    }
    Ok(Json(RetriedList { results }).into_response())
}
