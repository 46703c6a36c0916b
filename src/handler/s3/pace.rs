//! Limits how often objects are put. Events that arrive meanwhile stay in the journal and go into the next object.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The time of the last object, and the minimum interval until the next.
pub(super) struct Pace {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) const fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::new(None) }
    }

    /// Waits for at most one interval, even if other deliveries wait too. This is well within the timeout of a
    /// delivery.
    pub(super) async fn wait(&self) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last {
            sleep_until(last + self.interval).await;
        }
    }

    /// Records that an object was put now.
    pub(super) fn passed(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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
