//! Limits how often objects are put. Deliveries that wait at the same time put their objects at the same time. Events
//! that arrive during the wait stay in the journal and go into a later object.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The minimum wait after an object, and the earliest time at which the next objects are put.
pub(super) struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits for at most one interval, even if other deliveries wait too. The interval is shorter than the default
    /// timeout of a delivery.
    pub(super) async fn wait(&self) {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        sleep_until(next).await;
    }

    /// Records that an object was put now.
    pub(super) fn passed(&self) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_first_object_does_not_wait_and_the_next_waits_for_one_interval() {
        let pace = Pace::new(Duration::from_millis(60));
        let begun = Instant::now();
        pace.wait().await;
        assert!(begun.elapsed() < Duration::from_millis(50));
        pace.passed();
        let passed = Instant::now();
        tokio::join!(pace.wait(), pace.wait());
        assert!(passed.elapsed() >= Duration::from_millis(55));
        let waited = Instant::now();
        pace.wait().await;
        assert!(
            waited.elapsed() < Duration::from_millis(50),
            "an interval that has passed is not waited for again"
        );
    }
}
