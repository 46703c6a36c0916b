//! Limits failed authentications per address (IPv4, or IPv6 /64). Above the limit, only the answer to a *failure* is
//! delayed. A valid credential never waits, even if other requests from the same address (a proxy, for example) fail.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::AtomicU64,
    time::Duration,
};

use axum::http::{HeaderValue, header::CONNECTION};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{
    limits::{Rate, nanos},
    network::origin,
    problem::{Problem, whole_secs},
};

/// How long an answer above the limit is delayed.
const ANSWER_DELAY: Duration = Duration::from_secs(1);
/// How many answers are delayed at the same time. Each of them keeps its connection open, so their number is limited.
const DELAYED_MAX: usize = 64;
const SLOTS: usize = 4096;

/// Failed authentications by address, in a table of fixed size: addresses with the same hash slot share a count. A
/// shared count can turn a 401 into a 429, but never refuses a valid credential.
pub struct AuthFailures {
    rate: Rate,
    started: Instant,
    seed: RandomState,
    due_ns: Box<[AtomicU64]>,
    delayed: Semaphore,
}

/// One address has more failures than the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFailures {
    /// After this time, one more failure is within the limit.
    pub wait: Duration,
    /// True if the connection must be closed after the answer, because too many answers are delayed already.
    pub close: bool,
}

impl TooManyFailures {
    /// Adds `Retry-After` to an answer, and `Connection: close` if the connection is to be closed.
    pub fn explain(self, problem: Problem) -> Problem {
        let problem = problem.retry_after(whole_secs(self.wait));
        if self.close { problem.header(CONNECTION, HeaderValue::from_static("close")) } else { problem }
    }
}

impl AuthFailures {
    /// Creates an empty table; the limit is per address and minute.
    pub fn new(per_minute: u32) -> Self {
        Self {
            rate: Rate::per(per_minute, Duration::from_secs(60)),
            started: Instant::now(),
            seed: RandomState::new(),
            due_ns: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            delayed: Semaphore::new(DELAYED_MAX),
        }
    }

    /// Counts a failure of this address. Above the limit, waits a second, unless too many answers are delayed already.
    ///
    /// # Errors
    /// Returns [`TooManyFailures`] above the limit.
    pub async fn count(&self, address: IpAddr) -> Result<(), TooManyFailures> {
        let slot = self.seed.hash_one(origin(address)) as usize % self.due_ns.len();
        let now_ns = nanos(self.started.elapsed());
        let Err(wait) = self.rate.take(&self.due_ns[slot], now_ns) else { return Ok(()) };
        let permit = self.delayed.try_acquire();
        if permit.is_ok() {
            sleep(ANSWER_DELAY).await;
        }
        Err(TooManyFailures { wait, close: permit.is_err() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    #[tokio::test(start_paused = true)]
    async fn above_the_limit_at_most_64_answers_are_delayed() {
        let failures = AuthFailures::new(2);
        let begun = Instant::now();
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..2 {
            failures.count(address).await.unwrap();
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let timed = |_| async {
            let close = failures.count(address).await.unwrap_err().close;
            (close, begun.elapsed())
        };
        let ends = join_all((0..DELAYED_MAX + 10).map(timed)).await;
        assert_eq!(ends.iter().filter(|end| **end == (false, ANSWER_DELAY)).count(), DELAYED_MAX);
        assert_eq!(ends.iter().filter(|end| **end == (true, Duration::ZERO)).count(), 10);
        failures.count(IpAddr::from([192, 0, 2, 2])).await.unwrap();
    }
}
