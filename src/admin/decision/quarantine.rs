//! Entries of the quarantine that are tried again, or dropped.

use std::sync::Arc;

use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    admin::{Shared, fault::Fault},
    event::{Decoded, Decoder, Draft, NotJson, Quarantined, Reason},
    journal::{Batch, Journal, QuarantineEntry, Receipt},
};

/// Elements that are read and stored at once.
const PART: usize = 10_000;

/// The entry that is meant.
///
/// # Errors
/// [`Fault::Nothing`]: there is none of that id.
pub(in crate::admin) async fn entry(shared: &Shared, id: i64) -> Result<QuarantineEntry, Fault> {
    let entry = shared.state.journal.quarantined(id).await?;
    entry.ok_or_else(|| Fault::Nothing(format!("entry {id} in quarantine")))
}

/// Deletes entries for good; those that there were.
pub(in crate::admin) async fn drop(shared: &Shared, ids: Vec<i64>) -> Result<Vec<i64>, Fault> {
    let done = shared.state.journal.drop_quarantined(ids).await?;
    if !done.is_empty() {
        let dropped = done.len();
        tracing::info!(user = shared.user(), dropped, "quarantine was dropped by an operator's decision");
    }
    Ok(done)
}

/// Reads an entry again: what can be read by now becomes events, and leaves the quarantine. Of an entry that was read in part,
/// each element that could not be read is an entry by itself then: tried again later, it cannot bring a second time what was
/// stored, however long ago that was.
pub(in crate::admin) async fn retry(shared: &Shared, id: i64) -> Result<Retried, Fault> {
    let journal = &*shared.state.journal;
    let retried = match journal.quarantined(id).await? {
        Some(entry) => again(journal, entry).await?,
        None => return Ok(Retried { id, ..Retried::default() }),
    };
    let (user, outcome) = (shared.user(), retried.outcome.as_str());
    tracing::info!(user, id, outcome, "an entry of the quarantine was tried again by an operator's decision");
    Ok(retried)
}

/// What became of an entry.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin) struct Retried {
    pub(in crate::admin) id: i64,
    pub(in crate::admin) outcome: Outcome,
    pub(in crate::admin) accepted: u32,
    pub(in crate::admin) duplicates: u32,
    /// Elements of it that still cannot be read.
    pub(in crate::admin) unreadable: usize,
    /// Elements of it that have the key of a stored event with other content: each is in quarantine by itself.
    pub(in crate::admin) conflicts: u32,
    pub(in crate::admin) conflicts_with: Option<u64>,
}

/// How it ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::admin) enum Outcome {
    /// All of it is stored: the entry left the quarantine.
    Stored,
    /// Something of it is stored, and something is not: that is in quarantine by itself.
    Partly,
    /// Nothing of it can be read.
    Unreadable,
    /// A stored event has its key and other content.
    Conflict,
    /// There is no such entry.
    #[default]
    Unknown,
}

impl Outcome {
    /// As in JSON.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Partly => "partly",
            Self::Unreadable => "unreadable",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
        }
    }
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
    let item = Arc::new(item);
    // All of it is read once before anything of it is stored.
    let mut unreadable = 0;
    let mut parts = Parts::of(&item);
    while let Some(part) = parts.next().await? {
        unreadable += part.quarantined.len();
    }
    if parts.are_broken {
        return Ok(Retried { id, outcome: Outcome::Unreadable, unreadable: 1, ..Retried::default() });
    }
    let mut receipt = Receipt::default();
    let mut parts = Parts::of(&item);
    while let Some(part) = parts.next().await? {
        let stored = store(journal, part.drafts).await?;
        receipt.accepted += stored.accepted;
        receipt.duplicates += stored.duplicates;
        receipt.conflicts += stored.conflicts;
    }
    let whole = unreadable == 0 && receipt.conflicts == 0;
    let some = receipt.accepted + receipt.duplicates > 0;
    if some {
        // Conflicts are there by themselves already.
        let mut parts = Parts::of(&item);
        while unreadable > 0
            && let Some(Decoded { quarantined, .. }) = parts.next().await?
        {
            journal.append(Batch { quarantined, ..Batch::default() }).await?;
        }
        journal.drop_quarantined(vec![id]).await?;
    }
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
        unreadable,
        conflicts: receipt.conflicts,
        conflicts_with,
    })
}

/// A body, read part by part beside the runtime's threads: it may be of some MiB, and of any number of elements.
struct Parts {
    read: mpsc::Receiver<Decoded>,
    reading: JoinHandle<Result<(), NotJson>>,
    /// It is no JSON, or not to its end.
    are_broken: bool,
}

impl Parts {
    fn of(item: &Arc<Quarantined>) -> Self {
        let (parts, read) = mpsc::channel(1);
        let item = Arc::clone(item);
        let reading = tokio::task::spawn_blocking(move || {
            let mut decoder = Decoder::of(&item.source, &item.bytes);
            while let Some(part) = decoder.part(PART)? {
                // Whoever asked may have failed.
                if parts.blocking_send(part).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self { read, reading, are_broken: false }
    }

    async fn next(&mut self) -> Result<Option<Decoded>, Fault> {
        let part = self.read.recv().await;
        if part.is_none() {
            let ended = (&mut self.reading).await.map_err(|_panic| Fault::Inside)?;
            self.are_broken = ended.is_err();
        }
        Ok(part)
    }
}

async fn store(journal: &dyn Journal, drafts: Vec<Draft>) -> Result<Receipt, Fault> {
    if drafts.is_empty() {
        return Ok(Receipt::default());
    }
    Ok(journal.append(Batch { drafts, ..Batch::default() }).await?)
}
