//! The events of a lane that are claimed and not settled: which may go next, and how far everything is done.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::attempt::Trouble;
use crate::{
    clock::Timestamp,
    event::{Event, OrderKey},
};

/// A batch holds no more bytes than this, unless one event is larger.
const BATCH_BYTES: usize = 16 << 20;

/// Claimed, unsettled events, in order of seq.
#[derive(Default)]
pub struct Window {
    slots: BTreeMap<u64, Slot>,
    bytes: usize,
    /// Messages of which an event is on its way.
    busy: HashMap<OrderKey, u32>,
    /// Everything of the lane up to here was claimed.
    read_to: u64,
    /// See [`Self::has_let_go`].
    let_go_below: u64,
    /// Messages that have an event set aside, and no room to queue behind it.
    held: HashSet<OrderKey>,
    /// Slots with a doubt, and slots of held messages.
    doubted: usize,
    held_slots: usize,
}

/// One event.
pub struct Slot {
    /// The event; `None` where its body left the memory and must be read again.
    pub event: Option<Arc<Event>>,
    /// Deliveries tried.
    pub attempts: u32,
    /// Not tried before this time, unless the lane probes.
    pub not_before: Timestamp,
    /// How many deliveries of the lane had succeeded when it failed last.
    pub failed_after: Option<u64>,
    /// The same, when the first of the answers about it came.
    pub doubted_after: Option<u64>,
    /// The answer about it that another message has to confirm or to explain.
    pub doubt: Option<Trouble>,
    /// An attempt ended without an answer: the destination may have it.
    pub unanswered: bool,
    /// Answers that said the destination has it already, or works on it.
    pub repetitions: u32,
    came_at: Timestamp,
    /// What it is ordered by.
    pub key: Option<OrderKey>,
    bytes: usize,
    in_flight: bool,
}

impl Window {
    /// An empty one, after a cursor.
    pub fn new(cursor: u64) -> Self {
        Self { read_to: cursor, ..Self::default() }
    }

    /// Events in it.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the events in it, as they came.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the next claim goes on.
    pub const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Everything up to here is done with.
    pub fn done_to(&self) -> u64 {
        self.slots.first_key_value().map_or(self.read_to, |(seq, _)| seq - 1)
    }

    /// When the first of its events was received.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        self.slots.first_key_value().map(|(_, slot)| slot.came_at)
    }

    /// Everything up to `through` was looked at.
    pub fn advance(&mut self, through: u64) {
        self.read_to = self.read_to.max(through);
    }

    /// Takes an event that the handler wants; `unanswered` where an earlier process may have delivered it.
    pub fn push(&mut self, event: Arc<Event>, unanswered: bool) {
        let key = event.order_key();
        let slot = Slot {
            attempts: 0,
            not_before: Timestamp::default(),
            failed_after: None,
            doubted_after: None,
            doubt: None,
            unanswered,
            repetitions: 0,
            came_at: event.came_at,
            key,
            bytes: event.element.raw().len(),
            in_flight: false,
            event: Some(Arc::clone(&event)),
        };
        self.bytes += slot.bytes;
        self.held_slots += usize::from(self.is_held(key));
        self.slots.insert(event.seq, slot);
    }

    /// The events of this message wait until [`Self::unhold`].
    pub fn hold(&mut self, key: OrderKey) {
        if self.held.insert(key) {
            self.held_slots += self.slots.values().filter(|slot| slot.key == Some(key)).count();
        }
    }

    /// Nothing of this message is set aside any more.
    pub fn unhold(&mut self, key: OrderKey) {
        if self.held.remove(&key) {
            self.held_slots -= self.slots.values().filter(|slot| slot.key == Some(key)).count();
        }
    }

    fn is_held(&self, key: Option<OrderKey>) -> bool {
        !self.held.is_empty() && key.is_some_and(|key| self.held.contains(&key))
    }

    /// Events in it that wait for neither a judgement nor an event set aside.
    pub fn ready(&self) -> usize {
        self.slots.len().saturating_sub(self.doubted + self.held_slots)
    }

    /// Events with a doubt.
    pub const fn doubted(&self) -> usize {
        self.doubted
    }

    /// Events with a doubt that no success has followed, by seq.
    pub fn doubts(&self, successes: u64) -> impl Iterator<Item = (u64, &Slot, &Trouble)> {
        let slots = self.slots.iter().filter(move |_| self.doubted > 0);
        slots
            .filter(move |(_, slot)| slot.doubted_after == Some(successes))
            .filter_map(|(seq, slot)| Some((*seq, slot, slot.doubt.as_ref()?)))
    }

    /// The events with a doubt that are not on their way, by seq.
    pub fn waiting_doubts(&self) -> Vec<(u64, Trouble)> {
        let slots = self.slots.iter().filter(|(_, slot)| self.doubted > 0 && !slot.in_flight);
        slots.filter_map(|(seq, slot)| Some((*seq, slot.doubt.clone()?))).collect()
    }

    /// Every event may be tried now, as if it had not failed.
    pub fn forget_waits(&mut self) {
        for slot in self.slots.values_mut() {
            slot.not_before = Timestamp::default();
            slot.doubt = None;
            slot.doubted_after = None;
        }
        self.doubted = 0;
    }

    /// Events that failed are tried by this time at the latest.
    pub fn hurry(&mut self, by: Timestamp) {
        for slot in self.slots.values_mut().filter(|slot| slot.doubt.is_some()) {
            slot.not_before = slot.not_before.min(by);
        }
    }

    /// The bodies of events that failed leave the memory; the journal has them.
    pub fn drop_failed_bodies(&mut self) {
        let failed = self.slots.values_mut().filter(|slot| slot.attempts > 0 && !slot.in_flight);
        for slot in failed {
            if slot.event.take().is_some() {
                self.bytes -= slot.bytes;
            }
        }
    }

    /// The body of an event is in memory again.
    pub fn load(&mut self, event: &Arc<Event>) {
        if let Some(slot) = self.slots.get_mut(&event.seq)
            && slot.event.replace(Arc::clone(event)).is_none()
        {
            self.bytes += slot.bytes;
        }
    }

    /// The next batch: waiting events in order, none of which follows an event of its message that is on its way or is
    /// passed over. They are marked as on their way. A probe asks all the same for what should still wait. An event with a
    /// doubt goes alone.
    pub fn next_batch(&mut self, max: usize, now: Timestamp, probe: bool) -> Vec<u64> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut doubted = None;
        let mut passed: HashSet<OrderKey> = HashSet::new();
        for (seq, slot) in &self.slots {
            if batch.len() == max {
                break;
            }
            if slot.in_flight {
                continue;
            }
            let blocked = slot.key.is_some_and(|key| {
                self.busy.contains_key(&key) || passed.contains(&key) || self.is_held(Some(key))
            });
            if blocked || (!probe && slot.not_before > now) {
                passed.extend(slot.key);
                continue;
            }
            if slot.doubt.is_some() {
                if batch.is_empty() && !probe {
                    batch.push(*seq);
                    break;
                }
                doubted = doubted.or(Some(*seq));
                passed.extend(slot.key);
                continue;
            }
            bytes += slot.bytes;
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.push(*seq);
        }
        if batch.is_empty() {
            batch.extend(doubted);
        }
        for seq in &batch {
            self.mark(*seq, true);
        }
        batch
    }

    /// The first waiting event of each message, by seq.
    fn heads(&self) -> impl Iterator<Item = (u64, &Slot)> {
        let mut seen: HashSet<OrderKey> = HashSet::new();
        self.slots
            .iter()
            .filter(|(_, slot)| !slot.in_flight)
            .filter(move |(_, slot)| {
                slot.key.is_none_or(|key| {
                    !self.busy.contains_key(&key) && seen.insert(key) && !self.is_held(Some(key))
                })
            })
            .map(|(seq, slot)| (*seq, slot))
    }

    /// How many messages have an event that waits and could go: what a probe has to choose from.
    pub fn width(&self) -> usize {
        self.heads().count()
    }

    /// The same, of those that have not been tried.
    pub fn untried(&self) -> usize {
        self.heads().filter(|(_, slot)| slot.attempts == 0).count()
    }

    /// The first waiting event of each message, the least tried first: at most `untried` that were not tried, and others
    /// where these are fewer than `again`.
    pub fn least_tried(&self, untried: usize, again: usize) -> Vec<u64> {
        let mut heads: Vec<(u32, u64)> = self.heads().map(|(seq, slot)| (slot.attempts, seq)).collect();
        heads.sort_unstable();
        let new = heads.iter().take_while(|(attempts, _)| *attempts == 0).count();
        heads.truncate(if new >= again { new.min(untried) } else { again });
        heads.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Marks a waiting event as on its way; whether it could go.
    pub fn take(&mut self, seq: u64) -> bool {
        let can_go = self.slots.get(&seq).is_some_and(|slot| {
            let busy = slot.key.is_some_and(|key| self.busy.contains_key(&key));
            !slot.in_flight && !busy && !self.is_held(slot.key)
        });
        if can_go {
            self.mark(seq, true);
        }
        can_go
    }

    /// At most `max` of the first waiting events of each message, for a probe that goes one by one: from the `turn`th on,
    /// and round to those before it. They are marked as on their way.
    pub fn next_heads(&mut self, max: usize, turn: usize) -> Vec<u64> {
        let mut heads: Vec<u64> = self.heads().map(|(seq, _)| seq).collect();
        if !heads.is_empty() {
            let turn = turn % heads.len();
            heads.rotate_left(turn);
        }
        heads.truncate(max);
        for seq in &heads {
            self.mark(*seq, true);
        }
        heads
    }

    /// When the first event may be tried that may not be tried now.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.slots.values().filter(|slot| !slot.in_flight && slot.not_before > now);
        waiting.map(|slot| slot.not_before).min()
    }

    /// An event of the window.
    pub fn get(&self, seq: u64) -> Option<&Slot> {
        self.slots.get(&seq)
    }

    /// An event of the window, to be changed.
    pub fn get_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        self.slots.get_mut(&seq)
    }

    /// It is done with, one way or another; whether it was there.
    pub fn remove(&mut self, seq: u64) -> Option<Slot> {
        self.mark(seq, false);
        let slot = self.slots.remove(&seq)?;
        if slot.event.is_some() {
            self.bytes -= slot.bytes;
        }
        self.doubted -= usize::from(slot.doubt.is_some());
        self.held_slots -= usize::from(self.is_held(slot.key));
        Some(slot)
    }

    /// It came back untried: it waits again.
    pub fn put_back(&mut self, seq: u64, not_before: Timestamp) {
        self.mark(seq, false);
        if self.has_let_go(seq) {
            self.remove(seq);
        }
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.not_before = not_before;
        }
    }

    /// It failed when so many others had succeeded: it waits again, with a doubt where the answer was about it.
    pub fn failed(&mut self, seq: u64, successes: u64, not_before: Timestamp, doubt: Option<Trouble>) {
        self.put_back(seq, not_before);
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.attempts += 1;
            slot.failed_after = Some(successes);
            slot.doubted_after = doubt.as_ref().and(slot.doubted_after.or(Some(successes)));
            self.doubted += usize::from(doubt.is_some());
            self.doubted -= usize::from(slot.doubt.is_some());
            slot.doubt = doubt;
        }
    }

    /// Takes out the waiting events of a message, in order: their seqs.
    pub fn take_message(&mut self, key: OrderKey) -> Vec<u64> {
        let of_message = |slot: &Slot| !slot.in_flight && slot.key == Some(key);
        let seqs: Vec<u64> =
            self.slots.iter().filter_map(|(seq, slot)| of_message(slot).then_some(*seq)).collect();
        for seq in &seqs {
            self.remove(*seq);
        }
        seqs
    }

    /// Lets go of every waiting event below `seq`; how many there were.
    pub fn skip_to(&mut self, seq: u64) -> usize {
        self.let_go_below = self.let_go_below.max(seq);
        let waiting = self.slots.range(..seq).filter(|(_, slot)| !slot.in_flight);
        let let_go: Vec<u64> = waiting.map(|(seq, _)| *seq).collect();
        for seq in &let_go {
            self.remove(*seq);
        }
        self.read_to = self.read_to.max(seq.saturating_sub(1));
        let_go.len()
    }

    /// Whether it was let go: what was on its way is, when it comes back undone.
    pub const fn has_let_go(&self, seq: u64) -> bool {
        seq < self.let_go_below
    }

    fn mark(&mut self, seq: u64, in_flight: bool) {
        let Some(slot) = self.slots.get_mut(&seq) else { return };
        if slot.in_flight == in_flight {
            return;
        }
        slot.in_flight = in_flight;
        let Some(key) = slot.key else { return };
        if in_flight {
            *self.busy.entry(key).or_default() += 1;
        } else if let Some(count) = self.busy.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&key);
            }
        }
    }
}
