//! How far a single event of a delivery came. A kind that sends its events one by one, or gets an acknowledgement for
//! each, marks them. If the delivery then fails or is cancelled, dispatch retries only the events that the destination
//! did not accept.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use super::Delivery;

const UNSENT: u8 = 0;
const SENT: u8 = 1;
const ACCEPTED: u8 = 2;

/// The mark of one delivery. Its clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ack(Arc<AtomicU8>);

impl Delivery {
    /// Marks the event as unsent: a new attempt begins.
    pub fn mark_unsent(&self) {
        self.ack.0.store(UNSENT, Relaxed);
    }

    /// Marks the event as sent. Call it before the event may reach the destination.
    pub fn mark_sent(&self) {
        self.ack.0.store(SENT, Relaxed);
    }

    /// Marks the event as accepted: the destination has stored it durably.
    pub fn mark_accepted(&self) {
        self.ack.0.store(ACCEPTED, Relaxed);
    }

    /// Returns whether the event may have reached the destination. Always `false` for kinds that mark no events.
    pub fn is_sent(&self) -> bool {
        self.ack.0.load(Relaxed) != UNSENT
    }

    /// Returns whether the destination has accepted the event. After a successful delivery it may be `false`, because
    /// not every kind marks events.
    pub fn is_accepted(&self) -> bool {
        self.ack.0.load(Relaxed) == ACCEPTED
    }
}
