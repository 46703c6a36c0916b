//! Retry and drop quarantine entries.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    admin::{
        AdminState,
        error::RequestError,
        wire::{Retried, RetryOutcome},
    },
    event::{Decoded, Decoder, NotJson, Quarantined, Reason},
    journal::{AppendBatch, AppendReceipt, Journal, QuarantineEntry, RetryOf},
};

/// The maximum number of elements in a part of an entry. Each part is decoded and stored separately.
const PART: usize = 10_000;

/// The quarantine entry with this id.
///
/// # Errors
/// Returns [`RequestError::NotFound`] if no entry has this id, and the errors of the journal.
pub(in crate::admin) async fn entry(shared: &AdminState, id: i64) -> Result<QuarantineEntry, RequestError> {
    let entry = shared.parts.journal.quarantined(id).await?;
    entry.ok_or_else(|| RequestError::NotFound(format!("entry {id} in quarantine")))
}

/// Deletes entries permanently. Returns the ids that existed.
pub(in crate::admin) async fn drop(shared: &AdminState, ids: Vec<i64>) -> Result<Vec<i64>, RequestError> {
    let done = shared.parts.journal.drop_quarantined(ids).await?;
    if !done.is_empty() {
        let dropped = done.len();
        tracing::info!(user = shared.user(), dropped, "quarantine entries dropped by an operator");
    }
    Ok(done)
}

/// Decodes an entry again. Elements that can now be read become events. If any element is stored, or was stored before,
/// the entry leaves the quarantine, and each of its other elements becomes a separate entry. A separate entry has none
/// of the stored elements. So a later retry cannot store these a second time, even after the deduplication window.
///
/// An entry with at most [`PART`] elements leaves the quarantine in the transaction that stores its elements. A larger
/// entry leaves the quarantine after its last part is stored. If the process ends earlier, the entry stays. A retry
/// then recognizes the stored elements as duplicates, but only within the deduplication window.
pub(in crate::admin) async fn retry(shared: &AdminState, id: i64) -> Result<Retried, RequestError> {
    let journal = &*shared.parts.journal;
    let retried = match journal.quarantined(id).await? {
        Some(entry) => again(journal, entry).await?,
        None => return Ok(Retried { id, ..Retried::default() }),
    };
    let (user, outcome) = (shared.user(), retried.outcome.as_str());
    tracing::info!(user, id, outcome, "quarantine entry retried by an operator");
    Ok(retried)
}

async fn again(journal: &dyn Journal, entry: QuarantineEntry) -> Result<Retried, RequestError> {
    let QuarantineEntry { id, item, conflicts_with, .. } = entry;
    if let (Reason::Conflict, Some(seq)) = (item.reason, conflicts_with)
        && journal.get(seq).await?.is_some()
    {
        return Ok(Retried {
            id,
            outcome: RetryOutcome::Conflict,
            conflicts: 1,
            conflicts_with,
            ..Retried::default()
        });
    }
    let item = Arc::new(item);
    // Decode the whole entry once before storing any of it.
    let (mut unreadable, mut part_count) = (0, 0);
    let mut parts = Parts::of(&item);
    while let Some(part) = parts.next().await? {
        unreadable += part.quarantined.len();
        part_count += 1;
    }
    if parts.are_broken {
        return Ok(Retried { id, outcome: RetryOutcome::Unreadable, unreadable: 1, ..Retried::default() });
    }
    let receipt = store(journal, id, &item, part_count).await?;
    let whole = unreadable == 0 && receipt.conflicts == 0;
    let some = receipt.accepted + receipt.duplicates > 0;
    Ok(Retried {
        id,
        outcome: match (whole, some) {
            (true, true) => RetryOutcome::Stored,
            (false, true) => RetryOutcome::Partly,
            (_, false) if receipt.conflicts > 0 => RetryOutcome::Conflict,
            (_, false) => RetryOutcome::Unreadable,
        },
        accepted: receipt.accepted,
        duplicates: receipt.duplicates,
        unreadable,
        conflicts: receipt.conflicts,
        conflicts_with,
    })
}

/// Stores the elements of an entry, part by part. If any element is stored, or is a duplicate, the entry is deleted. An
/// entry with one part is deleted in the transaction that stores the part. A larger entry is deleted after its last
/// part is stored.
async fn store(
    journal: &dyn Journal,
    id: i64,
    item: &Arc<Quarantined>,
    part_count: usize,
) -> Result<AppendReceipt, RequestError> {
    let retried = Some(if part_count == 1 { RetryOf::Whole(id) } else { RetryOf::Part });
    let mut receipt = AppendReceipt::default();
    // One value per part: true if none of its elements is stored or a duplicate.
    let mut unstored = Vec::new();
    let mut parts = Parts::of(item);
    while let Some(Decoded { drafts, quarantined, .. }) = parts.next().await? {
        let stored = if drafts.is_empty() {
            AppendReceipt::default()
        } else {
            journal.append(AppendBatch { drafts, quarantined, retried, ..AppendBatch::default() }).await?
        };
        unstored.push(stored.accepted + stored.duplicates == 0);
        receipt.accepted += stored.accepted;
        receipt.duplicates += stored.duplicates;
        receipt.conflicts += stored.conflicts;
    }
    if part_count == 1 || receipt.accepted + receipt.duplicates == 0 {
        return Ok(receipt);
    }
    if unstored.contains(&true) {
        let mut parts = Parts::of(item);
        for unstored in unstored {
            let Decoded { drafts, quarantined, .. } = parts.next().await?.ok_or(RequestError::Internal)?;
            if unstored {
                journal.append(AppendBatch { drafts, quarantined, ..AppendBatch::default() }).await?;
            }
        }
    }
    journal.drop_quarantined(vec![id]).await?;
    Ok(receipt)
}

/// The parts of an entry. A blocking thread decodes them, because the entry may have several MiB and any number of
/// elements.
struct Parts {
    read: mpsc::Receiver<Decoded>,
    reading: JoinHandle<Result<(), NotJson>>,
    /// The bytes of the entry are not valid JSON, or are truncated.
    are_broken: bool,
}

impl Parts {
    fn of(item: &Arc<Quarantined>) -> Self {
        let (parts, read) = mpsc::channel(1);
        let item = Arc::clone(item);
        let reading = tokio::task::spawn_blocking(move || {
            let mut decoder = Decoder::of(&item.source, &item.bytes);
            while let Some(part) = decoder.part(PART)? {
                // This fails if the retry has failed meanwhile and dropped `read`.
                if parts.blocking_send(part).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self { read, reading, are_broken: false }
    }

    async fn next(&mut self) -> Result<Option<Decoded>, RequestError> {
        let part = self.read.recv().await;
        if part.is_none() {
            let ended = (&mut self.reading).await.map_err(|_panic| RequestError::Internal)?;
            self.are_broken = ended.is_err();
        }
        Ok(part)
    }
}
