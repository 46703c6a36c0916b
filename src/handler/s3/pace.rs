//! Objects are not put faster than so: what comes meanwhile gathers in the journal, and the next object has it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// When the last object was put, and how long until another may be.
pub(super) struct Pace {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) const fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::new(None) }
    }

    /// Waits for at most one interval, whoever else waits: well within the time-out of a delivery.
    pub(super) async fn wait(&self) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last {
            sleep_until(last + self.interval).await;
        }
    }

    /// An object was put just now.
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
            "an interval that is over is not waited for again"
        );
    }
}
