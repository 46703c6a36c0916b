//! How fast a handler may be given events: `rate`.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::event::Class;

/// At most so many events a second, evenly, over both lanes of a handler.
///
/// A delivery of n events takes n places; the next one waits until they have passed. Of the statuses only one delivery at
/// a time holds places that are still to come, so a customer's message waits for that one at most.
pub struct Pace {
    interval: Duration,
    free_at: Mutex<Instant>,
    others: tokio::sync::Mutex<()>,
}

impl Pace {
    /// At most so many events a second.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.get(),
            free_at: Mutex::new(Instant::now()),
            others: tokio::sync::Mutex::new(()),
        }
    }

    /// Waits until so many events of a lane may be delivered.
    pub async fn wait(&self, class: Class, events: usize) {
        let _turn = match class {
            Class::Incoming => None,
            Class::Other => Some(self.others.lock().await),
        };
        let at = self.take(events);
        sleep_until(at).await;
    }

    /// Takes the next places; when the first of them is.
    fn take(&self, events: usize) -> Instant {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*free_at).max(Instant::now());
        *free_at = at + self.interval.saturating_mul(events);
        at
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pace(per_second: u32) -> Arc<Pace> {
        Arc::new(Pace::new(NonZeroU32::new(per_second).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_has_as_many_events_as_the_rate_says() {
        let pace = pace(50);
        let begun = Instant::now();
        let mut delivered = 0;
        while begun.elapsed() < Duration::from_secs(60) {
            pace.wait(Class::Other, 20).await;
            delivered += 20;
        }
        assert!((3_000..=3_040).contains(&delivered), "{delivered}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_from_a_customer_waits_for_one_delivery_of_statuses_at_most() {
        let pace = pace(10);
        pace.wait(Class::Other, 10).await;
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let pace = Arc::clone(&pace);
            waiting.spawn(async move { pace.wait(Class::Other, 10).await });
        }
        tokio::task::yield_now().await;
        let asked = Instant::now();
        pace.wait(Class::Incoming, 1).await;
        let waited = asked.elapsed();
        assert!(waited >= Duration::from_millis(990) && waited <= Duration::from_millis(2_010), "{waited:?}");
    }
}
