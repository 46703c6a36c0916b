//! Opens and fills a journal without the receiver.

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bikhook::{
    journal::{AppendBatch, AppendReceipt, Journal, sqlite},
    metrics::Metrics,
};
use tokio::runtime::Runtime;

use super::{events, run::Failed};

/// Events per append while a journal is filled.
const BATCH: u64 = 4_000;
/// Number of batches that are built in advance.
const AHEAD: usize = 8;

/// An open journal. It is closed when it is dropped.
pub struct Open {
    journal: sqlite::SqliteJournal,
    runtime: Runtime,
}

impl Open {
    /// Opens or creates the journal at `path`.
    pub fn new(path: &Path) -> Result<Self, Failed> {
        let settings = sqlite::Settings { path: path.to_owned(), ..sqlite::Settings::default() };
        // Closing joins the journal's threads on a thread of the runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { journal: sqlite::SqliteJournal::open(settings, Metrics::new())?, runtime })
    }

    /// Appends a batch, as a request does.
    pub fn append(&self, batch: AppendBatch) -> Result<AppendReceipt, Failed> {
        Ok(self.runtime.block_on(self.journal.append(batch))?)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.block_on(self.journal.close()) {
            eprintln!("the journal was not closed cleanly: {error}");
        }
    }
}

/// Appends the events `first .. first + count` to the journal at `path`. Returns the mean size of an event in bytes.
pub fn fill(path: &Path, first: u64, count: u64) -> Result<f64, Failed> {
    fill_with(path, first, count, events::batch)
}

/// Like [`fill`], with batches from `make`, which gets the first event's number and the number of events.
pub fn fill_with(
    path: &Path,
    first: u64,
    count: u64,
    make: fn(u64, u64) -> Result<AppendBatch, Failed>,
) -> Result<f64, Failed> {
    let began = Instant::now();
    let journal = Open::new(path)?;
    let (made, batches) = mpsc::sync_channel::<Result<AppendBatch, Failed>>(AHEAD);
    let mut bytes = 0;
    thread::scope(|scope| {
        scope.spawn(move || {
            let end = first + count;
            let mut at = first;
            while at < end {
                let batch = make(at, BATCH.min(end - at));
                // Sending fails after an append failed.
                if made.send(batch).is_err() {
                    return;
                }
                at += BATCH;
            }
        });
        for batch in batches {
            let batch = batch?;
            bytes += batch.drafts.iter().map(|draft| draft.element.raw().len()).sum::<usize>();
            journal.append(batch)?;
        }
        Ok::<_, Failed>(())
    })?;
    let took = began.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    println!("  filled with {count} events, 4,000 per append: {:.0} events/s", count as f64 / took);
    Ok(bytes as f64 / count as f64)
}
