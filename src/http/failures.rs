//! Failed authentications: above a limit for each address only the failing *answer* is delayed. Whoever brings a valid
//! credential from the same address, such as a proxy, never waits.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::AtomicU64,
    time::Duration,
};

use axum::http::{HeaderValue, header::CONNECTION};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    limits::{Rate, Ticks},
    network::origin,
    problem::{Problem, whole_secs},
};

/// How long an answer above the limit is held.
const HOLD: Duration = Duration::from_secs(1);
/// Answers held at once: each holds its connection too.
const HELD: usize = 64;
const SLOTS: usize = 4096;

/// Failed authentications by address, in a table of fixed size: addresses that fall together share a count. That can
/// turn a 401 into a 429, never a valid credential away.
pub struct Failures {
    rate: Rate,
    ticks: Ticks,
    seed: RandomState,
    due_ns: Box<[AtomicU64]>,
    held: Semaphore,
}

/// An address has failed more often than the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFailures {
    /// When the next failure is within the limit again.
    pub wait: Duration,
    /// As many answers as may be are held already: the connection is to be closed with this one.
    pub close: bool,
}

impl TooManyFailures {
    /// Adds to an answer when to come again, and whether the connection ends with it.
    pub fn explain(self, problem: Problem) -> Problem {
        let problem = problem.retry_after(whole_secs(self.wait));
        if self.close { problem.header(CONNECTION, HeaderValue::from_static("close")) } else { problem }
    }
}

impl Failures {
    /// With a limit for each address.
    pub fn new(per_minute: u32) -> Self {
        Self {
            rate: Rate::per(per_minute, Duration::from_secs(60)),
            ticks: Ticks::start(),
            seed: RandomState::new(),
            due_ns: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            held: Semaphore::new(HELD),
        }
    }

    /// Counts a failure of this address. Above the limit it takes a second, unless too many are held.
    ///
    /// # Errors
    /// [`TooManyFailures`] above the limit.
    pub async fn count(&self, address: IpAddr) -> Result<(), TooManyFailures> {
        let slot = self.seed.hash_one(origin(address)) as usize % self.due_ns.len();
        let Err(wait) = self.rate.take(&self.due_ns[slot], self.ticks.now_ns()) else { return Ok(()) };
        match self.held.try_acquire() {
            Ok(_permit) => {
                sleep(HOLD).await;
                Err(TooManyFailures { wait, close: false })
            }
            Err(_none_left) => Err(TooManyFailures { wait, close: true }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn above_the_limit_answers_are_held_and_above_the_held_ones_are_not() {
        let failures = Failures::new(2);
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
        let ends = join_all((0..HELD + 10).map(timed)).await;
        assert_eq!(ends.iter().filter(|end| **end == (false, HOLD)).count(), HELD);
        assert_eq!(ends.iter().filter(|end| **end == (true, Duration::ZERO)).count(), 10);
        failures.count(IpAddr::from([192, 0, 2, 2])).await.unwrap();
    }
}
