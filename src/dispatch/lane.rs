//! One lane of one handler: claim → deliver → settle.
//!
//! [`Lane::turn`] is the loop's body, without a clock of its own: it takes over what has ended, claims, starts what may
//! be started, and settles. Tests call it; [`Lane::run`] calls it and waits in between.
//!
//! A destination that is unwell is probed after a wait that doubles; nothing is skipped for its sake. An event that keeps
//! failing while others succeed is set aside, and later events of its message behind it. What was refused is a dead letter
//! once another message was taken: see [`doubt`].

mod aside;
mod claim;
mod doubt;
mod ended;
mod look;
mod replay;
mod running;
mod shown;
mod start;

pub use replay::ReplayPart;
pub use running::Ended;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use self::{doubt::Belief, replay::Decided};
use super::{
    Settings,
    attempt::{Attempt, Outcome},
    exceptions::{AsideRows, Revivals},
    pace::Pace,
    policy::{self, Mode},
    status::{LaneStatus, Show},
    window::Window,
};
use crate::{
    clock::{Clock, Timestamp},
    event::Event,
    handler::{About, Filter, Handler, Mask},
    journal::{self, Ends, Journal, LaneId, LaneState, Pauses, Replays},
    metrics::Metrics,
};

/// A lane that holds so many bytes claims no more: the events of a batch may be as large as a body.
pub const WINDOW_BYTES: usize = 16 << 20;

/// What a lane is made of.
#[derive(Clone)]
pub struct LaneParts {
    /// Which lane.
    pub id: LaneId,
    /// The handler's kind, for its status.
    pub kind: &'static str,
    /// Where its events go, without secrets: for its status and the log.
    pub destination: Arc<str>,
    /// The destination.
    pub handler: Arc<dyn Handler>,
    /// Which events the handler wants.
    pub filter: Filter,
    /// What of them the destination is not to see.
    pub mask: Arc<Mask>,
    /// How it goes about its deliveries.
    pub settings: Settings,
    /// Events in a delivery at most.
    pub batch: usize,
    /// Deliveries under way at once, of both lanes.
    pub concurrency: usize,
    /// The places of the handler, shared by its lanes.
    pub slots: Arc<Semaphore>,
    /// How fast it may deliver: each of them is waited for.
    pub paces: Vec<Arc<Pace>>,
    /// Where events come from and ends go to.
    pub journal: Arc<dyn Journal>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What makes it a lane of a replay; `None` for a handler's own.
    pub replay: Option<ReplayPart>,
}

/// What one turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was claimed, started or settled: there may be more to do at once.
    Moved,
    /// Nothing to do before something happens, or this time comes.
    Idle(Option<Timestamp>),
    /// Nothing to do any more: the replay that it belongs to is through, or somebody ended it.
    Ended,
}

/// What an operator asks of a lane.
#[derive(Clone, Debug)]
pub enum Control {
    /// Let go of everything below this seq.
    SkipTo(u64),
    /// Try again now whatever waits to be tried again.
    Retry,
    /// Believe the refusals of this class of the events up to this seq, until the next success.
    Believe {
        /// The last seq that it holds for.
        upto: u64,
        /// The class of the refusals, such as `status 422`.
        class: String,
    },
}

/// What a delivery on its way carries.
enum Carried {
    Events {
        seqs: Vec<u64>,
        mode: Mode,
        since: Timestamp,
    },
    Aside(Arc<Event>),
    Revival(i64),
    /// No event: the handler is being opened.
    Look,
}

/// How a delivery task ended: its outcomes, or a panic.
type Joined = Result<(Id, Vec<Outcome>), JoinError>;

/// A lane at work.
pub struct Lane {
    parts: LaneParts,
    window: Window,
    aside: AsideRows,
    /// What is settled although it is past the cursor, and so is claimed once more.
    settled: HashSet<u64>,
    revivals: Revivals,
    deliveries: JoinSet<Vec<Outcome>>,
    carried: HashMap<Id, Carried>,
    /// The opening of the handler that is under way.
    look: Option<AbortHandle>,
    joined: Vec<Joined>,
    attempt: Attempt,
    ends: Ends,
    settled_to: u64,
    condition: Condition,
    tip: watch::Receiver<u64>,
    retries: watch::Receiver<u64>,
    look_for_revivals: bool,
    paused: watch::Receiver<Pauses>,
    replays: watch::Receiver<Replays>,
    /// It was held back when it last heard of pauses.
    held: bool,
    /// The destination said that it is gone for good: why, until the journal knows.
    gone: Option<String>,
    /// Which refusals an operator believes.
    belief: Option<Belief>,
    /// Events of a replay that were claimed and wanted.
    claimed: u64,
    /// The tip when the lane was restored: the process before may have delivered what is up to here.
    restored_to: u64,
    /// Of that: events settled durably, and events that ended since.
    resettled: u64,
    unsettled: u64,
    backlog_is_settled: bool,
    /// As many events are set aside as may be, and the log says so.
    told_full: bool,
    /// An exception has just ended: now it is the turn of the lane's own deliveries.
    exception_ended: bool,
    /// The last exception was a set-aside event: now it is a dead letter's turn.
    revival_next: bool,
    show: Show,
}

/// How the destination does.
struct Condition {
    /// Failed deliveries in a row; 0 while the destination is well.
    failures: u32,
    /// While it is unwell: what the failures are about. The backlog is searched where it is events.
    about: About,
    /// It is not as the settings say: no other message will change that.
    misconfigured: bool,
    /// The deliveries in flight are probes; their results decide the lane's health.
    probing: bool,
    /// Somebody asked to try again: the next probe is of a retried dead letter, too.
    woken: bool,
    /// Searches of the backlog in a row, and the events that the current one still has to try.
    searches: u32,
    search: VecDeque<u64>,
    /// While it is unwell: when it is probed.
    wait_until: Timestamp,
    /// When something was delivered last, in this run.
    last_success: Timestamp,
    /// Events delivered in this run.
    successes: u64,
    /// A lane that has caught up gathers until then.
    next_claim: Timestamp,
    /// Quick deliveries in a row: see [`policy::share`].
    quick: usize,
    seed: u64,
}

impl Lane {
    /// A lane as its journal knows it.
    ///
    /// # Errors
    /// [`journal::Error::NoLane`] where it was not enrolled.
    pub async fn restore(parts: LaneParts) -> Result<Self, journal::Error> {
        let LaneState { cursor, aside, dead_past_cursor, .. } = parts.journal.lane(parts.id.clone()).await?;
        let aside_past_cursor = aside.iter().map(|row| row.seq).filter(|seq| *seq > cursor);
        let mut hasher = DefaultHasher::new();
        parts.id.hash(&mut hasher);
        Ok(Self {
            attempt: Attempt {
                handler: Arc::clone(&parts.handler),
                mask: Arc::clone(&parts.mask),
                slots: Arc::clone(&parts.slots),
                lane: parts.id.clone(),
                paces: parts.paces.clone(),
                timeout: *parts.settings.timeout,
                seconds: parts
                    .metrics
                    .delivery_seconds
                    .get_or_create_owned(&vec![("handler", Arc::clone(&parts.id.handler))]),
            },
            window: Window::new(cursor),
            settled: aside_past_cursor.chain(dead_past_cursor).collect(),
            aside: AsideRows::restore(aside),
            revivals: Revivals::default(),
            deliveries: JoinSet::new(),
            carried: HashMap::new(),
            look: None,
            joined: Vec::new(),
            ends: Ends::default(),
            settled_to: cursor,
            condition: Condition {
                failures: 0,
                about: About::Destination,
                misconfigured: false,
                woken: false,
                probing: false,
                searches: 0,
                search: VecDeque::new(),
                wait_until: Timestamp::default(),
                last_success: Timestamp::default(),
                successes: 0,
                next_claim: Timestamp::default(),
                quick: 0,
                seed: hasher.finish(),
            },
            restored_to: *parts.journal.tip().borrow(),
            claimed: 0,
            resettled: 0,
            unsettled: 0,
            backlog_is_settled: false,
            told_full: false,
            belief: None,
            tip: parts.journal.tip(),
            retries: parts.journal.retries(),
            // The dead letters of a replay are the handler's own lanes'.
            look_for_revivals: parts.replay.is_none(),
            paused: parts.journal.paused(),
            replays: parts.journal.replays(),
            held: true,
            gone: None,
            exception_ended: false,
            revival_next: false,
            show: Show::new(&parts.id, parts.kind, &parts.destination, &parts.metrics, cursor),
            parts,
        })
    }

    /// What it shows of itself, now and as it changes.
    pub fn status(&self) -> watch::Receiver<LaneStatus> {
        self.show.status.subscribe()
    }

    /// The journal's clock.
    pub fn clock(&self) -> Clock {
        self.parts.journal.clock().clone()
    }

    /// One turn, at a time that never falls. Never waits for a destination.
    ///
    /// # Errors
    /// The journal's: the lane is where it was, and may be turned again.
    pub async fn turn(&mut self, now: Timestamp) -> Result<Turn, journal::Error> {
        if self.decided() == Decided::Ended {
            return Ok(Turn::Ended);
        }
        let ended = self.take_over(now);
        if let Some(reason) = self.gone.clone() {
            self.parts.journal.pause(Arc::clone(&self.parts.id.handler), reason).await?;
            self.gone = None;
        }
        if self.retries.has_changed().unwrap_or(false) {
            self.retries.borrow_and_update();
            self.look_for_revivals = self.parts.replay.is_none();
        }
        let believed = self.bury_believed(now).await;
        self.settle_redelivered().await?;
        if self.look_for_revivals {
            self.find_revivals(now).await?;
        }
        let claimed = self.fill(now).await;
        // A search tries many at once: these are claimed first.
        let gathers = matches!(claimed, Ok(true)) && self.lacks_choice(now);
        let started = !gathers && self.start(now).await;
        self.settle().await?;
        // What could be delivered was, and is settled, also where the journal cannot be read any further.
        let claimed = claimed?;
        self.show(now, None);
        if ended || believed || claimed || started {
            return Ok(Turn::Moved);
        }
        if self.is_finished() {
            return Ok(Turn::Ended);
        }
        Ok(Turn::Idle(self.next_due(now)))
    }

    /// Waits until a delivery on its way has ended; `false` where none is.
    pub async fn delivery_ended(&mut self) -> bool {
        let joined = self.deliveries.join_next_with_id().await;
        let some = joined.is_some();
        self.joined.extend(joined);
        some
    }

    /// Hands over how things ended, with the cursor.
    async fn settle(&mut self) -> Result<(), journal::Error> {
        let done_to = self.window.done_to();
        if done_to > self.settled_to {
            self.ends.cursor = Some(done_to);
        }
        if self.ends.is_empty() {
            return Ok(());
        }
        self.parts.journal.settle(self.parts.id.clone(), std::mem::take(&mut self.ends)).await?;
        self.settled_to = done_to;
        Ok(())
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_paused() {
            return None;
        }
        if self.gives_way() {
            return Some(now.plus_ms(policy::GIVES_WAY_MS));
        }
        if self.condition.failures > 0 {
            return self.carried.is_empty().then_some(self.condition.wait_until);
        }
        let exceptions_in_flight = self.exceptions_in_flight();
        let exceptions = if exceptions_in_flight >= policy::exceptions(self.share()) || !self.has_place() {
            None
        } else {
            self.aside.next_due(self.aside_upto()).into_iter().chain(self.revivals.next_due()).min()
        };
        let gathered =
            (self.window.len() == 0 && self.condition.next_claim > now).then_some(self.condition.next_claim);
        let window = self.window.next_due(now);
        let own = self.awaits_own().then(|| now.plus_ms(policy::GIVES_WAY_MS));
        [exceptions, gathered, window, own].into_iter().flatten().min()
    }

    fn backoff_ms(&self, failures: u32) -> i64 {
        let settings = &self.parts.settings;
        let jitter = policy::jitter(self.condition.seed, failures);
        policy::backoff_ms(settings.probe_first, settings.probe_max, failures, jitter)
    }

    fn name(&self) -> String {
        let own = format!("{}/{}", self.parts.id.handler, self.parts.id.class.as_str());
        match self.parts.id.replay {
            Some(id) => format!("{own}/replay {id}"),
            None => own,
        }
    }
}
