//! Records for each event of a batch whether it was sent and accepted. A kind that sends its events one by one, or gets
//! an acknowledgement for each event, marks its events. If the batch then fails or times out, dispatch counts the
//! accepted events as delivered. If the shutdown cuts a batch off, the whole batch is repeated.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use super::Delivery;

const UNSENT: u8 = 0;
const SENT: u8 = 1;
const ACCEPTED: u8 = 2;

/// The mark of one event. The marks of a batch share one allocation. The clones of an `Ack` share its mark.
#[derive(Clone, Debug)]
pub(super) struct Ack {
    marks: Arc<[AtomicU8]>,
    at: usize,
}

impl Ack {
    /// The mark of an event that is delivered alone; starts as unsent.
    pub(super) fn one() -> Self {
        Self { marks: Arc::new([AtomicU8::new(UNSENT)]), at: 0 }
    }

    /// The marks of a batch, one for each event; all start as unsent.
    pub(super) fn batch(events: usize) -> impl Iterator<Item = Self> {
        let marks: Arc<[AtomicU8]> = (0..events).map(|_| AtomicU8::new(UNSENT)).collect();
        (0..events).map(move |at| Self { marks: Arc::clone(&marks), at })
    }

    fn set(&self, mark: u8) {
        self.marks[self.at].store(mark, Relaxed);
    }

    fn get(&self) -> u8 {
        self.marks[self.at].load(Relaxed)
    }
}

impl Delivery {
    /// Marks the event as unsent, at the start of a new attempt.
    pub fn mark_unsent(&self) {
        self.ack.set(UNSENT);
    }

    /// Marks the event as sent. Call this before the event can reach the destination.
    pub fn mark_sent(&self) {
        self.ack.set(SENT);
    }

    /// Marks the event as accepted, after the destination has stored it durably.
    pub fn mark_accepted(&self) {
        self.ack.set(ACCEPTED);
    }

    /// Returns whether the event may have reached the destination. Always `false` for kinds that mark no events.
    pub fn is_sent(&self) -> bool {
        self.ack.get() != UNSENT
    }

    /// Returns whether the destination has accepted the event. After a successful delivery it may be `false`, because
    /// not every kind marks events.
    pub fn is_accepted(&self) -> bool {
        self.ack.get() == ACCEPTED
    }
}
