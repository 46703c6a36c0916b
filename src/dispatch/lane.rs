//! One lane of one handler: claim → deliver → settle.
//!
//! [`Lane::turn`] is the loop's body, without a clock of its own: it takes over what has ended, claims, starts what may
//! be started, and settles. Tests call it; [`Lane::run`] calls it and waits in between.
//!
//! A destination that is unwell is probed after a wait that doubles; nothing is skipped for its sake. An event that keeps
//! failing while others succeed is set aside, and later events of its message behind it. What was refused is a dead letter.

mod ended;
mod look;
mod replay;
mod running;

pub use replay::ReplayPart;
pub use running::Ended;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::AtomicU32},
};

use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use self::replay::Decided;
use super::{
    Settings,
    attempt::{Attempt, Outcome},
    exceptions::{AsideRows, Revivals},
    pace::Pace,
    policy::{self, Mode},
    status::{LaneCondition, LaneStatus, Show, Shown},
    window::Window,
};
use crate::{
    clock::{Clock, Timestamp},
    event::Event,
    handler::{Delivery, Filter, Handler, Mask},
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
#[derive(Clone, Copy, Debug)]
pub enum Control {
    /// Let go of everything below this seq.
    SkipTo(u64),
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
    /// What is on its way is a probe: what it tells is news.
    probing: bool,
    /// While it is unwell: when it is probed.
    wait_until: Timestamp,
    /// When something was delivered last, in this run.
    last_success: Timestamp,
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
                refusals: Arc::new(AtomicU32::new(0)),
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
                probing: false,
                wait_until: Timestamp::default(),
                last_success: Timestamp::default(),
                next_claim: Timestamp::default(),
                quick: 0,
                seed: hasher.finish(),
            },
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
        if self.look_for_revivals {
            // Those that were delivered must not be read again: their ends are made durable first.
            self.settle().await?;
            self.parts.journal.flush().await?;
            self.revivals.extend(self.parts.journal.retrying(self.parts.id.clone()).await?);
            self.look_for_revivals = false;
        }
        let claimed = self.fill(now).await;
        let started = self.start(now).await;
        self.settle().await?;
        // What could be delivered was, and is settled, also where the journal cannot be read any further.
        let claimed = claimed?;
        self.show(now, None);
        if ended || claimed || started {
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

    /// Claims while there is room; whether anything moved.
    async fn fill(&mut self, now: Timestamp) -> Result<bool, journal::Error> {
        let (most, target) = policy::window(self.parts.batch, self.share());
        let gathering = self.window.len() == 0 && now < self.condition.next_claim;
        let enough = self.window.len() > most || self.aside_is_full();
        if gathering || self.window.bytes() >= WINDOW_BYTES || (enough && !self.lacks_choice(now)) {
            return Ok(false);
        }
        let read_to = self.window.read_to();
        let end = self.reach();
        if read_to >= end.min(*self.tip.borrow()) {
            return Ok(false);
        }
        let set_aside_by_own = self.set_aside_by_own(end).await?;
        let max = target.saturating_sub(self.window.len()).max(policy::PROBE_EVENTS);
        let claim = self.parts.journal.claim(self.parts.id.class, read_to, max).await?;
        if claim.events.len() < self.parts.batch {
            self.condition.next_claim = now.plus_ms(policy::GATHER_MS);
        }
        for event in claim.events {
            let seq = event.seq;
            if seq > end {
                break;
            }
            if !self.settled.remove(&seq) && !set_aside_by_own.contains(&seq) && self.wants(&event) {
                match event.order_key().filter(|key| self.aside.holds(*key)) {
                    Some(_) if self.aside_is_full() => {
                        return Ok(self.window.read_to() > read_to);
                    }
                    Some(_) => self.set_aside_in_order(&event, now),
                    None => self.window.push(event),
                }
            }
            self.window.advance(seq);
        }
        self.window.advance(claim.through.min(end));
        Ok(self.window.read_to() > read_to)
    }

    /// Whether the next probe would have too few messages to choose from: where all in the window are bad, what follows
    /// tells whether the destination is.
    fn lacks_choice(&self, now: Timestamp) -> bool {
        self.is_time_to_probe(now) && self.window.width() < policy::probe_width(self.condition.failures)
    }

    /// Starts what may be started; whether anything was.
    async fn start(&mut self, now: Timestamp) -> bool {
        if self.is_paused() || self.gives_way() {
            return false;
        }
        if let Some(started) = self.start_look(now) {
            return started;
        }
        if self.condition.failures > 0 {
            return self.probe(now).await;
        }
        // With one place only, what is due again and again would else leave it to nobody.
        let mut started = std::mem::take(&mut self.exception_ended) && self.start_batches(now);
        if self.has_place() {
            started |= self.start_exception(now).await;
        }
        started |= self.start_batches(now);
        started
    }

    fn is_paused(&self) -> bool {
        self.gone.is_some()
            || self.decided() == Decided::Paused
            || self.paused.borrow().contains_key(&self.parts.id.handler)
    }

    fn has_place(&self) -> bool {
        self.carried.len() < self.share()
    }

    fn start_batches(&mut self, now: Timestamp) -> bool {
        let mut started = false;
        while self.has_place() {
            let seqs = self.window.next_batch(self.parts.batch, now, false);
            if seqs.is_empty() {
                break;
            }
            let mode = policy::mode(self.most_attempts(&seqs));
            self.spawn_events(seqs, mode, now);
            started = true;
        }
        started
    }

    fn is_time_to_probe(&self, now: Timestamp) -> bool {
        self.condition.failures > 0 && now >= self.condition.wait_until && self.carried.is_empty()
    }

    /// One probe of a destination that is unwell, when it is time.
    async fn probe(&mut self, now: Timestamp) -> bool {
        if !self.is_time_to_probe(now) {
            return false;
        }
        // It may be what was set aside that the destination takes, and nothing in the window.
        self.start_aside(now).await;
        let seqs = self.window.next_batch(self.parts.batch, now, true);
        if seqs.is_empty() {
            // What failed was let go: there is nothing left to judge the destination by.
            self.condition.failures = 0;
            return true;
        }
        self.condition.probing = true;
        if policy::mode(self.most_attempts(&seqs)) == Mode::Batch {
            self.spawn_events(seqs, Mode::Batch, now);
            return true;
        }
        for seq in &seqs {
            self.window.put_back(*seq, now);
        }
        let events = policy::probe_events(seqs.len());
        let heads = self.window.next_heads(events, policy::probe_turn(self.condition.failures, events));
        self.spawn_events(heads, Mode::OneByOne, now);
        true
    }

    /// A set-aside event or a revived dead letter that is due, one at a time and in turn, beside the lane's own deliveries.
    async fn start_exception(&mut self, now: Timestamp) -> bool {
        if self.carried.values().any(|one| !matches!(one, Carried::Events { .. })) {
            return false;
        }
        let revival_first = std::mem::take(&mut self.revival_next);
        (revival_first && self.start_revival(now).await)
            || self.start_aside(now).await
            || self.start_revival(now).await
    }

    async fn start_revival(&mut self, now: Timestamp) -> bool {
        let Some(due) = self.revivals.take_due(now) else { return false };
        match self.parts.journal.dead_letter(due.id).await {
            Ok(Some(letter)) if letter.retrying => {
                let delivery = Delivery::new(due.event, due.attempts + 1, true);
                self.spawn(vec![delivery], Mode::Batch, Carried::Revival(due.id));
            }
            // Somebody has dropped it.
            Ok(_) => self.revival_done(due.id),
            Err(error) => {
                tracing::error!(
                    lane = %self.name(),
                    dead = due.id,
                    error = error.class(),
                    "a dead letter cannot be read; it is tried again, and the lane goes on"
                );
                self.revivals.put_back(due.id, now.plus_ms(policy::UNREADABLE_MS));
            }
        }
        true
    }

    async fn start_aside(&mut self, now: Timestamp) -> bool {
        let longest_ms = policy::longest_ms(self.parts.settings.aside_max);
        let Some(row) = self.aside.take_due(now, longest_ms, self.aside_upto()) else { return false };
        match self.parts.journal.get(row.seq).await {
            Ok(Some(event)) => {
                let delivery =
                    Delivery::new(Arc::clone(&event), row.attempts + 1, self.parts.replay.is_some());
                self.spawn(vec![delivery], Mode::Batch, Carried::Aside(event));
                self.revival_next = true;
            }
            Ok(None) => {
                tracing::error!(lane = %self.name(), seq = row.seq, "a set-aside event is not in the journal any more");
                self.release(row.seq, now);
            }
            Err(error) => {
                tracing::error!(
                    lane = %self.name(),
                    seq = row.seq,
                    error = error.class(),
                    "a set-aside event cannot be read; it is tried again, and the lane goes on"
                );
                self.show.failed("unreadable", now);
                self.aside.put_back(row.seq, now.plus_ms(policy::UNREADABLE_MS.min(longest_ms)));
            }
        }
        true
    }

    /// Set-aside events up to here may be tried: after a restart, what is before them is claimed first, since some of it may
    /// be of their messages. At the bound, where nothing more can be claimed, all of them.
    fn aside_upto(&self) -> u64 {
        if self.aside_is_full() { u64::MAX } else { self.window.read_to() }
    }

    fn aside_is_full(&self) -> bool {
        self.aside.len() >= self.parts.settings.aside_limit
    }

    fn spawn_events(&mut self, seqs: Vec<u64>, mode: Mode, since: Timestamp) {
        let deliveries = seqs
            .iter()
            .filter_map(|seq| self.window.get(*seq))
            .map(|slot| {
                Delivery::new(Arc::clone(&slot.event), slot.attempts + 1, self.parts.replay.is_some())
            })
            .collect();
        self.spawn(deliveries, mode, Carried::Events { seqs, mode, since });
    }

    fn spawn(&mut self, deliveries: Vec<Delivery>, mode: Mode, carried: Carried) {
        let task = self.deliveries.spawn(self.attempt.clone().run(deliveries, mode));
        self.carried.insert(task.id(), carried);
    }

    fn most_attempts(&self, seqs: &[u64]) -> u32 {
        seqs.iter()
            .filter_map(|seq| self.window.get(*seq))
            .map(|slot| slot.attempts)
            .max()
            .unwrap_or_default()
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
        let busy = self.carried.values().any(|one| !matches!(one, Carried::Events { .. }));
        let exceptions = if busy || !self.has_place() {
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

    fn show(&mut self, now: Timestamp, state: Option<LaneCondition>) {
        let waits = self.condition.failures > 0;
        let full = self.aside_is_full();
        let state = state.unwrap_or(match (self.is_paused(), waits, full) {
            (true, ..) => LaneCondition::Paused,
            (_, true, _) => LaneCondition::Waiting,
            (_, _, true) => LaneCondition::Full,
            _ => LaneCondition::Running,
        });
        let tip = self.end().min(*self.tip.borrow());
        self.show.publish(&Shown {
            cursor: self.window.done_to(),
            tip,
            in_flight: self.carried.len() - usize::from(self.look.is_some()),
            oldest_at: self.window.oldest_at().into_iter().chain(self.aside.oldest_at()).min(),
            set_aside: self.aside.len(),
            state,
            failures: self.condition.failures,
            next_try: (state == LaneCondition::Waiting && self.condition.wait_until > now)
                .then_some(self.condition.wait_until),
        });
    }
}
