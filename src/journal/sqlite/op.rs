//! Operations of the writer's queue, with their reply channels.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use crate::journal::{
    AppendBatch, AppendError, AppendReceipt, Ends, Enrolment, Error, LaneId, NewReplay, Pause, ReplayState,
};

/// The channel for an answer. The caller may have dropped the receiver.
pub(super) type ReplySender<T, E = Error> = oneshot::Sender<Result<T, E>>;

/// One operation for the writer.
pub(super) enum WriterOp {
    /// Store a batch of events.
    Append(Append),
    /// Record how deliveries ended, as part of a later commit.
    Settle(LaneId, Ends),
    /// A change that the next commit includes, answered once it is durable.
    Change(JournalChange, ReplySender<Vec<i64>>),
    /// Sent several times per second, so that retention, settles and checkpoints proceed while no other operation
    /// comes.
    Tick,
    /// Accept nothing more and end the writer.
    Close(ReplySender<()>),
}

/// A batch to store, with its reply channel.
pub(super) struct Append {
    /// When the batch was queued.
    pub since: Instant,
    /// The batch. Dropping it also drops `batch.hold`, a guard of the caller.
    pub batch: AppendBatch,
    pub reply: ReplySender<AppendReceipt, AppendError>,
}

/// A change that is neither an append nor a settle.
pub(super) enum JournalChange {
    /// Store cursors for new handlers, and note which handlers are configured.
    Enrol(Vec<Enrolment>),
    /// Move the delivery state of a handler to another name.
    Rename {
        /// The name that loses the state.
        old: Arc<str>,
        /// The name that gets the state.
        new: Arc<str>,
    },
    /// Mark dead letters, by id, for retry.
    RetryDead(Vec<i64>),
    /// Delete dead letters, by id, and record the user.
    DropDead { ids: Vec<i64>, by: Arc<str> },
    /// Pause a handler: its lanes and its replays.
    Pause { handler: Arc<str>, pause: Pause },
    /// Resume a handler, by name.
    Resume(Arc<str>),
    /// Store a replay and its lanes.
    StartReplay(NewReplay),
    /// Pause, resume or end a replay, by id.
    ChangeReplay(i64, ReplayState),
    /// Delete quarantine entries, by id.
    DropQuarantined(Vec<i64>),
    /// Trust the wall clock. The time that decides which rows have expired may then catch up with it.
    AcceptClock,
    /// Changes nothing. It is answered once all earlier operations are durable.
    Flush,
}

impl Append {
    /// Size of all payloads in bytes, which counts towards the limit of a group.
    pub(super) fn bytes(&self) -> usize {
        let events: usize = self.batch.drafts.iter().map(|draft| draft.element.raw().len()).sum();
        let rest: usize = self.batch.quarantined.iter().map(|item| item.bytes.len()).sum();
        events + rest
    }
}

impl JournalChange {
    /// True if it may change a replay or the lanes of replays.
    pub(super) const fn affects_replays(&self) -> bool {
        matches!(self, Self::StartReplay(_) | Self::ChangeReplay(..) | Self::Rename { .. })
    }
}
