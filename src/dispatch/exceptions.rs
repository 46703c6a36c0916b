//! A lane's exceptions in memory: set-aside events, and dead letters that somebody retries.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    clock::Timestamp,
    event::OrderKey,
    handler::Delivery,
    journal::{Aside, DeadLetter, History},
};

/// The set-aside events of a lane, by seq.
#[derive(Default)]
pub(super) struct AsideRows {
    rows: BTreeMap<u64, Row>,
    by_message: HashMap<OrderKey, BTreeSet<u64>>,
}

struct Row {
    aside: Aside,
    in_flight: bool,
    trace: AsideTrace,
}

/// The history of a set-aside event in this process.
#[derive(Clone, Copy, Default)]
pub(super) struct AsideTrace {
    /// When the event last failed.
    pub(super) failed_at: Timestamp,
    /// How many events the lane had delivered when this event last failed.
    pub(super) failed_after: u64,
    /// An attempt ended without an answer, so the destination may have the event.
    pub(super) unanswered: bool,
    /// How many answers said that the destination already has the event, or is processing it.
    pub(super) repetitions: u32,
}

impl AsideRows {
    /// Restores the set-aside events from the journal.
    pub(super) fn restore(rows: Vec<Aside>) -> Self {
        let mut restored = Self::default();
        for aside in rows {
            // The previous process may have ended during a delivery of the event, so that the answer was lost.
            restored.insert(aside, AsideTrace { unanswered: true, ..AsideTrace::default() });
        }
        restored
    }

    /// Number of set-aside events in the lane.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// When the event with the lowest seq was set aside.
    pub(super) fn oldest_at(&self) -> Option<Timestamp> {
        self.rows.first_key_value().map(|(_, row)| row.aside.since)
    }

    /// Returns whether an event of this message is set aside. If so, later ones queue behind it.
    pub(super) fn holds(&self, key: OrderKey) -> bool {
        self.by_message.contains_key(&key)
    }

    /// Returns whether an event of this message before `seq` is set aside.
    pub(super) fn holds_before(&self, key: OrderKey, seq: u64) -> bool {
        self.by_message.get(&key).and_then(|seqs| seqs.first()).is_some_and(|first| *first < seq)
    }

    /// Sets an event aside, or replaces its row.
    pub(super) fn insert(&mut self, aside: Aside, trace: AsideTrace) {
        if let Some(key) = aside.order_key {
            self.by_message.entry(key).or_default().insert(aside.seq);
        }
        self.rows.insert(aside.seq, Row { aside, in_flight: false, trace });
    }

    /// A head is a set-aside event that waits behind no other event. Returns the head that has been due longest, and
    /// marks it as in flight. Only heads up to the seq `upto` count. A head whose wait is longer than `longest_ms` is
    /// due now, because such a wait was stored while the clock was wrong.
    pub(super) fn take_due(&mut self, now: Timestamp, longest_ms: i64, upto: u64) -> Option<Aside> {
        let due_since = |row: &Row| match row.aside.next_try {
            time if time > now.plus_ms(longest_ms) => Timestamp::default(),
            time => time,
        };
        let rows = self.rows.range_mut(..=upto).map(|(_, row)| row);
        let heads = rows.filter(|row| !row.in_flight && !row.aside.behind);
        let row = heads.filter(|row| due_since(row) <= now).min_by_key(|row| due_since(row))?;
        row.in_flight = true;
        Some(row.aside.clone())
    }

    /// Puts back an event that was not tried, to be tried at `not_before`.
    pub(super) fn put_back(&mut self, seq: u64, not_before: Timestamp) {
        if let Some(row) = self.rows.get_mut(&seq) {
            row.in_flight = false;
            row.aside.next_try = not_before;
        }
    }

    /// Records that a message's first set-aside event waits behind the event with the seq `earlier`. Returns the
    /// changed row. `None` if the message has no set-aside event, or if its first one is in flight or before `earlier`.
    pub(super) fn yields(&mut self, key: OrderKey, earlier: u64) -> Option<Aside> {
        let first = *self.by_message.get(&key)?.first()?;
        let row = self.rows.get_mut(&first)?;
        if first < earlier || row.in_flight {
            return None;
        }
        row.aside.behind = true;
        Some(row.aside.clone())
    }

    /// When the next head (see [`Self::take_due`]) becomes due. Only heads up to the seq `upto` count.
    pub(super) fn next_due(&self, upto: u64) -> Option<Timestamp> {
        let rows = self.rows.range(..=upto).map(|(_, row)| row);
        let heads = rows.filter(|row| !row.in_flight && !row.aside.behind);
        heads.map(|row| row.aside.next_try).min()
    }

    /// Returns the row of an event, and its history in this process.
    pub(super) fn get(&self, seq: u64) -> Option<(&Aside, AsideTrace)> {
        self.rows.get(&seq).map(|row| (&row.aside, row.trace))
    }

    /// Makes every set-aside event due now.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        for row in self.rows.values_mut() {
            row.aside.next_try = row.aside.next_try.min(now);
        }
    }

    /// Removes an event that is done. The next event of its message no longer waits behind it, and is due now. Returns
    /// the changed row of that next event.
    pub(super) fn remove(&mut self, seq: u64, now: Timestamp) -> Option<Aside> {
        let key = self.rows.remove(&seq)?.aside.order_key?;
        let message = self.by_message.get_mut(&key)?;
        message.remove(&seq);
        let Some(next) = message.first().copied() else {
            self.by_message.remove(&key);
            return None;
        };
        let row = self.rows.get_mut(&next)?;
        row.aside.behind = false;
        row.aside.next_try = now;
        Some(row.aside.clone())
    }

    /// The set-aside events below `seq` that are not in flight.
    pub(super) fn below(&self, seq: u64) -> Vec<u64> {
        self.rows.range(..seq).filter(|(_, row)| !row.in_flight).map(|(seq, _)| *seq).collect()
    }

    /// Number of set-aside events below `seq` that are in flight.
    pub(super) fn in_flight_below(&self, seq: u64) -> usize {
        self.rows.range(..seq).filter(|(_, row)| row.in_flight).count()
    }
}

/// The dead letters that are to be delivered again, by id.
#[derive(Default)]
pub(super) struct DeadRetries(BTreeMap<i64, DeadRetry>);

struct DeadRetry {
    letter: DeadLetter,
    /// Failed tries since the retry was requested.
    tries: u32,
    not_before: Timestamp,
    in_flight: bool,
}

impl DeadRetries {
    /// Adds dead letters that are marked for retry. Known ones keep their state. Returns whether there are new ones.
    pub(super) fn extend(&mut self, dead: Vec<DeadLetter>) -> bool {
        let before = self.0.len();
        for letter in dead {
            let not_before = Timestamp::default();
            self.0.entry(letter.id).or_insert(DeadRetry { letter, tries: 0, not_before, in_flight: false });
        }
        self.0.len() > before
    }

    /// Marks the dead letter that has been due longest as in flight. Returns its id and its next delivery.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(i64, Delivery)> {
        let due = self.0.iter_mut().filter(|(_, one)| !one.in_flight && one.not_before <= now);
        let (id, one) = due.min_by_key(|(_, one)| one.not_before)?;
        one.in_flight = true;
        Some((*id, Delivery::new(Arc::clone(&one.letter.event), one.letter.attempts + 1, true)))
    }

    /// When the next dead letter becomes due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.values().filter(|one| !one.in_flight).map(|one| one.not_before).min()
    }

    /// Removes a dead letter that was delivered or dropped, or that is not tried again. Returns whether none is left.
    pub(super) fn remove(&mut self, id: i64) -> bool {
        self.0.remove(&id);
        self.0.is_empty()
    }

    /// Records a failed try. Returns the number of failed tries since the retry was requested, the number of all
    /// attempts, and the history of the attempts. `None` if the dead letter is unknown.
    pub(super) fn failed(&mut self, id: i64, now: Timestamp, error: &str) -> Option<(u32, u32, History)> {
        let one = self.0.get_mut(&id)?;
        let DeadLetter { attempts, history, .. } = &mut one.letter;
        one.tries += 1;
        *attempts += 1;
        *history = std::mem::take(history).and(*attempts, now, error);
        Some((one.tries, *attempts, history.clone()))
    }

    /// Puts back a dead letter, to be tried at `not_before`.
    pub(super) fn put_back(&mut self, id: i64, not_before: Timestamp) {
        if let Some(one) = self.0.get_mut(&id) {
            one.in_flight = false;
            one.not_before = not_before;
        }
    }

    /// Makes every dead letter due now.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        for one in self.0.values_mut() {
            one.not_before = one.not_before.min(now);
        }
    }
}
