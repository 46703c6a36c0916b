//! One lane of one handler: claim → deliver → settle.
//!
//! [`Lane::turn`] is the loop's body, without a clock of its own: it takes over what has ended, claims, starts what may
//! be started, and settles. Tests call it; [`Lane::run`] calls it and waits in between.
//!
//! A destination that is unwell is probed after a wait that doubles; nothing is skipped for its sake. An event that keeps
//! failing while others succeed is set aside, and later events of its message behind it. What was refused is a dead letter.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{Id, JoinError, JoinSet},
};

use super::{
    Settings,
    attempt::{Attempt, Outcome, Trouble},
    exceptions::{AsideRows, Revivals},
    policy::{self, Fate, Mode},
    status::{LaneCondition, LaneStatus, Show, Shown},
    window::Window,
};
use crate::{
    clock::Timestamp,
    event::Event,
    handler::{Delivery, Filter, Handler},
    journal::{self, Aside, Cause, DeadAgain, Ends, Journal, LaneId, LaneState, NewDead},
    metrics::Metrics,
};

/// A lane that holds so many bytes claims no more: the events of a batch may be as large as a body.
const WINDOW_BYTES: usize = 16 << 20;
/// Events of a probe that go one by one, at least: one bad event alone could not be told from a bad destination.
const PROBE_HEADS: usize = 4;
/// Set-aside events and revived dead letters on their way at once.
const EXCEPTIONS_AT_ONCE: usize = 1;
/// How long a lane rests that cannot read the journal.
const STUCK_MS: i64 = 30_000;
/// A lane looks around at least this often.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What a lane is made of.
pub struct LaneParts {
    /// Which lane.
    pub id: LaneId,
    /// The handler's kind, for its status.
    pub kind: &'static str,
    /// The destination.
    pub handler: Arc<dyn Handler>,
    /// Which events the handler wants.
    pub filter: Filter,
    /// How it goes about its deliveries.
    pub settings: Settings,
    /// Events in a delivery at most.
    pub batch: usize,
    /// Deliveries under way at once, of both lanes.
    pub concurrency: usize,
    /// The places of the handler, shared by its lanes.
    pub slots: Arc<Semaphore>,
    /// Where events come from and ends go to.
    pub journal: Arc<dyn Journal>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

/// What one turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was claimed, started or settled: there may be more to do at once.
    Moved,
    /// Nothing to do before something happens, or this time comes.
    Idle(Option<Timestamp>),
}

/// What an operator asks of a lane.
#[derive(Clone, Copy, Debug)]
pub enum Control {
    /// Let go of everything below this seq.
    SkipTo(u64),
}

/// What a delivery on its way carries.
enum Carried {
    Events { seqs: Vec<u64>, mode: Mode },
    Aside(Arc<Event>),
    Revival(i64),
}

/// How a delivery task ended: its outcomes, or a panic.
type Joined = Result<(Id, Vec<Outcome>), JoinError>;

/// A lane at work.
pub struct Lane {
    parts: LaneParts,
    window: Window,
    aside: AsideRows,
    revivals: Revivals,
    deliveries: JoinSet<Vec<Outcome>>,
    carried: HashMap<Id, Carried>,
    joined: Vec<Joined>,
    attempt: Attempt,
    ends: Ends,
    settled_to: u64,
    condition: Condition,
    tip: watch::Receiver<u64>,
    retries: watch::Receiver<u64>,
    look_for_revivals: bool,
    /// An exception has just ended: now it is the turn of the lane's own deliveries.
    exception_ended: bool,
    show: Show,
}

/// How the destination does.
struct Condition {
    /// Failed deliveries in a row; 0 while the destination is well.
    failures: u32,
    /// While it is unwell: when it is probed.
    wait_until: Timestamp,
    /// When something was delivered last, in this run.
    last_success: Timestamp,
    /// A lane that has caught up gathers until then.
    next_claim: Timestamp,
    seed: u64,
}

impl Lane {
    /// A lane as its journal knows it.
    ///
    /// # Errors
    /// [`journal::Error::NoLane`] where it was not enrolled.
    pub async fn restore(parts: LaneParts) -> Result<Self, journal::Error> {
        let LaneState { cursor, aside, .. } = parts.journal.lane(parts.id.clone()).await?;
        let mut hasher = DefaultHasher::new();
        parts.id.hash(&mut hasher);
        Ok(Self {
            attempt: Attempt {
                handler: Arc::clone(&parts.handler),
                slots: Arc::clone(&parts.slots),
                timeout: *parts.settings.timeout,
                refusals: Arc::new(AtomicU32::new(0)),
            },
            window: Window::new(cursor),
            aside: AsideRows::restore(aside),
            revivals: Revivals::default(),
            deliveries: JoinSet::new(),
            carried: HashMap::new(),
            joined: Vec::new(),
            ends: Ends::default(),
            settled_to: cursor,
            condition: Condition {
                failures: 0,
                wait_until: Timestamp::default(),
                last_success: Timestamp::default(),
                next_claim: Timestamp::default(),
                seed: hasher.finish(),
            },
            tip: parts.journal.tip(),
            retries: parts.journal.retries(),
            look_for_revivals: true,
            exception_ended: false,
            show: Show::new(&parts, cursor),
            parts,
        })
    }

    /// What it shows of itself, now and as it changes.
    pub fn status(&self) -> watch::Receiver<LaneStatus> {
        self.show.status.subscribe()
    }

    /// Works until `stop` is true; then lets what is on its way end, for as long as `grace`.
    pub async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        mut control: mpsc::Receiver<Control>,
        grace: Duration,
    ) {
        let clock = LaneClock::new();
        while !*stop.borrow_and_update() {
            // Interest first, then the look: what is appended in between wakes the lane.
            self.tip.borrow_and_update();
            let (until, stuck) = match self.turn(clock.now()).await {
                Ok(Turn::Moved) => continue,
                Ok(Turn::Idle(until)) => (until, false),
                Err(error) => (Some(self.stuck(&error, clock.now())), true),
            };
            let rest = until.map_or(LONGEST_REST, |until| clock.until(until));
            tokio::select! {
                // New events do not help a lane that cannot read the old ones.
                _ = self.tip.changed(), if !stuck => {}
                _ = self.retries.changed() => self.look_for_revivals = true,
                Some(joined) = self.deliveries.join_next_with_id() => self.joined.push(joined),
                Some(asked) = control.recv() => self.control(asked),
                _ = stop.changed() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        self.wind_up(&clock, grace).await;
    }

    /// One turn, at a time that never falls. Never waits for a destination.
    ///
    /// # Errors
    /// The journal's: the lane is where it was, and may be turned again.
    pub async fn turn(&mut self, now: Timestamp) -> Result<Turn, journal::Error> {
        let ended = self.take_over(now);
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
        let (claimed, started) = (claimed?, started?);
        self.show(now, None);
        if ended || claimed || started {
            return Ok(Turn::Moved);
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

    /// What has ended, taken over.
    fn take_over(&mut self, now: Timestamp) -> bool {
        while let Some(joined) = self.deliveries.try_join_next_with_id() {
            self.joined.push(joined);
        }
        let any = !self.joined.is_empty();
        for joined in std::mem::take(&mut self.joined) {
            let (id, outcomes) = match joined {
                Ok((id, outcomes)) => (id, Ok(outcomes)),
                Err(error) => (error.id(), Err(panicked(&error))),
            };
            match self.carried.remove(&id) {
                Some(Carried::Events { seqs, mode }) => {
                    let outcomes =
                        outcomes.unwrap_or_else(|trouble| vec![Outcome::Failed(trouble); seqs.len()]);
                    self.events_ended(&seqs, outcomes, mode, now);
                }
                Some(Carried::Aside(event)) => {
                    self.exception_ended = true;
                    self.aside_ended(&event, single(outcomes), now);
                }
                Some(Carried::Revival(dead)) => {
                    self.exception_ended = true;
                    self.revival_ended(dead, single(outcomes), now);
                }
                None => {}
            }
        }
        any
    }

    /// Claims while there is room; whether anything moved.
    async fn fill(&mut self, now: Timestamp) -> Result<bool, journal::Error> {
        let target = self.parts.batch * policy::share(self.parts.id.class, self.parts.concurrency) * 2;
        let gathering = self.window.len() == 0 && now < self.condition.next_claim;
        let full = self.window.len() * 2 > target || self.window.bytes() >= WINDOW_BYTES;
        if full || gathering || self.aside.len() >= self.parts.settings.aside_limit {
            return Ok(false);
        }
        let read_to = self.window.read_to();
        if read_to >= *self.tip.borrow() {
            return Ok(false);
        }
        let max = target - self.window.len();
        let claim = self.parts.journal.claim(self.parts.id.class, read_to, max).await?;
        if claim.events.len() < self.parts.batch {
            self.condition.next_claim = now.plus_ms(policy::GATHER_MS);
        }
        for event in claim.events {
            let seq = event.seq;
            if self.parts.filter.wants(&event) {
                match event.element.order_key().filter(|key| self.aside.holds(*key)) {
                    Some(_) if self.aside.len() >= self.parts.settings.aside_limit => return Ok(true),
                    Some(_) => self.set_aside_behind(&event, now),
                    None => self.window.push(event),
                }
            }
            self.window.advance(seq);
        }
        self.window.advance(claim.through);
        Ok(self.window.read_to() > read_to)
    }

    /// Starts what may be started; whether anything was.
    async fn start(&mut self, now: Timestamp) -> Result<bool, journal::Error> {
        if self.condition.failures > 0 {
            return Ok(self.probe(now));
        }
        // With one place only, what is due again and again would else leave it to nobody.
        let mut started = std::mem::take(&mut self.exception_ended) && self.start_batches(now);
        if self.has_place() {
            started |= self.start_exceptions(now).await?;
        }
        started |= self.start_batches(now);
        Ok(started)
    }

    fn has_place(&self) -> bool {
        self.carried.len() < policy::share(self.parts.id.class, self.parts.concurrency)
    }

    fn start_batches(&mut self, now: Timestamp) -> bool {
        let mut started = false;
        while self.has_place() {
            let seqs = self.window.next_batch(self.parts.batch, now, false);
            if seqs.is_empty() {
                break;
            }
            let mode = policy::mode(self.most_attempts(&seqs));
            self.spawn_events(seqs, mode);
            started = true;
        }
        started
    }

    /// One probe of a destination that is unwell, when it is time.
    fn probe(&mut self, now: Timestamp) -> bool {
        if now < self.condition.wait_until || !self.carried.is_empty() {
            return false;
        }
        let seqs = self.window.next_batch(self.parts.batch, now, true);
        if seqs.is_empty() {
            // What failed was let go: there is nothing left to judge the destination by.
            self.condition.failures = 0;
            return true;
        }
        if policy::mode(self.most_attempts(&seqs)) == Mode::Batch {
            self.spawn_events(seqs, Mode::Batch);
            return true;
        }
        for seq in &seqs {
            self.window.put_back(*seq, false, now);
        }
        let turn = policy::probe_turn(self.condition.failures);
        let heads = self.window.next_heads(seqs.len(), PROBE_HEADS, turn);
        self.spawn_events(heads, Mode::OneByOne);
        true
    }

    /// Set-aside events and revived dead letters that are due, beside the lane's own deliveries.
    async fn start_exceptions(&mut self, now: Timestamp) -> Result<bool, journal::Error> {
        let busy = self.carried.values().filter(|one| !matches!(one, Carried::Events { .. })).count();
        let free = EXCEPTIONS_AT_ONCE.saturating_sub(busy);
        let mut started = false;
        for row in self.aside.take_due(now, policy::longest_ms(self.parts.settings.aside_max), free) {
            started = true;
            let Some(event) = self.parts.journal.get(row.seq).await? else {
                tracing::error!(lane = %self.name(), seq = row.seq, "a set-aside event is not in the journal any more");
                self.release(row.seq, now);
                continue;
            };
            let delivery = Delivery { event: Arc::clone(&event), attempt: row.attempts + 1, replay: false };
            self.spawn(vec![delivery], Mode::Batch, Carried::Aside(event));
        }
        if !started {
            for due in self.revivals.take_due(now, free) {
                started = true;
                let delivery = Delivery { event: due.event, attempt: due.attempts + 1, replay: true };
                self.spawn(vec![delivery], Mode::Batch, Carried::Revival(due.id));
            }
        }
        Ok(started)
    }

    fn spawn_events(&mut self, seqs: Vec<u64>, mode: Mode) {
        let deliveries = seqs
            .iter()
            .filter_map(|seq| self.window.get(*seq))
            .map(|slot| Delivery {
                event: Arc::clone(&slot.event),
                attempt: slot.attempts + 1,
                replay: false,
            })
            .collect();
        self.spawn(deliveries, mode, Carried::Events { seqs, mode });
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

    /// A batch or a probe came back.
    fn events_ended(&mut self, seqs: &[u64], outcomes: Vec<Outcome>, mode: Mode, now: Timestamp) {
        let mut failed = Vec::new();
        let (mut delivered, mut refused) = (0, 0);
        for (seq, outcome) in seqs.iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => {
                    self.window.remove(*seq);
                    delivered += 1;
                }
                Outcome::Refused(error) => {
                    let attempts = self.window.get(*seq).map_or(0, |slot| slot.attempts) + 1;
                    if let Some(event) = self.window.remove(*seq) {
                        self.bury(event, Cause::Refused, attempts, error, now);
                    }
                    refused += 1;
                }
                Outcome::Failed(trouble) => failed.push((*seq, trouble)),
                Outcome::Untried => self.window.put_back(*seq, false, Timestamp::default()),
            }
        }
        if delivered > 0 {
            self.show.delivered(delivered);
            self.succeeded(now);
        } else if refused > 0 {
            self.condition.failures = 0;
        }
        let Some((_, trouble)) = failed.first() else { return };
        self.show.failed(&self.parts.id, &trouble.class, "retry");
        if mode == Mode::OneByOne && delivered > 0 {
            for (seq, trouble) in failed {
                self.set_aside(seq, trouble, now);
            }
            return;
        }
        let not_before = if delivered > 0 {
            // Others of the batch were taken: it is these events, not the destination.
            now.plus_ms(self.backoff_ms(1))
        } else {
            self.unwell(&trouble.clone(), now)
        };
        for (seq, _) in failed {
            self.window.put_back(seq, true, not_before);
        }
    }

    /// The destination is unwell: when it is probed.
    fn unwell(&mut self, trouble: &Trouble, now: Timestamp) -> Timestamp {
        self.condition.failures += 1;
        let asked = trouble.after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let wait = self.backoff_ms(self.condition.failures).max(asked.min(policy::LONGEST_ASKED_MS));
        self.condition.wait_until = now.plus_ms(wait);
        if self.condition.failures == 1 || self.condition.failures.is_power_of_two() {
            tracing::warn!(
                lane = %self.name(),
                failure = %trouble.class,
                failures = self.condition.failures,
                next_try = %self.condition.wait_until,
                "the destination is unwell: the lane waits, nothing is skipped"
            );
        }
        self.condition.wait_until
    }

    fn succeeded(&mut self, now: Timestamp) {
        if self.condition.failures > 0 {
            tracing::info!(lane = %self.name(), "the destination is well again");
        }
        self.condition.failures = 0;
        self.condition.last_success = now;
    }

    /// A set-aside event came back.
    fn aside_ended(&mut self, event: &Arc<Event>, outcome: Outcome, now: Timestamp) {
        let seq = event.seq;
        let Some((row, failed_at)) = self.aside.get(seq) else { return };
        let (row, failed_at) = (row.clone(), failed_at);
        let attempts = row.attempts + 1;
        let trouble = match outcome {
            Outcome::Delivered => {
                self.show.delivered(1);
                self.succeeded(now);
                return self.release(seq, now);
            }
            Outcome::Refused(error) => {
                self.bury(Arc::clone(event), Cause::Refused, attempts, error, now);
                return self.release(seq, now);
            }
            Outcome::Failed(trouble) => trouble,
            Outcome::Untried => return self.aside.insert(row, failed_at),
        };
        self.show.failed(&self.parts.id, &trouble.class, "retry");
        let jitter = policy::jitter(self.condition.seed ^ seq, attempts);
        match policy::fate(&self.parts.settings, now.ms_since(row.since), attempts, jitter) {
            // Its time runs out only while the destination takes others.
            Fate::Dead if self.condition.last_success > failed_at => {
                self.bury(Arc::clone(event), Cause::Expired, attempts, trouble.error, now);
                self.release(seq, now);
            }
            Fate::Dead => self.keep_aside(row, attempts, trouble, self.parts.settings.aside_max.as_ms(), now),
            Fate::Again(wait) => self.keep_aside(row, attempts, trouble, wait, now),
        }
    }

    fn keep_aside(&mut self, row: Aside, attempts: u32, trouble: Trouble, wait_ms: i64, now: Timestamp) {
        let row = Aside { attempts, error: trouble.error, next_try: now.plus_ms(wait_ms), ..row };
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, now);
    }

    /// A set-aside event is done with; the next of its message follows.
    fn release(&mut self, seq: u64, now: Timestamp) {
        self.ends.resolved.push(seq);
        self.ends.set_aside.retain(|row| row.seq != seq);
        self.ends.set_aside.extend(self.aside.remove(seq, now));
    }

    /// A dead letter that somebody asked to retry came back.
    fn revival_ended(&mut self, id: i64, outcome: Outcome, now: Timestamp) {
        let (error, rests) = match outcome {
            Outcome::Delivered => {
                self.show.delivered(1);
                self.succeeded(now);
                self.ends.revived.push(id);
                self.revival_done(id);
                return;
            }
            Outcome::Refused(error) => (error, true),
            Outcome::Failed(trouble) => (trouble.error, false),
            Outcome::Untried => return self.revivals.put_back(id, now),
        };
        let Some((tries, attempts)) = self.revivals.failed(id) else { return };
        let rests = rests || tries >= policy::REVIVAL_TRIES;
        self.ends.dead_again.push(DeadAgain { id, attempts, error, still_retrying: !rests });
        if rests {
            self.revival_done(id);
        } else {
            let jitter = policy::jitter(self.condition.seed ^ id.cast_unsigned(), attempts);
            let settings = &self.parts.settings;
            let wait = policy::backoff_ms(settings.aside_first, settings.aside_max, tries, jitter);
            self.revivals.put_back(id, now.plus_ms(wait));
        }
    }

    fn revival_done(&mut self, id: i64) {
        self.revivals.remove(id);
        // The journal gives a bounded number at a time.
        self.look_for_revivals |= self.revivals.is_empty();
    }

    /// An event that fails while others succeed: later events of its message queue behind it.
    fn set_aside(&mut self, seq: u64, trouble: Trouble, now: Timestamp) {
        if self.aside.len() >= self.parts.settings.aside_limit {
            self.window.put_back(seq, true, now.plus_ms(self.backoff_ms(1)));
            return;
        }
        let attempts = self.window.get(seq).map_or(0, |slot| slot.attempts) + 1;
        let Some(event) = self.window.remove(seq) else { return };
        tracing::warn!(lane = %self.name(), seq, failure = %trouble.class, "set aside: it fails while others succeed");
        let order_key = event.element.order_key();
        let jitter = policy::jitter(self.condition.seed ^ seq, attempts);
        let settings = &self.parts.settings;
        let wait = policy::backoff_ms(settings.aside_first, settings.aside_max, 1, jitter);
        let row = Aside {
            seq,
            order_key,
            behind: false,
            attempts,
            since: now,
            next_try: now.plus_ms(wait),
            error: trouble.error,
        };
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, now);
        for later in order_key.map(|key| self.window.take_message(key)).unwrap_or_default() {
            self.set_aside_behind(&later, now);
        }
    }

    fn set_aside_behind(&mut self, event: &Event, now: Timestamp) {
        let row = Aside {
            seq: event.seq,
            order_key: event.element.order_key(),
            behind: true,
            attempts: 0,
            since: now,
            next_try: now,
            error: String::new(),
        };
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, now);
    }

    fn bury(&mut self, event: Arc<Event>, cause: Cause, attempts: u32, error: String, now: Timestamp) {
        tracing::warn!(lane = %self.name(), seq = event.seq, cause = cause.as_str(), "a dead letter");
        self.show.failed(&self.parts.id, cause.as_str(), "refuse");
        self.ends.dead.push(NewDead { event, cause, attempts, error, at: now });
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
        if self.condition.failures > 0 {
            return self.carried.is_empty().then_some(self.condition.wait_until);
        }
        let busy = self.carried.values().any(|one| !matches!(one, Carried::Events { .. }));
        let exceptions = if busy || !self.has_place() {
            None
        } else {
            self.aside.next_due().into_iter().chain(self.revivals.next_due()).min()
        };
        let gathered =
            (self.window.len() == 0 && self.condition.next_claim > now).then_some(self.condition.next_claim);
        let window = self.window.next_due(now);
        [exceptions, gathered, window].into_iter().flatten().min()
    }

    /// The journal cannot be read: intake goes on, this lane looks again later.
    fn stuck(&mut self, error: &journal::Error, now: Timestamp) -> Timestamp {
        tracing::error!(lane = %self.name(), error = error.class(), "the lane cannot read the journal; it stays where it is");
        self.show(now, Some(LaneCondition::Stuck));
        now.plus_ms(STUCK_MS)
    }

    fn control(&mut self, asked: Control) {
        match asked {
            Control::SkipTo(seq) => {
                let mut let_go = self.window.skip_to(seq);
                for aside in self.aside.below(seq) {
                    self.release(aside, Timestamp::default());
                    let_go += 1;
                }
                tracing::warn!(lane = %self.name(), before_seq = seq, let_go, "skipped by an operator's decision");
            }
        }
    }

    async fn wind_up(mut self, clock: &LaneClock, grace: Duration) {
        let last = tokio::time::timeout(grace, async { while self.delivery_ended().await {} }).await;
        if last.is_err() {
            tracing::warn!(lane = %self.name(), "a delivery did not end in time; it is made again after the next start");
        }
        self.take_over(clock.now());
        if let Err(error) = self.settle().await {
            tracing::warn!(lane = %self.name(), error = error.class(), "the last deliveries could not be settled");
        }
        self.show(clock.now(), Some(LaneCondition::Stopped));
    }

    fn backoff_ms(&self, failures: u32) -> i64 {
        let settings = &self.parts.settings;
        let jitter = policy::jitter(self.condition.seed, failures);
        policy::backoff_ms(settings.probe_first, settings.probe_max, failures, jitter)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.parts.id.handler, self.parts.id.class.as_str())
    }

    fn show(&mut self, now: Timestamp, state: Option<LaneCondition>) {
        let waits = self.condition.failures > 0;
        let full = self.aside.len() >= self.parts.settings.aside_limit;
        let state = state.unwrap_or(match (waits, full) {
            (true, _) => LaneCondition::Waiting,
            (false, true) => LaneCondition::Full,
            _ => LaneCondition::Running,
        });
        let tip = *self.tip.borrow();
        self.show.publish(&Shown {
            cursor: self.window.done_to(),
            tip,
            in_flight: self.carried.len(),
            set_aside: self.aside.len(),
            state,
            failures: self.condition.failures,
            next_try: (waits && self.condition.wait_until > now).then_some(self.condition.wait_until),
        });
    }
}

fn single(outcomes: Result<Vec<Outcome>, Trouble>) -> Outcome {
    match outcomes {
        Ok(outcomes) => outcomes.into_iter().next().unwrap_or(Outcome::Untried),
        Err(trouble) => Outcome::Failed(trouble),
    }
}

fn panicked(error: &JoinError) -> Trouble {
    Trouble { class: "panic".to_owned(), error: format!("the handler panicked: {error}"), after: None }
}

/// A clock that never falls: the wall's at its making, and what has passed since.
struct LaneClock {
    wall: Timestamp,
    since: tokio::time::Instant,
}

impl LaneClock {
    fn new() -> Self {
        Self { wall: crate::clock::now(), since: tokio::time::Instant::now() }
    }

    fn now(&self) -> Timestamp {
        self.wall.plus_ms(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// How long until then; a millisecond more, so that it has come.
    fn until(&self, time: Timestamp) -> Duration {
        let ms = time.ms_since(self.now()).max(0).unsigned_abs() + 1;
        Duration::from_millis(ms).min(LONGEST_REST)
    }
}
