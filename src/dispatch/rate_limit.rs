//! The rate limit of a handler or of a replay: `rate`.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::event::Class;

/// Limits deliveries to a number of events per second, evenly spaced, over all lanes that share the limit.
///
/// A delivery of n events reserves the next n intervals of `1/rate` seconds. The next delivery waits until these
/// intervals have passed. At most one delivery of the class `Other` waits with reserved intervals. So a customer's
/// message waits for the intervals of at most two such deliveries: the last one made, and the one that waits.
pub(super) struct RateLimit {
    per_second: NonZeroU32,
    interval: Duration,
    free_at: Mutex<Instant>,
    others: tokio::sync::Mutex<()>,
}

impl RateLimit {
    /// Allows `per_second` events per second.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second,
            interval: Duration::from_secs(1) / per_second.get(),
            free_at: Mutex::new(Instant::now()),
            others: tokio::sync::Mutex::new(()),
        }
    }

    /// The number of events that are allowed per second.
    pub(super) fn per_second(&self) -> usize {
        usize::try_from(self.per_second.get()).unwrap_or(usize::MAX)
    }

    /// Waits until this many events of a lane may be delivered.
    pub(super) async fn wait(&self, class: Class, events: usize) {
        let _turn = match class {
            Class::Incoming => None,
            Class::Other => Some(self.others.lock().await),
        };
        let at = self.take(events);
        sleep_until(at).await;
    }

    /// Reserves the next intervals; returns the start of the first one.
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

    fn limit(per_second: u32) -> Arc<RateLimit> {
        Arc::new(RateLimit::new(NonZeroU32::new(per_second).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_has_as_many_events_as_the_rate_says() {
        let limit = limit(50);
        let begun = Instant::now();
        let mut delivered = 0;
        while begun.elapsed() < Duration::from_secs(60) {
            limit.wait(Class::Other, 20).await;
            delivered += 20;
        }
        assert!((3_000..=3_040).contains(&delivered), "{delivered}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_customers_message_waits_for_two_deliveries_of_statuses_at_most() {
        let limit = limit(10);
        limit.wait(Class::Other, 10).await;
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let limit = Arc::clone(&limit);
            waiting.spawn(async move { limit.wait(Class::Other, 10).await });
        }
        tokio::task::yield_now().await;
        let asked = Instant::now();
        limit.wait(Class::Incoming, 1).await;
        let waited = asked.elapsed();
        assert!(waited >= Duration::from_millis(990) && waited <= Duration::from_millis(2_010), "{waited:?}");
    }
}
