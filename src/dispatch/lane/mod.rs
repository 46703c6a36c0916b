//! One lane of one handler: claim → deliver → settle.
//!
//! [`Lane::turn`] is the body of the loop and has no clock of its own. It takes over the results of deliveries, claims
//! events, starts deliveries, and settles. Tests call it directly; [`Lane::run`] calls it and waits in between.
//!
//! An unwell destination is probed after a wait that doubles with each failure. No event is skipped because its
//! destination is unwell. An event that keeps failing while others succeed is set aside, and later events of its
//! message queue behind it. [`doubt`] says when a refused event becomes a dead letter.

mod aside;
mod claim;
mod doubt;
mod ended;
mod opening;
mod publish;
mod replay;
mod running;
mod skip;
mod start;

pub use replay::ReplayPart;
pub use running::Ended;
pub use skip::LaneSkip;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use tokio::{
    sync::{oneshot, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use self::doubt::BelievedRefusals;
use super::{
    HandlerContext, Settings,
    attempt::{Attempt, Outcome},
    exceptions::{AsideRows, DeadRetries},
    policy::{self, Mode},
    status::{LanePublisher, LaneStatus},
    window::Window,
};
use crate::{
    clock::Timestamp,
    event::{Class, Event},
    handler::About,
    journal::{self, Ends, LaneId, LaneState, Pauses, Replays},
};

/// A lane stops claiming while its events in memory have this many bytes. A maximum number of events would not limit
/// the memory, because a single event may be as large as a request body.
pub(crate) const WINDOW_BYTES: usize = 16 << 20;

/// The result of one [`Lane::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was claimed, started or settled; there may be more to do at once.
    Moved,
    /// Nothing to do until something happens, or until this time.
    Idle(Option<Timestamp>),
    /// Nothing left to do: the lane's replay is finished or was cancelled.
    Ended,
}

/// An operator's command to a lane.
#[derive(Debug)]
pub enum Command {
    /// Skip every undelivered event below a seq, or count them.
    Skip {
        /// The seq; its event is not skipped.
        before: u64,
        /// The user who decided it. With `None`, the events are only counted.
        by: Option<Arc<str>>,
        /// Gets the counts.
        reply: oneshot::Sender<LaneSkip>,
    },
    /// Immediately retry all events that wait for a retry.
    Retry,
    /// Until the next success, make a dead letter of every event up to `upto` that fails with this class.
    Believe {
        /// The last seq that may become a dead letter.
        upto: u64,
        /// The class of the failures, such as `status 422`.
        class: String,
    },
}

/// The content of a delivery in flight.
enum InFlight {
    Events {
        seqs: Vec<u64>,
        mode: Mode,
        since: Timestamp,
    },
    Aside(Arc<Event>),
    DeadRetry(i64),
    /// No event: the task opens the handler.
    Opening,
}

/// The result of a delivery task: its outcomes, or a panic.
type Joined = Result<(Id, Vec<Outcome>), JoinError>;

/// A lane and its state in memory.
pub struct Lane {
    id: LaneId,
    context: Arc<HandlerContext>,
    /// The replay that the lane belongs to; `None` for a handler's own lane.
    replay: Option<ReplayPart>,
    /// Maximum number of events in a delivery.
    batch: usize,
    window: Window,
    aside: AsideRows,
    /// Seqs of events past the cursor that an earlier process set aside or turned into dead letters. The lane claims
    /// these events again after a restart, but must not add them to its window.
    settled: HashSet<u64>,
    dead_retries: DeadRetries,
    deliveries: JoinSet<Vec<Outcome>>,
    in_flight: HashMap<Id, InFlight>,
    /// The task that opens the handler, while it runs.
    opening: Option<AbortHandle>,
    joined: Vec<Joined>,
    attempt: Attempt,
    ends: Ends,
    settled_to: u64,
    condition: Condition,
    tip: watch::Receiver<u64>,
    retries: watch::Receiver<u64>,
    reload_dead_retries: bool,
    paused: watch::Receiver<Pauses>,
    replays: watch::Receiver<Replays>,
    /// Whether the lane was paused when this was last checked.
    was_paused: bool,
    /// Why the destination is permanently gone. `None` again once the handler is paused for this reason.
    gone: Option<String>,
    /// The failures that an operator believes to be final.
    believed: Option<BelievedRefusals>,
    /// Who last skipped events of the lane, and when.
    skipped_by: Option<(Arc<str>, Timestamp)>,
    /// Number of claimed events that the filters select; counted for replays only.
    claimed: u64,
    redelivered: Redelivered,
    /// Whether the log already says that the limit for set-aside events is reached.
    logged_full: bool,
    /// The delivery of an exception (a set-aside event or a retried dead letter) has just ended, so the lane's own
    /// deliveries go first.
    exception_ended: bool,
    /// The last exception was a set-aside event, so a dead letter goes before the next set-aside event.
    dead_retry_next: bool,
    publisher: LanePublisher,
}

/// Counts deliveries of events that the previous process may already have delivered. Retried dead letters count as such
/// events.
#[derive(Default)]
struct Redelivered {
    /// The tip when the lane was restored.
    upto: u64,
    /// Number of deliveries of these events that this process has settled durably.
    settled: u64,
    /// Number of deliveries of these events that ended and are not yet settled durably.
    unsettled: u64,
    backlog_is_settled: bool,
}

/// The state of the destination, as seen by this lane.
#[derive(Default)]
struct Condition {
    /// Failed deliveries in a row; 0 while the destination is well.
    failures: u32,
    /// Whether the failures of an unwell destination are about events. If so, the lane searches the backlog for an
    /// event that is accepted.
    about: About,
    /// The destination does not match the settings, so trying other messages does not help.
    misconfigured: bool,
    /// The deliveries in flight are probes; their results show whether the destination is well again.
    probing: bool,
    /// A retry was requested, so the next probe also tries a retried dead letter.
    retry_requested: bool,
    /// Failed searches of the backlog in a row. If the destination became unwell because [`policy::DOUBTS`] messages
    /// failed, these count as the first search.
    searches: u32,
    /// Events that the current search still has to try.
    search: VecDeque<u64>,
    /// When an unwell destination is probed next.
    wait_until: Timestamp,
    /// When a delivery last succeeded in this process.
    last_success: Timestamp,
    /// Events delivered in this process.
    successes: u64,
    /// A lane that has caught up does not claim before this time, so that more events are delivered together.
    next_claim: Timestamp,
    /// Quick deliveries in a row: see [`policy::share`].
    quick: usize,
    seed: u64,
}

impl Lane {
    /// Restores a lane from its state in the journal.
    ///
    /// # Errors
    /// Returns [`journal::Error::NoLane`] if the journal has no such lane, or another error of the journal.
    pub async fn restore(
        id: LaneId,
        context: Arc<HandlerContext>,
        replay: Option<ReplayPart>,
    ) -> Result<Self, journal::Error> {
        let journal = &context.journal;
        let LaneState { cursor, aside, dead_past_cursor, .. } = journal.lane(id.clone()).await?;
        let aside_past_cursor = aside.iter().map(|row| row.seq).filter(|seq| *seq > cursor);
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let replay_limit = replay.as_ref().and_then(|replay| replay.rate_limit.clone());
        Ok(Self {
            batch: replay_limit.iter().map(|limit| limit.per_second()).fold(context.spec.batch, usize::min),
            attempt: Attempt { context: Arc::clone(&context), lane: id.clone(), replay_limit },
            window: Window::new(cursor),
            settled: aside_past_cursor.chain(dead_past_cursor).collect(),
            aside: AsideRows::restore(aside),
            dead_retries: DeadRetries::default(),
            deliveries: JoinSet::new(),
            in_flight: HashMap::new(),
            opening: None,
            joined: Vec::new(),
            ends: Ends::default(),
            settled_to: cursor,
            condition: Condition { seed: hasher.finish(), ..Condition::default() },
            redelivered: Redelivered { upto: *journal.tip().borrow(), ..Redelivered::default() },
            claimed: 0,
            logged_full: false,
            believed: None,
            skipped_by: None,
            tip: journal.tip(),
            retries: journal.retries(),
            // The handler's own lanes deliver retried dead letters, including those of a replay.
            reload_dead_retries: replay.is_none(),
            paused: journal.paused(),
            replays: journal.replays(),
            was_paused: true,
            gone: None,
            exception_ended: false,
            dead_retry_next: false,
            publisher: LanePublisher::new(&id, &context, cursor),
            id,
            context,
            replay,
        })
    }

    /// The lane's status, now and as it changes.
    pub fn status(&self) -> watch::Receiver<LaneStatus> {
        self.publisher.status.subscribe()
    }

    /// The class of the lane's events.
    pub(super) const fn class(&self) -> Class {
        self.id.class
    }

    /// The handler of the lane.
    pub(super) fn context(&self) -> Arc<HandlerContext> {
        Arc::clone(&self.context)
    }

    /// Runs one turn and never waits for a destination. `now` must not be lower than in the turn before.
    ///
    /// # Errors
    /// Returns errors of the journal. The lane keeps its state, and `turn` can be called again.
    pub async fn turn(&mut self, now: Timestamp) -> Result<Turn, journal::Error> {
        if self.replay_state().has_ended() {
            return Ok(Turn::Ended);
        }
        let ended = self.handle_ended(now);
        if let Some(reason) = self.gone.clone() {
            self.context.journal.pause(Arc::clone(&self.id.handler), reason).await?;
            self.gone = None;
        }
        if self.retries.has_changed().unwrap_or(false) {
            self.retries.borrow_and_update();
            self.reload_dead_retries = self.replay.is_none();
        }
        let believed = self.dead_letter_believed(now).await?;
        self.settle_redelivered().await?;
        if self.reload_dead_retries {
            self.load_dead_retries(now).await?;
        }
        let claimed = self.claim(now).await;
        // A probe needs enough messages to choose from. If the lane read further but still has too few, nothing starts
        // now, and the next turn claims more.
        let gathers = matches!(claimed, Ok(true)) && self.lacks_choice(now);
        let started = !gathers && self.start(now).await;
        self.settle().await?;
        // An error of the claim is returned only here. It must not prevent the delivery of events that were claimed
        // before, or the settling of deliveries that have ended.
        let claimed = claimed?;
        self.publish(now, None);
        if ended || believed || claimed || started {
            return Ok(Turn::Moved);
        }
        if self.is_finished() {
            return Ok(Turn::Ended);
        }
        Ok(Turn::Idle(self.next_due(now)))
    }

    /// Waits until a delivery in flight has ended. Returns `false` if none is in flight.
    pub async fn delivery_ended(&mut self) -> bool {
        let joined = self.deliveries.join_next_with_id().await;
        let some = joined.is_some();
        self.joined.extend(joined);
        some
    }

    /// Hands the results of deliveries and the cursor to the journal.
    async fn settle(&mut self) -> Result<(), journal::Error> {
        for seq in self.window.take_failed_skipped() {
            self.omit(seq, seq);
        }
        let done_to = self.window.done_to();
        if done_to > self.settled_to {
            self.ends.cursor = Some(done_to);
        }
        if self.ends.is_empty() {
            return Ok(());
        }
        self.context.journal.settle(self.id.clone(), std::mem::take(&mut self.ends)).await?;
        self.settled_to = done_to;
        Ok(())
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_paused() {
            return None;
        }
        if self.must_yield() {
            return Some(now.plus_ms(policy::YIELD_CHECK_MS));
        }
        if self.condition.failures > 0 {
            return self.in_flight.is_empty().then_some(self.condition.wait_until);
        }
        let exceptions_in_flight = self.exceptions_in_flight();
        let exceptions = if exceptions_in_flight >= policy::exceptions(self.share()) || !self.has_place() {
            None
        } else {
            self.aside.next_due(self.aside_upto()).into_iter().chain(self.dead_retries.next_due()).min()
        };
        let gathered =
            (self.window.len() == 0 && self.condition.next_claim > now).then_some(self.condition.next_claim);
        let window = self.window.next_due(now);
        let has_more = self.window.read_to() < self.reach().min(*self.tip.borrow());
        let ahead = self.probe_ahead_at().filter(|at| has_more && *at > now);
        let own = self.awaits_own().then(|| now.plus_ms(policy::YIELD_CHECK_MS));
        [exceptions, gathered, window, ahead, own].into_iter().flatten().min()
    }

    fn settings(&self) -> &Settings {
        &self.context.spec.settings
    }

    /// The jitter of a wait. `salt`: 0 for the lane, else the seq of an event or the id of a dead letter.
    fn jitter(&self, salt: u64, failures: u32) -> f64 {
        policy::jitter(self.condition.seed ^ salt, failures)
    }

    fn probe_wait_ms(&self, failures: u32) -> i64 {
        policy::probe_wait_ms(self.settings(), failures, self.jitter(0, failures))
    }

    fn name(&self) -> String {
        let own = format!("{}/{}", self.id.handler, self.id.class.as_str());
        match self.id.replay {
            Some(id) => format!("{own}/replay {id}"),
            None => own,
        }
    }
}
