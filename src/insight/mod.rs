//! The read side: the outcome of each message, and figures about all messages.
//!
//! [`Insight`] reads the journal with its own cursor, and stores the outcomes in its own file. The cursor moves in the
//! transaction that stores the data, so each event counts once. Neither intake nor a handler waits for insight. The
//! data can be rebuilt from the journal ([`Insight::rebuild`]), as far back as the journal goes. Messages, customers,
//! and events without a message are kept for `retention`. Figures contain no data of a single customer, and are kept
//! forever.

mod answers;
pub mod ask;
mod contact_key;
mod facts;
mod failures;
mod file;
mod hour;
mod ledger;
mod measure;
mod pace;
mod public_id;
mod scribe;
mod settings;
mod spread;
mod state;
mod vocabulary;

pub use answers::AnswerSettings;
pub use failures::{FailureClasses, FailureClassesError};
pub use file::{InsightFile, InsightOpenError, files};
pub use hour::HOUR_MS;
pub use ledger::Ledger;
pub use public_id::{NotPublicId, PublicId};
pub use settings::Settings;
pub use spread::{bucket_of, longest_of};
pub use state::MessageState;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use self::{
    pace::InsightPace,
    scribe::{Scribe, ScribeOp},
};
use crate::{
    clock::Clock,
    journal::{self, Claim, Journal, JournalState},
    metrics::Metrics,
};

/// Maximum number of events of each class (`event::Class`) that are processed in one transaction.
const BATCH: usize = 2_000;
/// How often the thread of insight checks for old data while no events arrive.
const TICK_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of idle connections that are kept for questions ([`Insight::ask`]).
const READERS: usize = 4;

/// The progress of insight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerProgress {
    /// Every event up to this seq is processed.
    pub cursor: u64,
    /// The tip that a running rebuild goes to; `None` if no rebuild runs.
    pub rebuilding_to: Option<u64>,
}

/// Why an operation of insight failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Insight's file could not be read or written.
    #[error("insight's file: {0}")]
    File(Arc<str>),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The thread of insight has ended.
    #[error("insight has stopped")]
    Stopped,
}

impl Error {
    /// The class of the error; safe for logs, unlike the text.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::File(_) => "its file cannot be read or written",
            Self::Journal(error) => error.class(),
            Self::Stopped => "it has stopped",
        }
    }
}

impl From<&rusqlite::Error> for Error {
    fn from(error: &rusqlite::Error) -> Self {
        Self::File(error.to_string().into())
    }
}

/// The read side: the thread that writes the file, and the connections for questions.
pub struct Insight {
    scribe: Scribe,
    progress: watch::Receiver<LedgerProgress>,
    failures: FailureClasses,
    readers: Arc<Mutex<Vec<Connection>>>,
    metrics: Arc<Metrics>,
    /// One permit: only one update of the metrics runs at a time.
    measuring: Arc<Semaphore>,
    file: Arc<InsightFile>,
}

impl Insight {
    /// Opens the file and starts the thread that writes it. `clock` is the journal's clock; it decides when data is too
    /// old. Blocks the calling thread.
    ///
    /// # Errors
    /// Returns [`InsightOpenError`] if the file cannot be opened or the failure classes cannot be loaded.
    pub fn open(
        path: &Path,
        settings: &Settings,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, InsightOpenError> {
        let engine = |source| InsightOpenError::Engine { path: path.display().to_string(), source };
        let failures = FailureClasses::load(settings.failures.as_deref())?;
        let (ledger, file) = Ledger::open(path, settings, failures.clone())?;
        let rebuilding_to = ledger.rebuilding_to().map_err(engine)?;
        let (progress, shown) = watch::channel(LedgerProgress { cursor: ledger.cursor(), rebuilding_to });
        let scribe = Scribe::start(ledger, settings.retention, clock, progress)
            .map_err(|source| InsightOpenError::Io { path: path.display().to_string(), source })?;
        let measuring = Arc::new(Semaphore::new(1));
        Ok(Self { scribe, progress: shown, failures, readers: Arc::default(), metrics, measuring, file })
    }

    /// The progress, now and as it changes.
    pub fn progress(&self) -> watch::Receiver<LedgerProgress> {
        self.progress.clone()
    }

    /// The classes of failures, as configured.
    pub const fn failures(&self) -> &FailureClasses {
        &self.failures
    }

    /// Processes the journal's events, and new ones as they arrive, until `stop` is true.
    pub async fn run(self: Arc<Self>, journal: Arc<dyn Journal>, mut stop: watch::Receiver<bool>) {
        let (mut tip, mut progress) = (journal.tip(), self.progress.clone());
        if *tip.borrow() < self.progress.borrow().cursor {
            tracing::warn!("journal ends before insight's cursor, so it was replaced; insight is rebuilt");
            self.try_to(self.rebuild(&*journal)).await;
        }
        let state = journal.state();
        let mut pace = InsightPace::new(*tip.borrow(), Instant::now());
        let mut ticks = tokio::time::interval(TICK_EVERY);
        while !*stop.borrow_and_update() {
            let newest = *tip.borrow_and_update();
            let cursor = progress.borrow_and_update().cursor;
            self.metrics.insight_lag.set(i64::try_from(newest.saturating_sub(cursor)).unwrap_or(i64::MAX));
            if cursor < newest {
                // On a full disk insight pauses, because the journal needs the remaining space for events.
                let begun = Instant::now();
                let full = matches!(*state.borrow(), JournalState::Full { .. });
                let succeeded = tokio::select! {
                    succeeded = self.try_to(self.process_next(&*journal, cursor)), if !full => succeeded,
                    // The thread of insight finishes its current operation. This function does not wait for it.
                    _ = stop.wait_for(|stop| *stop), if !full => break,
                    else => false,
                };
                let rest = if succeeded {
                    pace.after_success(cursor, (newest, begun), Instant::now())
                } else {
                    pace.after_failure()
                };
                let _stopped = timeout(rest, stop.wait_for(|stop| *stop)).await;
                continue;
            }
            tokio::select! {
                _ = tip.changed() => {}
                Ok(()) = progress.changed() => {} // a rebuild has started
                _ = stop.changed() => {}
                _ = ticks.tick() => {
                    self.try_to(self.scribe.ask(ScribeOp::Tick)).await;
                }
            }
        }
    }

    /// Starts a rebuild. Deletes all messages and customers, and the figures that the journal can restore. Returns when
    /// they are deleted; after that, [`Insight::run`] processes the journal again. Keeps the figures of events that the
    /// journal no longer has. Messages and customers that only such events mention are lost.
    ///
    /// # Errors
    /// Returns an [`Error`] if the journal or the file fails.
    pub async fn rebuild(&self, journal: &dyn Journal) -> Result<(), Error> {
        let tip = *journal.tip().borrow();
        let low = journal.figures().await?.span.map_or(1, |(low, _)| low);
        let from = journal.get(low).await?.map(|event| event.came_at);
        self.scribe.ask(ScribeOp::Rebuild { after: low - 1, from, tip }).await
    }

    /// Runs a question, a function that reads the file. Each question sees one snapshot of the file.
    ///
    /// # Errors
    /// Returns [`Error::File`] if SQLite fails, and [`Error::Stopped`] if the runtime shuts down.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (readers, file) = (Arc::clone(&self.readers), Arc::clone(&self.file));
        let task = tokio::task::spawn_blocking(move || {
            let pooled = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = pooled.map_or_else(|| file.reader(), Ok)?;
            let answer = {
                let state = connection.unchecked_transaction()?;
                question(&state)?
            };
            let mut pooled = readers.lock().unwrap_or_else(PoisonError::into_inner);
            if pooled.len() < READERS {
                pooled.push(connection);
            }
            Ok(answer)
        });
        match task.await {
            Ok(answer) => answer.map_err(|error: rusqlite::Error| Error::from(&error)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => Err(Error::Stopped),
        }
    }

    /// Processes the next events of both classes (`event::Class`), in order of seq.
    async fn process_next(&self, journal: &dyn Journal, cursor: u64) -> Result<(), Error> {
        let Claim { events, through } = journal.claim_all(cursor, BATCH).await?;
        self.scribe.ask(ScribeOp::Apply { after: cursor, events, through: through.max(cursor) }).await
    }

    /// Returns whether the work succeeded. Logs the error if not.
    async fn try_to(&self, work: impl Future<Output = Result<(), Error>>) -> bool {
        let worked = work.await.inspect_err(|error| {
            tracing::error!(error = error.class(), "insight cannot continue; it tries again");
        });
        worked.is_ok()
    }
}

#[cfg(test)]
mod histories;
