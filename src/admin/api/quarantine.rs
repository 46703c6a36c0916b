//! The quarantine: what could not be stored as events, and a second try.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Page, number, octets};
use crate::{
    admin::{
        Shared,
        fault::Fault,
        question::{Asked, Ids, Parameters, Segment},
        rows::{QuarantineDetail, QuarantineRow},
    },
    event::{self, Decoded, Draft, Reason},
    journal::{Batch, Journal, QuarantineEntry, QuarantineQuery, Receipt},
};

/// `GET quarantine?before=&limit=`
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    mut parameters: Parameters,
) -> Result<Response, Fault> {
    let before = parameters.take("before")?;
    let limit = parameters.limit()?;
    parameters.end()?;
    let journal = &shared.state.journal;
    let read = |before, limit| journal.quarantine(QuarantineQuery { before, limit });
    let page = Page::read(limit, before, read, |entry| {
        (entry.id, entry.item.bytes.len(), Some(QuarantineRow::from(entry)))
    });
    Ok(page.await?.answer("quarantine"))
}

/// `GET quarantine/{id}`
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    Ok(Json(QuarantineDetail::from(entry(&shared, &id).await?)).into_response())
}

/// `GET quarantine/{id}/bytes`
pub(super) async fn bytes(
    State(shared): State<Arc<Shared>>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    Ok(octets(entry(&shared, &id).await?.item.bytes))
}

async fn entry(shared: &Shared, id: &str) -> Result<QuarantineEntry, Fault> {
    let id = number("id", id)?;
    let entry = shared.state.journal.quarantined(id).await?;
    entry.ok_or_else(|| Fault::Nothing(format!("entry {id} in quarantine")))
}

/// `POST quarantine/drop`: for good.
pub(super) async fn drop(
    State(shared): State<Arc<Shared>>,
    Asked(Ids { ids }): Asked<Ids>,
) -> Result<Response, Fault> {
    let done = shared.state.journal.drop_quarantined(ids.clone()).await?;
    if !done.is_empty() {
        tracing::warn!(dropped = done.len(), "quarantine was dropped by an operator's decision");
    }
    #[derive(Serialize)]
    struct Answer {
        dropped: usize,
        unknown: Vec<i64>,
    }
    let unknown = ids.into_iter().filter(|id| !done.contains(id)).collect();
    Ok(Json(Answer { dropped: done.len(), unknown }).into_response())
}

/// `POST quarantine/retry`: what can be read by now becomes events, and what all of was read leaves the quarantine.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    Asked(Ids { ids }): Asked<Ids>,
) -> Result<Response, Fault> {
    let journal = &*shared.state.journal;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push(match journal.quarantined(id).await? {
            Some(entry) => again(journal, entry).await?,
            None => Retried { id, ..Retried::default() },
        });
    }
    #[derive(Serialize)]
    struct Answer {
        results: Vec<Retried>,
    }
    Ok(Json(Answer { results }).into_response())
}

/// What became of an entry.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Retried {
    id: i64,
    outcome: Outcome,
    accepted: u32,
    duplicates: u32,
    /// Elements of it that still cannot be read.
    unreadable: usize,
    /// Elements of it that have the key of a stored event with other content: each is in quarantine by itself.
    conflicts: u32,
    conflicts_with: Option<u64>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// All of it is stored: the entry left the quarantine.
    Stored,
    /// Something of it is stored, and something is not: the entry stays.
    Partly,
    /// Nothing of it can be read.
    Unreadable,
    /// A stored event has its key and other content.
    Conflict,
    /// There is no such entry.
    #[default]
    Unknown,
}

async fn again(journal: &dyn Journal, entry: QuarantineEntry) -> Result<Retried, Fault> {
    let QuarantineEntry { id, item, conflicts_with, .. } = entry;
    if let (Reason::Conflict, Some(seq)) = (item.reason, conflicts_with)
        && journal.get(seq).await?.is_some()
    {
        return Ok(Retried {
            id,
            outcome: Outcome::Conflict,
            conflicts: 1,
            conflicts_with,
            ..Retried::default()
        });
    }
    // Beside the runtime's threads: a body of some MiB takes a while.
    let decoded = tokio::task::spawn_blocking(move || event::decode(&item.source, &item.bytes)).await;
    let Ok(Decoded { drafts, quarantined, .. }) = decoded.map_err(|_panic| Fault::Inside)? else {
        return Ok(Retried { id, outcome: Outcome::Unreadable, unreadable: 1, ..Retried::default() });
    };
    // What still cannot be read is not kept a second time: the entry holds it.
    let receipt = store(journal, drafts).await?;
    let whole = quarantined.is_empty() && receipt.conflicts == 0;
    if whole {
        journal.drop_quarantined(vec![id]).await?;
    }
    let some = receipt.accepted + receipt.duplicates > 0;
    Ok(Retried {
        id,
        outcome: match (whole, some) {
            (true, _) => Outcome::Stored,
            (false, true) => Outcome::Partly,
            (false, false) if receipt.conflicts > 0 => Outcome::Conflict,
            (false, false) => Outcome::Unreadable,
        },
        accepted: receipt.accepted,
        duplicates: receipt.duplicates,
        unreadable: quarantined.len(),
        conflicts: receipt.conflicts,
        conflicts_with,
    })
}

async fn store(journal: &dyn Journal, drafts: Vec<Draft>) -> Result<Receipt, Fault> {
    if drafts.is_empty() {
        return Ok(Receipt::default());
    }
    Ok(journal.append(Batch { drafts, ..Batch::default() }).await?)
}
