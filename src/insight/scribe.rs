//! The one thread that writes insight's file. It takes the lowest priority that the system gives: where there is more to do
//! than the machine can, intake and deliveries go first, and insight lags.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Error, Progress, ledger::Ledger};
use crate::{
    clock::{self, Timestamp},
    event::Event,
    settings::Period,
};

/// As of nice(1): the least.
const PRIORITY: i32 = 19;

/// What the thread is asked to do.
pub enum Op {
    /// Take events in: everything up to `through`.
    Apply {
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
    /// Let go of what is too old.
    LetGo,
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
        progress: watch::Sender<Progress>,
    ) -> std::io::Result<Self> {
        let (ops, asked) = mpsc::channel(1);
        let thread = thread::Builder::new()
            .name("insight".to_owned())
            .spawn(move || work(ledger, retention, &progress, asked))?;
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
    retention: Period,
    progress: &watch::Sender<Progress>,
    mut asked: mpsc::Receiver<Asked>,
) {
    if let Err(error) = setpriority_process(Some(gettid()), PRIORITY) {
        tracing::warn!(%error, "insight works at the priority of everything else");
    }
    while let Some(Asked { op, reply }) = asked.blocking_recv() {
        let done = match op {
            Op::Apply { events, through } => ledger.apply(&events, through),
            Op::Rebuild { after, from, tip } => ledger.begin_rebuild(after, from, tip),
            Op::LetGo => ledger.let_go(clock::now().plus_ms(-retention.as_ms())).map(|more| {
                if more {
                    tracing::debug!("insight lets go of what is too old");
                }
            }),
        };
        let done = done.and_then(|()| {
            let (cursor, rebuilding_to) = (ledger.cursor(), ledger.rebuilding_to()?);
            progress.send_replace(Progress { cursor, rebuilding_to });
            Ok(())
        });
        // Who asked may have gone away.
        drop(reply.send(done.map_err(|error| Error::from(&error))));
    }
}
