//! The loop of a lane: runs [`Lane::turn`], waits for a reason to run it again, and shuts down at the end.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{super::status::LaneCondition, Command, Lane, Turn};
use crate::{
    clock::{Clock, Timestamp},
    journal,
};

/// How long a lane waits after it could not read or write the journal.
const STUCK_MS: i64 = 30_000;
/// The longest wait between two calls of [`Lane::turn`].
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Why the loop of a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process stops, and the lane with it.
    Stopped,
    /// The replay of the lane is finished or was cancelled.
    Finished,
}

impl Lane {
    /// Runs until `shutdown` is true, then gives deliveries in flight up to `grace` to end. A lane of a replay also
    /// ends when its replay does.
    pub async fn run(
        mut self,
        mut shutdown: watch::Receiver<bool>,
        mut commands: mpsc::Receiver<Command>,
        grace: Duration,
    ) -> Ended {
        let clock = LaneClock::new(self.context.journal.clock());
        self.was_paused = self.is_paused();
        while !*shutdown.borrow_and_update() {
            // Marks the tip as seen before the turn, so that an append during the turn wakes the lane.
            self.tip.borrow_and_update();
            let (until, stuck) = match self.turn(clock.now()).await {
                Ok(Turn::Moved) => continue,
                Ok(Turn::Ended) => {
                    self.shut_down(&clock, grace).await;
                    return Ended::Finished;
                }
                Ok(Turn::Idle(until)) => (until, false),
                Err(error) => (Some(self.stuck(&error, clock.now())), true),
            };
            let rest = until.map_or(LONGEST_REST, |until| clock.until(until));
            tokio::select! {
                // New events do not help a lane that cannot read the earlier ones.
                _ = self.tip.changed(), if !stuck => {}
                _ = self.paused.changed() => self.pause_changed(),
                _ = self.replays.changed() => self.pause_changed(),
                _ = self.retries.changed() => self.reload_dead_retries = self.replay.is_none(),
                Some(joined) = self.deliveries.join_next_with_id() => self.joined.push(joined),
                Some(command) = commands.recv() => self.obey(command, clock.now()),
                _ = shutdown.changed() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        self.shut_down(&clock, grace).await;
        Ended::Stopped
    }

    /// Handles an error of the journal in a turn: publishes the state `Stuck`, and returns the time of the next try.
    /// Intake continues.
    fn stuck(&mut self, error: &journal::Error, now: Timestamp) -> Timestamp {
        tracing::error!(
            lane = %self.name(),
            error = error.class(),
            "lane could not use the journal; it keeps its cursor and tries again"
        );
        self.publish(now, Some(LaneCondition::Stuck));
        now.plus_ms(STUCK_MS)
    }

    /// After a resume, an unwell destination is probed at once. A change of another handler's pause has no effect.
    fn pause_changed(&mut self) {
        let is_paused = self.is_paused();
        let was_paused = std::mem::replace(&mut self.was_paused, is_paused);
        if was_paused && !is_paused {
            self.condition.wait_until = Timestamp::default();
        }
    }

    fn obey(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Retry => self.retry_now(now),
            Command::Believe { upto, class } => self.believe(upto, class),
            Command::Skip { before, by, reply } => {
                let skip = self.skip(before, by, now);
                // Sending fails if the operator's request was cancelled. Then nobody needs the result.
                let _ = reply.send(skip);
            }
        }
    }

    /// Ends all waits for a retry: the events and dead letters that wait are due now.
    pub(super) fn retry_now(&mut self, now: Timestamp) {
        self.condition.wait_until = now;
        self.condition.retry_requested = true;
        self.window.forget_waits();
        self.aside.hurry(now);
        self.dead_retries.hurry(now);
    }

    async fn shut_down(mut self, clock: &LaneClock, grace: Duration) {
        self.abort_opening();
        let last = tokio::time::timeout(grace, async { while self.delivery_ended().await {} }).await;
        if last.is_err() {
            tracing::warn!(
                lane = %self.name(),
                "delivery did not end in time; its events are delivered again after the next start"
            );
        }
        self.handle_ended(clock.now());
        let over = self.replay_state().has_ended();
        if !over && let Err(error) = self.settle().await {
            tracing::warn!(
                lane = %self.name(),
                error = error.class(),
                "last deliveries could not be settled; their events may be delivered again"
            );
        }
        self.publish(clock.now(), Some(LaneCondition::Stopped));
    }
}

/// A clock that never goes back. It reads the journal's clock once, and adds the time since then. All times in one
/// [`Lane::run`] come from this clock, so a later action never has an earlier time.
struct LaneClock {
    began: Timestamp,
    since: tokio::time::Instant,
}

impl LaneClock {
    fn new(clock: &Clock) -> Self {
        Self { began: clock.now(), since: tokio::time::Instant::now() }
    }

    fn now(&self) -> Timestamp {
        self.began.plus_ms(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// The time until `time`, plus 1 ms so that `time` has passed; at most [`LONGEST_REST`].
    fn until(&self, time: Timestamp) -> Duration {
        let ms = time.ms_since(self.now()).max(0).unsigned_abs() + 1;
        Duration::from_millis(ms).min(LONGEST_REST)
    }
}
