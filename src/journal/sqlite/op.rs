//! What the writer is asked to do, and where its answer goes.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use crate::journal::{
    AppendError, Batch, Ends, Enrolment, Error, LaneId, NewReplay, Pause, Receipt, ReplayState,
};

/// Where an answer goes. A caller that went away does not want it any more.
pub type Reply<T, E = Error> = oneshot::Sender<Result<T, E>>;

/// One thing to do for the writer.
pub enum Op {
    /// Store a batch.
    Append(Append),
    /// Record how deliveries ended; rides on a later commit.
    Settle(LaneId, Ends),
    /// Anything that is committed now and answered after it.
    Change(Change, Reply<Vec<i64>>),
    /// Time has passed: retention, pending settles, checkpoints.
    Tick,
    /// Take nothing more.
    Close(Reply<()>),
}

/// A batch to store.
pub struct Append {
    /// Since when it waits.
    pub since: Instant,
    /// The batch; its `hold` is dropped with it.
    pub batch: Batch,
    /// Where the receipt goes.
    pub reply: Reply<Receipt, AppendError>,
}

/// A change that is not an append.
pub enum Change {
    /// Store cursors for new handlers.
    Enrol(Vec<Enrolment>),
    /// Give the place of a handler to another name.
    Rename {
        /// Whose place it is.
        old: Arc<str>,
        /// Who gets it.
        new: Arc<str>,
    },
    /// Mark dead letters to be delivered again.
    RetryDead(Vec<i64>),
    /// Delete dead letters.
    DropDead(Vec<i64>),
    /// Hold a handler back.
    Pause {
        /// Which.
        handler: Arc<str>,
        /// Why.
        pause: Pause,
    },
    /// Let a handler go on.
    Resume(Arc<str>),
    /// Store a replay and its lanes.
    StartReplay(NewReplay),
    /// Pause, resume or end a replay.
    TurnReplay(i64, ReplayState),
    /// Delete entries of the quarantine.
    DropQuarantined(Vec<i64>),
    /// Believe the wall clock, and confirm a gap at the start.
    AcceptClock,
    /// Nothing of its own: everything before it becomes durable.
    Flush,
}

impl Append {
    /// What it adds to a group, in bytes.
    pub fn bytes(&self) -> usize {
        let events: usize = self.batch.drafts.iter().map(|draft| draft.element.raw().len()).sum();
        let rest: usize = self.batch.quarantined.iter().map(|item| item.bytes.len()).sum();
        events + rest
    }
}
