//! The events of a lane that are claimed and not settled: which may go next, and how far everything is done.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    clock::Timestamp,
    event::{Event, OrderKey},
};

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
}

/// One event.
pub struct Slot {
    /// The event.
    pub event: Arc<Event>,
    /// Deliveries tried.
    pub attempts: u32,
    /// Not tried before this time, unless the lane probes.
    pub not_before: Timestamp,
    /// When it failed last.
    pub failed_at: Option<Timestamp>,
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
        self.slots.first_key_value().map(|(_, slot)| slot.event.came_at)
    }

    /// Everything up to `through` was looked at.
    pub fn advance(&mut self, through: u64) {
        self.read_to = self.read_to.max(through);
    }

    /// Takes an event that the handler wants.
    pub fn push(&mut self, event: Arc<Event>) {
        let slot =
            Slot { attempts: 0, not_before: Timestamp::default(), failed_at: None, in_flight: false, event };
        self.bytes += slot.event.element.raw().len();
        self.slots.insert(slot.event.seq, slot);
    }

    /// The next batch: waiting events in order, none of which follows an event of its message that is on its way or is
    /// passed over. They are marked as on their way. A probe asks all the same for what should still wait.
    pub fn next_batch(&mut self, max: usize, now: Timestamp, probe: bool) -> Vec<u64> {
        let mut batch = Vec::new();
        let mut passed: HashSet<OrderKey> = HashSet::new();
        for (seq, slot) in &self.slots {
            if batch.len() == max {
                break;
            }
            if slot.in_flight {
                continue;
            }
            let key = slot.event.order_key();
            let blocked = key.is_some_and(|key| self.busy.contains_key(&key) || passed.contains(&key));
            if blocked || (!probe && slot.not_before > now) {
                passed.extend(key);
                continue;
            }
            batch.push(*seq);
        }
        for seq in &batch {
            self.mark(*seq, true);
        }
        batch
    }

    /// The first waiting event of each message.
    fn heads(&self) -> impl Iterator<Item = u64> {
        let mut seen: HashSet<OrderKey> = HashSet::new();
        self.slots
            .iter()
            .filter(|(_, slot)| !slot.in_flight)
            .filter(move |(_, slot)| {
                slot.event.order_key().is_none_or(|key| !self.busy.contains_key(&key) && seen.insert(key))
            })
            .map(|(seq, _)| *seq)
    }

    /// How many messages have an event that waits and could go: what a probe has to choose from.
    pub fn width(&self) -> usize {
        self.heads().count()
    }

    /// At most `max` of the first waiting events of each message, for a probe that goes one by one: from the `turn`th on,
    /// and round to those before it. They are marked as on their way.
    pub fn next_heads(&mut self, max: usize, turn: usize) -> Vec<u64> {
        let mut heads: Vec<u64> = self.heads().collect();
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

    /// It is done with, one way or another.
    pub fn remove(&mut self, seq: u64) -> Option<Arc<Event>> {
        self.mark(seq, false);
        let event = self.slots.remove(&seq)?.event;
        self.bytes -= event.element.raw().len();
        Some(event)
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

    /// It failed: it has been tried once more, and waits again.
    pub fn failed(&mut self, seq: u64, now: Timestamp, not_before: Timestamp) {
        self.put_back(seq, not_before);
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.attempts += 1;
            slot.failed_at = Some(now);
        }
    }

    /// Takes out the waiting events of a message, in order.
    pub fn take_message(&mut self, key: OrderKey) -> Vec<Arc<Event>> {
        let of_message = |slot: &mut Slot| !slot.in_flight && slot.event.order_key() == Some(key);
        let seqs: Vec<u64> =
            self.slots.iter_mut().filter_map(|(seq, slot)| of_message(slot).then_some(*seq)).collect();
        seqs.into_iter().filter_map(|seq| self.remove(seq)).collect()
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
        let Some(key) = slot.event.order_key() else { return };
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
