//! What is bounded: how often (GCRA), how many at once, how many bytes at once, how often it is said in the log.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// So many a period, and as many in a burst: the generic cell rate algorithm, its whole state one number.
pub(super) struct Rate {
    period_ns: u64,
    interval_ns: u64,
}

impl Rate {
    /// `count` in each `period`; of 0 none is ever allowed.
    pub(super) fn per(count: u32, period: Duration) -> Self {
        let period_ns = nanos(period);
        Self { period_ns, interval_ns: period_ns.checked_div(u64::from(count)).unwrap_or(u64::MAX) }
    }

    /// Takes one, at the time `now_ns`, or says how long to wait. `due_ns` is the state, 0 at first.
    pub(super) fn take(&self, due_ns: &AtomicU64, now_ns: u64) -> Result<(), Duration> {
        let next = |due: u64| due.max(now_ns).saturating_add(self.interval_ns);
        due_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                Some(next(due)).filter(|next| next - now_ns <= self.period_ns)
            })
            .map(|_before| ())
            .map_err(|due| {
                let wait_ns = (next(due) - now_ns).saturating_sub(self.period_ns);
                Duration::from_nanos(wait_ns.min(self.period_ns))
            })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A clock that counts nanoseconds from when it was made.
#[derive(Clone, Copy)]
pub(super) struct Ticks(Instant);

impl Ticks {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now_ns(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

/// Failed authentications by address, in a table of fixed size: addresses that fall together share a count. That can
/// turn a 401 into a 429, never a valid credential away.
pub(super) struct Failures {
    rate: Rate,
    ticks: Ticks,
    seed: RandomState,
    due_ns: Box<[AtomicU64]>,
}

const FAILURE_SLOTS: usize = 4096;

impl Failures {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            rate: Rate::per(per_minute, Duration::from_secs(60)),
            ticks: Ticks::start(),
            seed: RandomState::new(),
            due_ns: (0..FAILURE_SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts a failure of this address; `Err` says for how long it has had enough of them.
    pub(super) fn count(&self, address: IpAddr) -> Result<(), Duration> {
        let slot = self.seed.hash_one(network(address)) as usize % self.due_ns.len();
        self.rate.take(&self.due_ns[slot], self.ticks.now_ns())
    }
}

/// What one sender can easily have many of counts as one: an IPv6 network of 64 bits.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

/// The places of requests under way, and the bytes of their bodies.
pub(super) struct Places {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most_bytes: u32,
    taken: Gauge,
}

impl Places {
    pub(super) fn new(requests: usize, bytes: usize, taken: Gauge) -> Self {
        let most_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            requests: Arc::new(Semaphore::new(requests.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(most_bytes as usize)),
            most_bytes,
            taken,
        }
    }

    /// A place with room for so many bytes, in order of arrival; `None` if there was none by then. A body larger than
    /// all the room there is takes all of it.
    pub(super) async fn take(&self, bytes: usize, until: Instant) -> Option<Place> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most_bytes);
        match timeout_at(until, self.wait(bytes)).await {
            Ok(Ok(place)) => Some(place),
            Ok(Err(_closed)) => None, // nobody closes them
            Err(_elapsed) => None,
        }
    }

    async fn wait(&self, bytes: u32) -> Result<Place, AcquireError> {
        let request = Arc::clone(&self.requests).acquire_owned().await?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await?;
        self.taken.inc();
        Ok(Place { _request: request, bytes, taken: self.taken.clone() })
    }
}

/// A request's place; dropped when its append has ended, whether or not anybody still waits for the answer.
pub(super) struct Place {
    _request: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
    taken: Gauge,
}

impl Place {
    /// How many bytes it has room for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.num_permits()
    }

    /// Gives back what the body turned out not to need.
    pub(super) fn shrink(&mut self, bytes: usize) {
        drop(self.bytes.split(self.bytes.num_permits().saturating_sub(bytes)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.dec();
    }
}

/// Keeps a kind of line in the log from repeating: the first at once, then one a minute with a count of the others.
pub(super) struct Quiet {
    ticks: Ticks,
    rate: Rate,
    due_ns: AtomicU64,
    unsaid: AtomicU64,
}

impl Quiet {
    pub(super) fn new() -> Self {
        Self::every(Duration::from_secs(60))
    }

    fn every(period: Duration) -> Self {
        Self {
            ticks: Ticks::start(),
            rate: Rate::per(1, period),
            due_ns: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
        }
    }

    /// `Some` if it is to be said now, with how many were not said before it.
    pub(super) fn say(&self) -> Option<u64> {
        match self.rate.take(&self.due_ns, self.ticks.now_ns()) {
            Ok(()) => Some(self.unsaid.swap(0, Ordering::Relaxed)),
            Err(_not_yet) => {
                self.unsaid.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rate_allows_its_burst_then_its_pace() {
        let rate = Rate::per(10, Duration::from_secs(1));
        let due = AtomicU64::new(0);
        let now = 5 * SECOND;
        for _ in 0..10 {
            rate.take(&due, now).unwrap();
        }
        assert_eq!(rate.take(&due, now), Err(Duration::from_millis(100)));
        rate.take(&due, now + SECOND / 10).unwrap();
        assert_eq!(rate.take(&due, now + SECOND / 10), Err(Duration::from_millis(100)));
        for _ in 0..10 {
            rate.take(&due, now + 60 * SECOND).unwrap();
        }
        rate.take(&due, now + 60 * SECOND).unwrap_err();
    }

    #[test]
    fn a_rate_of_none_allows_none() {
        let rate = Rate::per(0, Duration::from_secs(60));
        assert_eq!(rate.take(&AtomicU64::new(0), SECOND), Err(Duration::from_secs(60)));
    }

    #[test]
    fn an_address_is_counted_by_its_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn the_log_says_the_first_then_a_count_each_period() {
        let quiet = Quiet::every(Duration::from_secs(3600));
        assert_eq!(quiet.say(), Some(0));
        assert_eq!(quiet.say(), None);
        assert_eq!(quiet.say(), None);
        quiet.due_ns.store(0, Ordering::Relaxed); // an hour later
        assert_eq!(quiet.say(), Some(2));
        assert_eq!(quiet.say(), None);
    }

    #[tokio::test]
    async fn a_place_is_waited_for_until_it_is_free_or_too_late() {
        let places = Places::new(1, 100, Gauge::default());
        let first = places.take(1_000, Instant::now()).await.unwrap();
        assert_eq!(first.bytes(), 100);
        assert!(places.take(1, Instant::now() + Duration::from_millis(20)).await.is_none());
        let (second, ()) =
            tokio::join!(places.take(1, Instant::now() + Duration::from_secs(60)), async { drop(first) });
        assert_eq!(second.unwrap().bytes(), 1);
        assert_eq!(places.taken.get(), 0);
    }

    #[tokio::test]
    async fn bytes_given_back_are_free_for_others() {
        let places = Places::new(2, 100, Gauge::default());
        let mut first = places.take(100, Instant::now()).await.unwrap();
        assert!(places.take(40, Instant::now()).await.is_none());
        first.shrink(60);
        assert!(places.take(40, Instant::now()).await.is_some());
    }
}
