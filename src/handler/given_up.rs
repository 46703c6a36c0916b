//! Detects that a delivery was cancelled while its data may be in flight.
//!
//! A delivery that times out is cancelled: its future is dropped, but the data that it has sent may still be in flight.
//! If the retries used the same connection, the data of every attempt would wait in the connection's queue, and a
//! destination that recovers would accept all copies. So a connection with a cancelled delivery is not used again, and
//! its unsent data is dropped.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Records whether a delivery was cancelled. Some kinds have a `GivenUp` for each connection.
#[derive(Debug, Default)]
pub(super) struct GivenUp(AtomicBool);

/// A delivery in flight. If it is dropped before [`Attempt::ended`], it counts as cancelled.
#[must_use]
pub(super) struct Attempt<'a>(&'a GivenUp);

impl GivenUp {
    /// Starts a delivery. Call it before the delivery uses the connection.
    pub(super) const fn attempt(&self) -> Attempt<'_> {
        Attempt(self)
    }

    /// Returns whether a delivery was cancelled. If so, nothing more may be sent on the connection.
    #[allow(dead_code, reason = "a build may have no kind that uses it")]
    pub(super) fn is_so(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// Returns whether a delivery was cancelled, and resets the flag. For callers that then reconnect or check the
    /// destination.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, SeqCst)
    }
}

impl Attempt<'_> {
    /// Marks the delivery as ended: nothing of it is in flight on the connection.
    pub(super) const fn ended(self) {
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_did_not_end_counts_as_cancelled() {
        let given_up = GivenUp::default();
        given_up.attempt().ended();
        assert!(!given_up.is_so());
        drop(given_up.attempt());
        assert!(given_up.is_so());
    }
}
