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
pub(super) struct Window {
    /// The entries are boxed, because they are large, and a map moves its entries when it changes.
    entries: BTreeMap<u64, Box<WindowEntry>>,
    bytes: usize,
    /// Messages with events in flight, and the number of these events.
    busy: HashMap<OrderKey, u32>,
    /// The lane has claimed everything up to this seq.
    read_to: u64,
    /// Events below this seq are skipped: see [`Self::is_skipped`].
    skip_below: u64,
    /// Skipped events whose delivery failed after the skip: see [`Self::take_failed_skipped`].
    failed_skipped: Vec<u64>,
    /// Messages whose events in the window wait, because an earlier event of the message is set aside.
    held: HashSet<OrderKey>,
    /// Number of entries in doubt: it is not yet known whether the event or the destination caused the failure.
    doubted: usize,
    /// Number of entries whose message is in `held`.
    held_entries: usize,
    /// Number of events added so far.
    pushed: usize,
    /// The seq of the event that stopped the cursor when [`Self::pin`] was last called.
    pinned: Option<u64>,
}

/// The entry of one event.
#[derive(Default)]
pub(super) struct WindowEntry {
    /// The event; `None` if its body was dropped from memory and must be read again.
    pub(super) event: Option<Arc<Event>>,
    /// Deliveries that failed so far.
    pub(super) attempts: u32,
    /// The event is not tried before this time, except by a probe.
    pub(super) not_before: Timestamp,
    /// How many events the lane had delivered when this event last failed.
    pub(super) failed_after: Option<u64>,
    /// How many events the lane had delivered when the current doubt began.
    pub(super) doubted_after: Option<u64>,
    /// The failure that is in doubt: the results of other messages will show whether this event or the destination
    /// caused it.
    pub(super) doubt: Option<Trouble>,
    /// An attempt ended without an answer, so the destination may have the event.
    pub(super) unanswered: bool,
    /// How many answers said that the destination already has the event, or is processing it.
    pub(super) repetitions: u32,
    came_at: Timestamp,
    /// Events with the same order key belong to one message and stay in order. `None` if the event has no `messageId`.
    pub(super) key: Option<OrderKey>,
    bytes: usize,
    /// Number of events that were added before this one.
    number: usize,
    in_flight: bool,
}

/// Events of a window that are delivered together.
#[derive(Default)]
pub(super) struct DueBatch {
    /// The events, in order.
    pub(super) seqs: Vec<u64>,
    /// The number of failed deliveries of the event that has failed most often.
    pub(super) attempts: u32,
}

impl DueBatch {
    fn push(&mut self, seq: u64, attempts: u32) {
        self.seqs.push(seq);
        self.attempts = self.attempts.max(attempts);
    }
}

impl Window {
    /// An empty window that starts after a cursor.
    pub(super) fn new(cursor: u64) -> Self {
        Self { read_to: cursor, ..Self::default() }
    }

    /// Number of events in the window.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Total size of the event bodies in memory, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The seq after which the next claim starts.
    pub(super) const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// The lane is done with every event up to this seq.
    pub(super) fn done_to(&self) -> u64 {
        self.entries.first_key_value().map_or(self.read_to, |(seq, _)| seq - 1)
    }

    /// When the event with the lowest seq was received.
    pub(super) fn oldest_at(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|(_, entry)| entry.came_at)
    }

    /// Records that the lane has read every event up to `through`.
    pub(super) fn advance(&mut self, through: u64) {
        self.read_to = self.read_to.max(through);
    }

    /// Adds an event to deliver. `unanswered`: an earlier process may have delivered it.
    pub(super) fn push(&mut self, event: Arc<Event>, unanswered: bool) {
        let key = event.order_key();
        let entry = WindowEntry {
            event: Some(Arc::clone(&event)),
            unanswered,
            came_at: event.came_at,
            key,
            bytes: event.element.raw().len(),
            number: self.pushed,
            ..WindowEntry::default()
        };
        self.bytes += entry.bytes;
        self.pushed += 1;
        self.held_entries += usize::from(self.is_held(key));
        self.entries.insert(event.seq, Box::new(entry));
    }

    /// Makes the events of this message wait until [`Self::unhold`] or [`Self::take_held`].
    pub(super) fn hold(&mut self, key: OrderKey) {
        if self.held.insert(key) {
            self.held_entries += self.entries.values().filter(|entry| entry.key == Some(key)).count();
        }
    }

    /// Ends [`Self::hold`] at once. The caller ensures that no event of this message is set aside any more.
    pub(super) fn unhold(&mut self, key: OrderKey) {
        if self.held.remove(&key) {
            self.held_entries -= self.entries.values().filter(|entry| entry.key == Some(key)).count();
        }
    }

    /// Returns whether the events of this message wait: see [`Self::hold`].
    pub(super) fn is_held(&self, key: Option<OrderKey>) -> bool {
        !self.held.is_empty() && key.is_some_and(|key| self.held.contains(&key))
    }

    /// Pins the first event if it has failed or is held, so that [`Self::claimed_past_pinned`] can count the events
    /// from it on. The lane calls this while there is no room to set that event aside. The event stays pinned even if
    /// there is room again.
    pub(super) fn pin(&mut self) {
        let Some((seq, entry)) = self.entries.first_key_value() else { return };
        let is_pinned = entry.attempts > 0 || self.is_held(entry.key);
        self.pinned = is_pinned.then_some(*seq);
    }

    /// Number of events added from the pinned event on, itself included; `None` if the first event is not pinned.
    pub(super) fn claimed_past_pinned(&self) -> Option<usize> {
        let (seq, entry) = self.entries.first_key_value()?;
        (self.pinned == Some(*seq)).then(|| self.pushed - entry.number)
    }

    /// Number of events in the window, without those in doubt and those of held messages.
    pub(super) fn ready(&self) -> usize {
        self.entries.len().saturating_sub(self.doubted + self.held_entries)
    }

    /// Number of events with a doubt.
    pub(super) const fn doubted(&self) -> usize {
        self.doubted
    }

    /// The events in doubt, by seq. Leaves out an event if the lane has delivered another one since its doubt began.
    /// `successes`: how many events the lane has delivered.
    pub(super) fn doubts(&self, successes: u64) -> impl Iterator<Item = (u64, &WindowEntry, &Trouble)> {
        let entries = self.entries.iter().filter(move |_| self.doubted > 0);
        entries
            .filter(move |(_, entry)| entry.doubted_after == Some(successes))
            .filter_map(|(seq, entry)| Some((*seq, &**entry, entry.doubt.as_ref()?)))
    }

    /// Events with a doubt that are not in flight, by seq.
    pub(super) fn waiting_doubts(&self) -> Vec<(u64, Trouble)> {
        let entries = self.entries.iter().filter(|(_, entry)| self.doubted > 0 && !entry.in_flight);
        entries.filter_map(|(seq, entry)| Some((*seq, entry.doubt.clone()?))).collect()
    }

    /// Makes every event due now and ends every doubt. The numbers of attempts stay.
    pub(super) fn forget_waits(&mut self) {
        for entry in self.entries.values_mut() {
            entry.not_before = Timestamp::default();
            entry.doubt = None;
            entry.doubted_after = None;
        }
        self.doubted = 0;
    }

    /// Makes every event in doubt due at `by`, unless it is due earlier.
    pub(super) fn hurry(&mut self, by: Timestamp) {
        for entry in self.entries.values_mut().filter(|entry| entry.doubt.is_some()) {
            entry.not_before = entry.not_before.min(by);
        }
    }

    /// Drops the bodies of failed events from memory. The journal still has them.
    pub(super) fn drop_failed_bodies(&mut self) {
        let failed = self.entries.values_mut().filter(|entry| entry.attempts > 0 && !entry.in_flight);
        for entry in failed {
            if entry.event.take().is_some() {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// Puts the body of an event back into memory.
    pub(super) fn load(&mut self, event: &Arc<Event>) {
        if let Some(entry) = self.entries.get_mut(&event.seq)
            && entry.event.replace(Arc::clone(event)).is_none()
        {
            self.bytes += entry.bytes;
        }
    }

    /// Returns the next waiting events in order, as a batch, and marks them as in flight. An event is left out if its
    /// message is held, or if an earlier event of its message is in flight or left out. An event that is not due is
    /// left out too, unless `probe` is true. An event with a doubt is delivered alone.
    pub(super) fn next_batch(&mut self, max: usize, now: Timestamp, probe: bool) -> DueBatch {
        let Self { entries, busy, held, .. } = self;
        let mut batch = DueBatch::default();
        let mut keys = Vec::new();
        let mut bytes = 0;
        let mut doubted = None;
        let mut passed: HashSet<OrderKey> = HashSet::new();
        for (seq, entry) in entries.iter_mut() {
            if batch.seqs.len() == max {
                break;
            }
            if entry.in_flight {
                continue;
            }
            let blocked = entry
                .key
                .is_some_and(|key| busy.contains_key(&key) || passed.contains(&key) || held.contains(&key));
            if blocked || (!probe && entry.not_before > now) {
                passed.extend(entry.key);
                continue;
            }
            if entry.doubt.is_some() && (probe || !batch.seqs.is_empty()) {
                doubted = doubted.or(Some((*seq, entry.attempts)));
                passed.extend(entry.key);
                continue;
            }
            bytes += entry.bytes;
            if bytes > BATCH_BYTES && !batch.seqs.is_empty() {
                break;
            }
            entry.in_flight = true;
            keys.extend(entry.key);
            batch.push(*seq, entry.attempts);
            if entry.doubt.is_some() {
                break;
            }
        }
        // The messages become busy only now, because events of one message may be in the same batch.
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

    /// The first waiting event of each message, by seq. Leaves out messages that are held or have an event in flight.
    fn heads(&self) -> impl Iterator<Item = (u64, &WindowEntry)> {
        let mut seen: HashSet<OrderKey> = HashSet::new();
        let mut may_go = move |key: OrderKey| {
            !self.busy.contains_key(&key) && seen.insert(key) && !self.is_held(Some(key))
        };
        let waiting = self.entries.iter().filter(|(_, entry)| !entry.in_flight);
        let heads = waiting.filter(move |(_, entry)| entry.key.is_none_or(&mut may_go));
        heads.map(|(seq, entry)| (*seq, &**entry))
    }

    /// Number of messages with an event that may be delivered. A probe can choose from these messages.
    pub(super) fn width(&self) -> usize {
        self.heads().count()
    }

    /// Like [`Self::width`], but counts only messages whose first waiting event was not tried yet.
    pub(super) fn untried(&self) -> usize {
        self.heads().filter(|(_, entry)| entry.attempts == 0).count()
    }

    /// Returns whether an event that was not tried yet may be delivered, or is in flight.
    pub(super) fn has_untried(&self) -> bool {
        self.untried() > 0 || self.entries.values().any(|entry| entry.in_flight && entry.attempts == 0)
    }

    /// The first waiting event of each message, least tried first. If at least `again` of these events are untried,
    /// returns up to `untried` of the untried ones. Otherwise returns up to `again` events, tried ones included.
    pub(super) fn least_tried(&self, untried: usize, again: usize) -> Vec<u64> {
        let mut heads: Vec<(u32, u64)> = self.heads().map(|(seq, entry)| (entry.attempts, seq)).collect();
        heads.sort_unstable();
        let new = heads.iter().take_while(|(attempts, _)| *attempts == 0).count();
        heads.truncate(if new >= again { new.min(untried) } else { again });
        heads.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Marks a waiting event as in flight, if it may be delivered. Returns whether it may.
    pub(super) fn take(&mut self, seq: u64) -> bool {
        let can_go = self.entries.get(&seq).is_some_and(|entry| {
            let busy = entry.key.is_some_and(|key| self.busy.contains_key(&key));
            !entry.in_flight && !busy && !self.is_held(entry.key)
        });
        if can_go {
            self.mark(seq, true);
        }
        can_go
    }

    /// Returns the first waiting event of up to `max` messages and marks them as in flight, for a one-by-one probe.
    /// Starts with message number `turn` and wraps around.
    pub(super) fn next_heads(&mut self, max: usize, turn: usize) -> Vec<u64> {
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

    /// The earliest time after `now` at which an event becomes due.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.entries.values().filter(|entry| !entry.in_flight && entry.not_before > now);
        waiting.map(|entry| entry.not_before).min()
    }

    /// Returns the entry of an event.
    pub(super) fn get(&self, seq: u64) -> Option<&WindowEntry> {
        self.entries.get(&seq).map(|entry| &**entry)
    }

    /// Returns the entry of an event, to change it.
    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut WindowEntry> {
        self.entries.get_mut(&seq).map(|entry| &mut **entry)
    }

    /// Removes an event that is done. Returns its entry, if it was in the window.
    pub(super) fn remove(&mut self, seq: u64) -> Option<WindowEntry> {
        let entry = self.entries.remove(&seq)?;
        if entry.in_flight {
            self.has_ended(entry.key);
        }
        if entry.event.is_some() {
            self.bytes -= entry.bytes;
        }
        self.doubted -= usize::from(entry.doubt.is_some());
        self.held_entries -= usize::from(self.is_held(entry.key));
        Some(*entry)
    }

    /// Ends the flight of an event without counting an attempt, and sets when it is due. Removes the event if it is
    /// skipped.
    pub(super) fn put_back(&mut self, seq: u64, not_before: Timestamp) {
        self.mark(seq, false);
        if self.is_skipped(seq) {
            self.remove_skipped(seq);
        }
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.not_before = not_before;
        }
    }

    /// Puts back a failed event, and counts the failure. `successes`: how many events the lane has delivered. `doubt`:
    /// the failure, if the event may be its cause.
    pub(super) fn failed(&mut self, seq: u64, successes: u64, not_before: Timestamp, doubt: Option<Trouble>) {
        self.put_back(seq, not_before);
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.attempts += 1;
            entry.failed_after = Some(successes);
            entry.doubted_after = doubt.as_ref().and(entry.doubted_after.or(Some(successes)));
            self.doubted += usize::from(doubt.is_some());
            self.doubted -= usize::from(entry.doubt.is_some());
            entry.doubt = doubt;
        }
    }

    /// Removes the waiting events of a message; returns their seqs in order.
    pub(super) fn take_message(&mut self, key: OrderKey) -> Vec<u64> {
        let of_message = |entry: &WindowEntry| !entry.in_flight && entry.key == Some(key);
        let seqs: Vec<u64> =
            self.entries.iter().filter_map(|(seq, entry)| of_message(entry).then_some(*seq)).collect();
        for seq in &seqs {
            self.remove(*seq);
        }
        seqs
    }

    /// Removes up to `max` waiting events of held messages; returns them in order of seq. Leaves out a message with an
    /// event in flight. Then ends [`Self::hold`] for messages that have no more events in the window.
    pub(super) fn take_held(&mut self, max: usize) -> Vec<(u64, OrderKey)> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let keyed = self.entries.iter().filter_map(|(seq, entry)| Some((*seq, entry.key?)));
        let held = keyed.filter(|(_, key)| self.held.contains(key) && !self.busy.contains_key(key));
        let taken: Vec<(u64, OrderKey)> = held.take(max).collect();
        for (seq, _) in &taken {
            self.remove(*seq);
        }
        let left: HashSet<OrderKey> = self.entries.values().filter_map(|entry| entry.key).collect();
        self.held.retain(|key| left.contains(key));
        taken
    }

    /// The events below `seq` that are not in flight.
    pub(super) fn waiting_below(&self, seq: u64) -> Vec<u64> {
        let waiting = self.entries.range(..seq).filter(|(_, entry)| !entry.in_flight);
        waiting.map(|(seq, _)| *seq).collect()
    }

    /// Number of events below `seq` that are in flight.
    pub(super) fn in_flight_below(&self, seq: u64) -> usize {
        self.entries.range(..seq).filter(|(_, entry)| entry.in_flight).count()
    }

    /// Skips every waiting event below `seq`. Returns their seqs.
    pub(super) fn skip_to(&mut self, seq: u64) -> Vec<u64> {
        self.skip_below = self.skip_below.max(seq);
        let skipped = self.waiting_below(seq);
        for seq in &skipped {
            self.remove(*seq);
        }
        self.read_to = self.read_to.max(seq.saturating_sub(1));
        skipped
    }

    /// Removes a skipped event whose delivery has failed.
    pub(super) fn remove_skipped(&mut self, seq: u64) {
        if self.remove(seq).is_some() {
            self.failed_skipped.push(seq);
        }
    }

    /// Takes the seqs of the events that were in flight when they were skipped, and whose delivery then failed.
    pub(super) fn take_failed_skipped(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.failed_skipped)
    }

    /// Returns whether an operator skipped the event. If the event is in flight, the skip takes effect only if its
    /// delivery fails.
    pub(super) const fn is_skipped(&self, seq: u64) -> bool {
        seq < self.skip_below
    }

    fn mark(&mut self, seq: u64, in_flight: bool) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        if entry.in_flight == in_flight {
            return;
        }
        entry.in_flight = in_flight;
        let key = entry.key;
        if !in_flight {
            self.has_ended(key);
        } else if let Some(key) = key {
            *self.busy.entry(key).or_default() += 1;
        }
    }

    /// Records that an event of this message is no longer in flight.
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
