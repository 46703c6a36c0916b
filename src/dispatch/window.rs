//! The claimed, unsettled events of a lane: which one may be delivered next, and up to where the lane is done.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::attempt::Trouble;
use crate::{
    clock::Timestamp,
    event::{Event, OrderKey},
};

/// Maximum size of a batch in bytes. A single larger event still makes a batch.
const BATCH_BYTES: usize = 16 << 20;

/// The claimed, unsettled events of a lane, in order of seq.
#[derive(Default)]
pub struct Window {
    /// In boxes, because a map moves its entries when it changes, and they are large.
    slots: BTreeMap<u64, Box<Slot>>,
    bytes: usize,
    /// Messages with events in flight, and the number of these events.
    busy: HashMap<OrderKey, u32>,
    /// The lane has claimed everything up to this seq.
    read_to: u64,
    /// Events below this seq are skipped: see [`Self::is_skipped`].
    skip_below: u64,
    /// Messages that have an event set aside, and for whose later events there was no room.
    held: HashSet<OrderKey>,
    /// Entries with a doubt.
    doubted: usize,
    /// Entries of held messages.
    held_slots: usize,
    /// Number of events added so far.
    pushed: usize,
    /// The event that stopped the cursor when [`Self::pin`] was last called.
    pinned: Option<u64>,
}

/// The entry of one event.
pub struct Slot {
    /// The event; `None` if its body was dropped from memory and must be read again.
    pub event: Option<Arc<Event>>,
    /// Deliveries that failed so far.
    pub attempts: u32,
    /// The event is not tried before this time, except by a probe.
    pub not_before: Timestamp,
    /// How many deliveries of the lane had succeeded when this event last failed.
    pub failed_after: Option<u64>,
    /// How many deliveries of the lane had succeeded when the current doubt began.
    pub doubted_after: Option<u64>,
    /// The failure about this event; the results of other messages decide what it means.
    pub doubt: Option<Trouble>,
    /// An attempt ended without an answer, so the destination may have the event.
    pub unanswered: bool,
    /// Answers that said that the destination already has the event, or is processing it.
    pub repetitions: u32,
    came_at: Timestamp,
    /// The order key: events of one message stay in order; `None` if the event has no order.
    pub key: Option<OrderKey>,
    bytes: usize,
    /// Number of events that were added before this one.
    number: usize,
    in_flight: bool,
}

/// Events of a window that are delivered together.
#[derive(Default)]
pub struct Batch {
    /// The events, in order.
    pub seqs: Vec<u64>,
    /// The highest number of failed deliveries of one of them.
    pub attempts: u32,
}

impl Batch {
    fn push(&mut self, seq: u64, attempts: u32) {
        self.seqs.push(seq);
        self.attempts = self.attempts.max(attempts);
    }
}

impl Window {
    /// An empty window that starts after a cursor.
    pub fn new(cursor: u64) -> Self {
        Self { read_to: cursor, ..Self::default() }
    }

    /// Number of events in the window.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Total size of the event bodies in memory, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The seq after which the next claim starts.
    pub const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// The lane is done with every event up to this seq.
    pub fn done_to(&self) -> u64 {
        self.slots.first_key_value().map_or(self.read_to, |(seq, _)| seq - 1)
    }

    /// When the event with the lowest seq was received.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        self.slots.first_key_value().map(|(_, slot)| slot.came_at)
    }

    /// Records that the lane has read every event up to `through`.
    pub fn advance(&mut self, through: u64) {
        self.read_to = self.read_to.max(through);
    }

    /// Adds an event that the handler wants. `unanswered`: an earlier process may have delivered it.
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
            number: self.pushed,
            in_flight: false,
            event: Some(Arc::clone(&event)),
        };
        self.bytes += slot.bytes;
        self.pushed += 1;
        self.held_slots += usize::from(self.is_held(key));
        self.slots.insert(event.seq, Box::new(slot));
    }

    /// Makes the events of this message wait until [`Self::unhold`] or [`Self::take_held`].
    pub fn hold(&mut self, key: OrderKey) {
        if self.held.insert(key) {
            self.held_slots += self.slots.values().filter(|slot| slot.key == Some(key)).count();
        }
    }

    /// Ends [`Self::hold`]: no event of this message is set aside any more.
    pub fn unhold(&mut self, key: OrderKey) {
        if self.held.remove(&key) {
            self.held_slots -= self.slots.values().filter(|slot| slot.key == Some(key)).count();
        }
    }

    /// Returns whether the events of this message wait: see [`Self::hold`].
    pub fn is_held(&self, key: Option<OrderKey>) -> bool {
        !self.held.is_empty() && key.is_some_and(|key| self.held.contains(&key))
    }

    /// Pins the first event if it has failed or is held. Called while there is no room to set it aside, so that the
    /// cursor stays before it. It stays pinned until it is removed, also if there is room in between.
    pub fn pin(&mut self) {
        let Some((seq, slot)) = self.slots.first_key_value() else { return };
        let is_pinned = slot.attempts > 0 || self.is_held(slot.key);
        self.pinned = is_pinned.then_some(*seq);
    }

    /// Number of events claimed from the pinned event on, itself included; `None` if the first event is not pinned.
    pub fn claimed_past_pinned(&self) -> Option<usize> {
        let (seq, slot) = self.slots.first_key_value()?;
        (self.pinned == Some(*seq)).then(|| self.pushed - slot.number)
    }

    /// Number of events that wait neither for a decision about a doubt nor behind a set-aside event.
    pub fn ready(&self) -> usize {
        self.slots.len().saturating_sub(self.doubted + self.held_slots)
    }

    /// Number of events with a doubt.
    pub const fn doubted(&self) -> usize {
        self.doubted
    }

    /// Events with a doubt that no success has followed, by seq. `successes`: deliveries of the lane that succeeded.
    pub fn doubts(&self, successes: u64) -> impl Iterator<Item = (u64, &Slot, &Trouble)> {
        let slots = self.slots.iter().filter(move |_| self.doubted > 0);
        slots
            .filter(move |(_, slot)| slot.doubted_after == Some(successes))
            .filter_map(|(seq, slot)| Some((*seq, &**slot, slot.doubt.as_ref()?)))
    }

    /// Events with a doubt that are not in flight, by seq.
    pub fn waiting_doubts(&self) -> Vec<(u64, Trouble)> {
        let slots = self.slots.iter().filter(|(_, slot)| self.doubted > 0 && !slot.in_flight);
        slots.filter_map(|(seq, slot)| Some((*seq, slot.doubt.clone()?))).collect()
    }

    /// Makes every event due now, as if it had not failed.
    pub fn forget_waits(&mut self) {
        for slot in self.slots.values_mut() {
            slot.not_before = Timestamp::default();
            slot.doubt = None;
            slot.doubted_after = None;
        }
        self.doubted = 0;
    }

    /// Makes every event with a doubt due at `by` or earlier.
    pub fn hurry(&mut self, by: Timestamp) {
        for slot in self.slots.values_mut().filter(|slot| slot.doubt.is_some()) {
            slot.not_before = slot.not_before.min(by);
        }
    }

    /// Drops the bodies of failed events from memory. The journal still has them.
    pub fn drop_failed_bodies(&mut self) {
        let failed = self.slots.values_mut().filter(|slot| slot.attempts > 0 && !slot.in_flight);
        for slot in failed {
            if slot.event.take().is_some() {
                self.bytes -= slot.bytes;
            }
        }
    }

    /// Puts the body of an event back into memory.
    pub fn load(&mut self, event: &Arc<Event>) {
        if let Some(slot) = self.slots.get_mut(&event.seq)
            && slot.event.replace(Arc::clone(event)).is_none()
        {
            self.bytes += slot.bytes;
        }
    }

    /// Returns the next batch and marks it as in flight: waiting events in order. It leaves out an event whose
    /// message has an earlier event in flight or left out. A probe also takes events that are not due. An event with
    /// a doubt is delivered alone.
    pub fn next_batch(&mut self, max: usize, now: Timestamp, probe: bool) -> Batch {
        let Self { slots, busy, held, .. } = self;
        let mut batch = Batch::default();
        let mut keys = Vec::new();
        let mut bytes = 0;
        let mut doubted = None;
        let mut passed: HashSet<OrderKey> = HashSet::new();
        for (seq, slot) in slots.iter_mut() {
            if batch.seqs.len() == max {
                break;
            }
            if slot.in_flight {
                continue;
            }
            let blocked = slot
                .key
                .is_some_and(|key| busy.contains_key(&key) || passed.contains(&key) || held.contains(&key));
            if blocked || (!probe && slot.not_before > now) {
                passed.extend(slot.key);
                continue;
            }
            if slot.doubt.is_some() && (probe || !batch.seqs.is_empty()) {
                doubted = doubted.or(Some((*seq, slot.attempts)));
                passed.extend(slot.key);
                continue;
            }
            bytes += slot.bytes;
            if bytes > BATCH_BYTES && !batch.seqs.is_empty() {
                break;
            }
            slot.in_flight = true;
            keys.extend(slot.key);
            batch.push(*seq, slot.attempts);
            if slot.doubt.is_some() {
                break;
            }
        }
        // Only now: events of one message may be in the same batch.
        for key in keys {
            *busy.entry(key).or_default() += 1;
        }
        if batch.seqs.is_empty()
            && let Some((seq, attempts)) = doubted
        {
            self.mark(seq, true);
            batch.push(seq, attempts);
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
            .map(|(seq, slot)| (*seq, &**slot))
    }

    /// How many messages have an event that may be delivered: a probe can choose from these.
    pub fn width(&self) -> usize {
        self.heads().count()
    }

    /// Like [`Self::width`], for events that were not tried yet.
    pub fn untried(&self) -> usize {
        self.heads().filter(|(_, slot)| slot.attempts == 0).count()
    }

    /// Returns whether an event that was not tried yet may be delivered, or is in flight.
    pub fn has_untried(&self) -> bool {
        self.untried() > 0 || self.slots.values().any(|slot| slot.in_flight && slot.attempts == 0)
    }

    /// The first waiting event of each message, least tried first. Returns up to `untried` new events; if there are
    /// fewer new ones than `again`, it returns up to `again` events, tried ones included.
    pub fn least_tried(&self, untried: usize, again: usize) -> Vec<u64> {
        let mut heads: Vec<(u32, u64)> = self.heads().map(|(seq, slot)| (slot.attempts, seq)).collect();
        heads.sort_unstable();
        let new = heads.iter().take_while(|(attempts, _)| *attempts == 0).count();
        heads.truncate(if new >= again { new.min(untried) } else { again });
        heads.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Marks a waiting event as in flight, if it may be delivered. Returns whether it may.
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

    /// Returns the first waiting event of up to `max` messages and marks them as in flight, for a one-by-one probe.
    /// Starts with message number `turn` and wraps around.
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

    /// When the next event becomes due that is not due now.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.slots.values().filter(|slot| !slot.in_flight && slot.not_before > now);
        waiting.map(|slot| slot.not_before).min()
    }

    /// Returns the entry of an event.
    pub fn get(&self, seq: u64) -> Option<&Slot> {
        self.slots.get(&seq).map(|slot| &**slot)
    }

    /// Returns the entry of an event, to change it.
    pub fn get_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        self.slots.get_mut(&seq).map(|slot| &mut **slot)
    }

    /// Removes an event that is done. Returns its entry, if it was in the window.
    pub fn remove(&mut self, seq: u64) -> Option<Slot> {
        let slot = self.slots.remove(&seq)?;
        if slot.in_flight {
            self.has_ended(slot.key);
        }
        if slot.event.is_some() {
            self.bytes -= slot.bytes;
        }
        self.doubted -= usize::from(slot.doubt.is_some());
        self.held_slots -= usize::from(self.is_held(slot.key));
        Some(*slot)
    }

    /// Puts back an event that was not tried, or removes it if it is skipped.
    pub fn put_back(&mut self, seq: u64, not_before: Timestamp) {
        self.mark(seq, false);
        if self.is_skipped(seq) {
            self.remove(seq);
        }
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.not_before = not_before;
        }
    }

    /// Puts back a failed event, and counts the failure. `successes`: how many deliveries had succeeded. `doubt`: the
    /// failure, if it is about the event.
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

    /// Removes the waiting events of a message; returns their seqs in order.
    pub fn take_message(&mut self, key: OrderKey) -> Vec<u64> {
        let of_message = |slot: &Slot| !slot.in_flight && slot.key == Some(key);
        let seqs: Vec<u64> =
            self.slots.iter().filter_map(|(seq, slot)| of_message(slot).then_some(*seq)).collect();
        for seq in &seqs {
            self.remove(*seq);
        }
        seqs
    }

    /// Removes up to `max` waiting events of held messages; returns them in order of seq. It leaves out a message with
    /// an event in flight. A message without events in the window is held no longer.
    pub fn take_held(&mut self, max: usize) -> Vec<(u64, OrderKey)> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let keyed = self.slots.iter().filter_map(|(seq, slot)| Some((*seq, slot.key?)));
        let held = keyed.filter(|(_, key)| self.held.contains(key) && !self.busy.contains_key(key));
        let taken: Vec<(u64, OrderKey)> = held.take(max).collect();
        for (seq, _) in &taken {
            self.remove(*seq);
        }
        let left: HashSet<OrderKey> = self.slots.values().filter_map(|slot| slot.key).collect();
        self.held.retain(|key| left.contains(key));
        taken
    }

    /// Skips every waiting event below `seq`. Returns how many there were.
    pub fn skip_to(&mut self, seq: u64) -> usize {
        self.skip_below = self.skip_below.max(seq);
        let waiting = self.slots.range(..seq).filter(|(_, slot)| !slot.in_flight);
        let skipped: Vec<u64> = waiting.map(|(seq, _)| *seq).collect();
        for seq in &skipped {
            self.remove(*seq);
        }
        self.read_to = self.read_to.max(seq.saturating_sub(1));
        skipped.len()
    }

    /// Returns whether the event is skipped. An event in flight is skipped when its delivery fails.
    pub const fn is_skipped(&self, seq: u64) -> bool {
        seq < self.skip_below
    }

    fn mark(&mut self, seq: u64, in_flight: bool) {
        let Some(slot) = self.slots.get_mut(&seq) else { return };
        if slot.in_flight == in_flight {
            return;
        }
        slot.in_flight = in_flight;
        let key = slot.key;
        if !in_flight {
            self.has_ended(key);
        } else if let Some(key) = key {
            *self.busy.entry(key).or_default() += 1;
        }
    }

    /// Records that an event of this message is in flight no longer.
    fn has_ended(&mut self, key: Option<OrderKey>) {
        let Some(key) = key else { return };
        if let Some(count) = self.busy.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&key);
            }
        }
    }
}
