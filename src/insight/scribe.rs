//! The only thread that writes insight's file. It runs at the lowest priority of the system. So under load, intake and
//! deliveries go first, and insight lags.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Error, LedgerProgress, ledger::Ledger};
use crate::{
    clock::{Clock, Timestamp},
    event::Event,
    settings::Period,
};

/// The niceness of the thread, as in nice(1): the lowest priority.
const PRIORITY: i32 = 19;
/// How often expired rows are purged.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// A request to the thread.
pub(super) enum ScribeOp {
    /// Store all events up to `through`. Ignored if a rebuild has started since the events were read.
    Apply {
        /// The cursor when the events were read. The events begin after this seq.
        after: u64,
        /// The events, in order of seq.
        events: Vec<Arc<Event>>,
        /// Every event up to this seq is in `events`, or was stored before.
        through: u64,
    },
    /// Start a rebuild: see [`Ledger::begin_rebuild`].
    Rebuild {
        /// The journal's events begin after this seq.
        after: u64,
        /// When the journal's first event was received; `None` if the journal is empty.
        from: Option<Timestamp>,
        /// The last seq that the rebuild must process.
        tip: u64,
    },
    /// Time has passed: check for expired rows.
    Tick,
}

struct ScribeRequest {
    op: ScribeOp,
    reply: oneshot::Sender<Result<(), Error>>,
}

/// The thread that writes insight's file, and the channel for requests to it.
pub(super) struct Scribe {
    ops: Option<mpsc::Sender<ScribeRequest>>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts the thread. It publishes its progress in `progress`.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub(super) fn start(
        ledger: Ledger,
        retention: Period,
        clock: Clock,
        progress: watch::Sender<LedgerProgress>,
    ) -> std::io::Result<Self> {
        let (ops, requests) = mpsc::channel(1);
        let thread = thread::Builder::new()
            .name("insight".to_owned())
            .spawn(move || work(ledger, (retention, clock), &progress, requests))?;
        Ok(Self { ops: Some(ops), thread: Some(thread) })
    }

    /// Sends a request, and waits until it is done.
    ///
    /// # Errors
    /// Returns errors of the file, or [`Error::Stopped`] if the thread has ended.
    pub(super) async fn ask(&self, op: ScribeOp) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        let ops = self.ops.as_ref().ok_or(Error::Stopped)?;
        ops.send(ScribeRequest { op, reply }).await.map_err(|_ended| Error::Stopped)?;
        done.await.map_err(|_ended| Error::Stopped)?
    }
}

impl Drop for Scribe {
    /// Waits until the requests that were sent are done.
    fn drop(&mut self) {
        drop(self.ops.take());
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("insight's thread panicked");
        }
    }
}

fn work(
    mut ledger: Ledger,
    (retention, clock): (Period, Clock),
    progress: &watch::Sender<LedgerProgress>,
    mut requests: mpsc::Receiver<ScribeRequest>,
) {
    if let Err(error) = setpriority_process(Some(gettid()), PRIORITY) {
        tracing::warn!(%error, "priority of insight's thread could not be lowered");
    }
    let mut due = Instant::now();
    while let Some(ScribeRequest { op, reply }) = requests.blocking_recv() {
        let done = match op {
            ScribeOp::Apply { after, .. } if after != ledger.cursor() => Ok(()),
            ScribeOp::Apply { events, through, .. } => ledger.apply(&events, through),
            ScribeOp::Rebuild { after, from, tip } => ledger.begin_rebuild(after, from, tip),
            ScribeOp::Tick => Ok(()),
        };
        let done = done.and_then(|()| {
            let (cursor, rebuilding_to) = (ledger.cursor(), ledger.rebuilding_to()?);
            progress.send_replace(LedgerProgress { cursor, rebuilding_to });
            Ok(())
        });
        // It is no error if nobody waits for the reply any more.
        drop(reply.send(done.map_err(|error| Error::from(&error))));
        // If a purge is due, run it once after each request, so that purging continues under load. While no request
        // waits, repeat it until nothing is left.
        while due <= Instant::now() {
            due = purge(&mut ledger, retention, &clock);
            // A stop does not wait for the purge. The purge continues after the next start.
            if !requests.is_empty() || requests.is_closed() {
                break;
            }
        }
    }
}

/// Runs [`Ledger::purge`] once. Returns the time at which the next run is due. If there may be more expired rows, this
/// is the current time.
fn purge(ledger: &mut Ledger, retention: Period, clock: &Clock) -> Instant {
    let more = ledger.purge(clock.deletion(), retention).unwrap_or_else(|error| {
        let class = Error::from(&error).class();
        tracing::error!(error = class, "insight cannot delete expired rows; it tries again");
        false
    });
    Instant::now() + if more { Duration::ZERO } else { PURGE_INTERVAL }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::insight::ledger::tests::{event, ledger};

    fn scribe(folder: &TempDir) -> (Scribe, watch::Receiver<LedgerProgress>, rusqlite::Connection) {
        let (ledger, file) = ledger(folder);
        let (progress, shown) = watch::channel(LedgerProgress::default());
        let scribe = Scribe::start(ledger, Period::days(1), Clock::system(), progress).unwrap();
        (scribe, shown, file.reader().unwrap())
    }

    /// Creates messages that were received long ago.
    fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<Arc<Event>> {
        let raw =
            |seq: u64| format!(r#"{{"eventName":"incoming-message","eventInfo":{{"messageId":"{seq}"}}}}"#);
        seqs.map(|seq| event(seq, &raw(seq))).collect()
    }

    #[tokio::test]
    async fn a_batch_read_before_a_rebuild_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let (scribe, progress, _) = scribe(&folder);
        scribe.ask(ScribeOp::Apply { after: 0, events: events(1..=2), through: 2 }).await.unwrap();
        scribe.ask(ScribeOp::Rebuild { after: 0, from: None, tip: 4 }).await.unwrap();
        // This batch was read before the rebuild, when the cursor was 2.
        scribe.ask(ScribeOp::Apply { after: 2, events: events(3..=4), through: 4 }).await.unwrap();
        assert_eq!(*progress.borrow(), LedgerProgress { cursor: 0, rebuilding_to: Some(4) });
        scribe.ask(ScribeOp::Apply { after: 0, events: events(1..=4), through: 4 }).await.unwrap();
        assert_eq!(*progress.borrow(), LedgerProgress { cursor: 4, rebuilding_to: None });
    }

    #[tokio::test]
    async fn expired_rows_are_deleted_under_traffic_and_completely() {
        let folder = tempfile::tempdir().unwrap();
        let (scribe, _, asks) = scribe(&folder);
        // These are more messages than one purge deletes, and no tick follows.
        scribe.ask(ScribeOp::Apply { after: 0, events: events(1..=5_000), through: 5_000 }).await.unwrap();
        let left = || asks.query_row("SELECT count(*) FROM message", [], |row| row.get::<_, i64>(0)).unwrap();
        let begun = Instant::now();
        while left() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} messages are left", left());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
