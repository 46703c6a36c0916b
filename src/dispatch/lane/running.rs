//! A lane's loop: turn, then wait for whatever comes first; and how it ends.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{super::status::LaneCondition, Control, Lane, Turn, replay::Decided};
use crate::{
    clock::{Clock, Timestamp},
    journal,
};

/// How long a lane rests that cannot read the journal.
const STUCK_MS: i64 = 30_000;
/// A lane looks around at least this often.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How a lane's work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The replay that it belongs to is through, or somebody ended it.
    Through,
}

impl Lane {
    /// Works until `stop` is true; then lets what is on its way end, for as long as `grace`. A lane of a replay works until
    /// it is through, at the longest.
    pub async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        mut control: mpsc::Receiver<Control>,
        grace: Duration,
    ) -> Ended {
        let clock = LaneClock::new(self.parts.journal.clock());
        self.held = self.is_paused();
        while !*stop.borrow_and_update() {
            // Interest first, then the look: what is appended in between wakes the lane.
            self.tip.borrow_and_update();
            let (until, stuck) = match self.turn(clock.now()).await {
                Ok(Turn::Moved) => continue,
                Ok(Turn::Ended) => {
                    self.wind_up(&clock, grace).await;
                    return Ended::Through;
                }
                Ok(Turn::Idle(until)) => (until, false),
                Err(error) => (Some(self.stuck(&error, clock.now())), true),
            };
            let rest = until.map_or(LONGEST_REST, |until| clock.until(until));
            tokio::select! {
                // New events do not help a lane that cannot read the old ones.
                _ = self.tip.changed(), if !stuck => {}
                _ = self.paused.changed() => self.heard_of_pause(),
                _ = self.replays.changed() => self.heard_of_pause(),
                _ = self.retries.changed() => self.look_for_revivals = self.parts.replay.is_none(),
                Some(joined) = self.deliveries.join_next_with_id() => self.joined.push(joined),
                Some(asked) = control.recv() => self.control(asked, clock.now()),
                _ = stop.changed() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        self.wind_up(&clock, grace).await;
        Ended::Stopped
    }

    /// The journal cannot be read: intake goes on, this lane looks again later.
    fn stuck(&mut self, error: &journal::Error, now: Timestamp) -> Timestamp {
        tracing::error!(lane = %self.name(), error = error.class(), "the lane cannot read the journal; it stays where it is");
        self.show(now, Some(LaneCondition::Stuck));
        now.plus_ms(STUCK_MS)
    }

    /// Who resumes a handler wants to see it try at once: it, and no other.
    fn heard_of_pause(&mut self) {
        let is_held = self.is_paused();
        let was_held = std::mem::replace(&mut self.held, is_held);
        if was_held && !is_held {
            self.condition.wait_until = Timestamp::default();
        }
    }

    fn control(&mut self, asked: Control, now: Timestamp) {
        match asked {
            Control::Retry => self.retry_now(now),
            Control::Believe { upto, class } => self.believe(upto, class),
            Control::SkipTo(seq) => {
                let mut let_go = self.window.skip_to(seq);
                for aside in self.aside.below(seq) {
                    self.release(aside, Timestamp::default());
                    let_go += 1;
                }
                tracing::warn!(lane = %self.name(), before_seq = seq, let_go, "skipped by an operator's decision");
            }
        }
    }

    /// Everything that waits to be tried again is due.
    pub(super) fn retry_now(&mut self, now: Timestamp) {
        self.condition.wait_until = now;
        self.condition.woken = true;
        self.window.forget_waits();
        self.aside.hurry(now);
        self.revivals.hurry(now);
    }

    async fn wind_up(mut self, clock: &LaneClock, grace: Duration) {
        self.give_up_look();
        let last = tokio::time::timeout(grace, async { while self.delivery_ended().await {} }).await;
        if last.is_err() {
            tracing::warn!(lane = %self.name(), "a delivery did not end in time; it is made again after the next start");
        }
        self.take_over(clock.now());
        let over = self.decided() == Decided::Ended;
        if !over && let Err(error) = self.settle().await {
            tracing::warn!(lane = %self.name(), error = error.class(), "the last deliveries could not be settled");
        }
        self.show(clock.now(), Some(LaneCondition::Stopped));
    }
}

/// A clock that never falls: the trusted time at its making, and what has passed since. It orders what one life of a lane
/// does; what is stored is stamped by the journal.
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

    /// How long until then; a millisecond more, so that it has come.
    fn until(&self, time: Timestamp) -> Duration {
        let ms = time.ms_since(self.now()).max(0).unsigned_abs() + 1;
        Duration::from_millis(ms).min(LONGEST_REST)
    }
}
