//! The one thread that writes insight's file. It takes the lowest priority that the system gives: where there is more to do
//! than the machine can, intake and deliveries go first, and insight lags.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Error, Progress, ledger::Ledger};
use crate::{
    clock::{Clock, Timestamp},
    event::Event,
    settings::Period,
};

/// As of nice(1): the least.
const PRIORITY: i32 = 19;
/// It looks for so often for what is too old.
const LET_GO_EVERY: Duration = Duration::from_secs(60);

/// What the thread is asked to do.
pub enum Op {
    /// Take events in: everything up to `through`. Nothing, where a rebuild has begun since they were read.
    Apply {
        /// They begin after this seq.
        after: u64,
        /// In order of seq.
        events: Vec<Arc<Event>>,
        /// Every event up to here is among them, or was before.
        through: u64,
    },
    /// See [`Ledger::begin_rebuild`].
    Rebuild {
        /// What the journal has begins after this seq …
        after: u64,
        /// … and was received from then on; `None` while it has nothing.
        from: Option<Timestamp>,
        /// Up to where it is to be taken in anew.
        tip: u64,
    },
    /// Time has passed: something may be too old.
    Tick,
}

struct Asked {
    op: Op,
    reply: oneshot::Sender<Result<(), Error>>,
}

/// The thread, and the way to ask it.
pub struct Scribe {
    ops: Option<mpsc::Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts the thread; what it has done is told by `progress`.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(
        ledger: Ledger,
        retention: Period,
        clock: Clock,
        progress: watch::Sender<Progress>,
    ) -> std::io::Result<Self> {
        let (ops, asked) = mpsc::channel(1);
        let thread = thread::Builder::new()
            .name("insight".to_owned())
            .spawn(move || work(ledger, (retention, clock), &progress, asked))?;
        Ok(Self { ops: Some(ops), thread: Some(thread) })
    }

    /// Asks for something, and waits until it is done.
    ///
    /// # Errors
    /// Those of the file; [`Error::Stopped`] where the thread has ended.
    pub async fn ask(&self, op: Op) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        let ops = self.ops.as_ref().ok_or(Error::Stopped)?;
        ops.send(Asked { op, reply }).await.map_err(|_ended| Error::Stopped)?;
        done.await.map_err(|_ended| Error::Stopped)?
    }
}

impl Drop for Scribe {
    /// Waits until what was asked for is done.
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
    progress: &watch::Sender<Progress>,
    mut asked: mpsc::Receiver<Asked>,
) {
    if let Err(error) = setpriority_process(Some(gettid()), PRIORITY) {
        tracing::warn!(%error, "insight works at the priority of everything else");
    }
    let mut due = Instant::now();
    while let Some(Asked { op, reply }) = asked.blocking_recv() {
        let done = match op {
            Op::Apply { after, .. } if after != ledger.cursor() => Ok(()),
            Op::Apply { events, through, .. } => ledger.apply(&events, through),
            Op::Rebuild { after, from, tip } => ledger.begin_rebuild(after, from, tip),
            Op::Tick => Ok(()),
        };
        let done = done.and_then(|()| {
            let (cursor, rebuilding_to) = (ledger.cursor(), ledger.rebuilding_to()?);
            progress.send_replace(Progress { cursor, rebuilding_to });
            Ok(())
        });
        // Who asked may have gone away.
        drop(reply.send(done.map_err(|error| Error::from(&error))));
        // A slice after each, so that it has its turn under traffic, too; all of it while nothing else is to be done.
        while due <= Instant::now() {
            due = let_go(&mut ledger, retention, &clock);
            // Whoever stops does not wait for it: the next start goes on.
            if !asked.is_empty() || asked.is_closed() {
                break;
            }
        }
    }
}

/// Lets go of a slice of what is too old: when it is the turn of the next.
fn let_go(ledger: &mut Ledger, retention: Period, clock: &Clock) -> Instant {
    match ledger.let_go(clock.deletion(), retention) {
        Ok(true) => Instant::now(),
        Ok(false) => Instant::now() + LET_GO_EVERY,
        Err(error) => {
            let class = Error::from(&error).class();
            tracing::error!(error = class, "insight cannot let go of what is too old; it tries again");
            Instant::now() + LET_GO_EVERY
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{event::Element, insight::Failures};

    fn scribe(path: &Path) -> (Scribe, watch::Receiver<Progress>, rusqlite::Connection) {
        let (ledger, file) = Ledger::open(path, Failures::load(None).unwrap()).unwrap();
        let (progress, shown) = watch::channel(Progress::default());
        (
            Scribe::start(ledger, Period::days(1), Clock::system(), progress).unwrap(),
            shown,
            file.reader().unwrap(),
        )
    }

    /// Messages that were received long ago.
    fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<Arc<Event>> {
        let event = |seq: u64| {
            let raw = format!(r#"{{"eventName":"incoming-message","eventInfo":{{"messageId":"{seq}"}}}}"#);
            let element = Arc::new(Element::read(raw.as_bytes()).unwrap());
            Arc::new(Event {
                seq,
                came_at: Timestamp::from_ms(1),
                received_at: Timestamp::from_ms(1),
                source: "bik".into(),
                element,
            })
        };
        seqs.map(event).collect()
    }

    #[tokio::test]
    async fn what_was_read_before_a_rebuild_began_is_not_taken_for_the_rebuilds() {
        let folder = tempfile::tempdir().unwrap();
        let (scribe, progress, _) = scribe(&folder.path().join("insight.db"));
        scribe.ask(Op::Apply { after: 0, events: events(1..=2), through: 2 }).await.unwrap();
        scribe.ask(Op::Rebuild { after: 0, from: None, tip: 4 }).await.unwrap();
        // Read when the cursor was 2.
        scribe.ask(Op::Apply { after: 2, events: events(3..=4), through: 4 }).await.unwrap();
        assert_eq!(*progress.borrow(), Progress { cursor: 0, rebuilding_to: Some(4) });
        scribe.ask(Op::Apply { after: 0, events: events(1..=4), through: 4 }).await.unwrap();
        assert_eq!(*progress.borrow(), Progress { cursor: 4, rebuilding_to: None });
    }

    #[tokio::test]
    async fn what_is_too_old_leaves_under_traffic_too_and_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (scribe, _, asks) = scribe(&folder.path().join("insight.db"));
        // More than one slice, and nobody says that time has passed.
        scribe.ask(Op::Apply { after: 0, events: events(1..=5_000), through: 5_000 }).await.unwrap();
        let left = || asks.query_row("SELECT count(*) FROM message", [], |row| row.get::<_, i64>(0)).unwrap();
        let begun = Instant::now();
        while left() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} are left", left());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
