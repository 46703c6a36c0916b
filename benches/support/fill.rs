//! A journal by itself, and how one is filled.

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bikhook::{
    journal::{Batch, Journal, Receipt, sqlite},
    metrics::Metrics,
};
use tokio::runtime::Runtime;

use super::{events, run::Failed};

/// Events of one append while a journal is filled.
const BATCH: u64 = 4_000;
/// Batches that are made ahead.
const AHEAD: usize = 8;

/// An open journal; closed when it is dropped.
pub struct Open {
    journal: sqlite::Sqlite,
    runtime: Runtime,
}

impl Open {
    /// Opens the journal at `path`, or makes it.
    pub fn new(path: &Path) -> Result<Self, Failed> {
        let settings = sqlite::Settings { path: path.to_owned(), ..sqlite::Settings::default() };
        // Closing joins the journal's threads on a thread of the runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { journal: sqlite::Sqlite::open(settings, Metrics::new())?, runtime })
    }

    /// One append, as a request does it.
    pub fn append(&self, batch: Batch) -> Result<Receipt, Failed> {
        Ok(self.runtime.block_on(self.journal.append(batch))?)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.block_on(self.journal.close()) {
            eprintln!("a journal was not closed in good order: {error}");
        }
    }
}

/// Appends the events `first .. first + count` to the journal at `path`; the mean size of an event's bytes.
pub fn fill(path: &Path, first: u64, count: u64) -> Result<f64, Failed> {
    fill_with(path, first, count, events::batch)
}

/// The same, of batches that are made so: of the events from the first number on, so many.
pub fn fill_with(
    path: &Path,
    first: u64,
    count: u64,
    make: fn(u64, u64) -> Result<Batch, Failed>,
) -> Result<f64, Failed> {
    let began = Instant::now();
    let journal = Open::new(path)?;
    let (made, batches) = mpsc::sync_channel::<Result<Batch, Failed>>(AHEAD);
    let mut bytes = 0;
    thread::scope(|scope| {
        scope.spawn(move || {
            let end = first + count;
            let mut at = first;
            while at < end {
                let batch = make(at, BATCH.min(end - at));
                // Nobody takes it where an append failed.
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
    println!("  filled with {count} events, 4,000 an append: {:.0} events/s", count as f64 / took);
    Ok(bytes as f64 / count as f64)
}
