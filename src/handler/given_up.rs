//! Whether a connection was left with a delivery half done.
//!
//! A delivery that takes too long is dropped where it stands, and what it has sent may still be on its way. On the same
//! connection the next try would queue behind it, and the one after that behind both; when the destination comes back it
//! would take all of them. So a connection with such a delivery is not used again, and each try leaves one copy at most.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Of a connection: whether a delivery on it was given up.
#[derive(Debug, Default)]
pub(super) struct GivenUp(AtomicBool);

/// A delivery under way. Dropped before it ended, it was given up.
#[must_use]
pub(super) struct Attempt<'a>(&'a GivenUp);

impl GivenUp {
    /// To be called before a delivery does anything on the connection.
    pub(super) const fn attempt(&self) -> Attempt<'_> {
        Attempt(self)
    }

    /// Whether one was: nothing is to be sent on it any more.
    #[cfg(any(test, feature = "kafka", feature = "nats", feature = "redis"))]
    pub(super) fn is_so(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// The same, told once: for who then makes another connection, or looks again at what is there.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, SeqCst)
    }
}

impl Attempt<'_> {
    /// It came to an end, and leaves nothing behind on the connection.
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
    fn an_attempt_that_did_not_end_was_given_up() {
        let given_up = GivenUp::default();
        given_up.attempt().ended();
        assert!(!given_up.is_so());
        drop(given_up.attempt());
        assert!(given_up.is_so());
    }
}
