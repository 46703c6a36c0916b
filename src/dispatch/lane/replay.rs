//! How a replay's lane differs from a handler's own lane. A replay's lane has an end and a filter, and yields to the
//! handler's own lanes. It delivers only events that those lanes have passed and have not set aside.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::watch;

use super::{
    super::{RateLimit, policy, status::LaneStatus, wait_reason::WaitReason},
    Lane,
};
use crate::{
    event::Event,
    handler::Filter,
    journal::{self, LaneId, ReplayState},
};

/// The settings and state of a replay, shared by its lanes.
#[derive(Clone)]
pub struct ReplayPart {
    /// The last seq that the replay delivers.
    upto: u64,
    /// The replay delivers only events that both this filter and the handler's filter select.
    filter: Filter,
    /// The status of the handler's own lanes.
    pub(super) live: Vec<watch::Receiver<LaneStatus>>,
    /// Limits the events of both lanes of the replay. With `None`, only the handler's own limit applies.
    pub(in crate::dispatch) rate_limit: Option<Arc<RateLimit>>,
    /// Deliveries in flight of both lanes of the replay.
    in_flight: Arc<AtomicUsize>,
}

impl ReplayPart {
    /// Creates the settings and state of a replay that ends with the seq `upto`. Both lanes of the replay use clones of
    /// one `ReplayPart`, so that they share the count of deliveries in flight.
    pub fn new(upto: u64, filter: Filter, live: Vec<watch::Receiver<LaneStatus>>) -> Self {
        Self { upto, filter, live, rate_limit: None, in_flight: Arc::default() }
    }
}

impl Lane {
    /// The last seq that the lane may deliver; `u64::MAX` for a handler's own lane.
    pub(super) fn end(&self) -> u64 {
        self.replay.as_ref().map_or(u64::MAX, |replay| replay.upto)
    }

    /// The last seq that the lane may claim now. A replay's lane must not overtake the handler's own lane.
    pub(super) fn reach(&self) -> u64 {
        self.own().map_or(u64::MAX, |own| own.cursor).min(self.end())
    }

    /// Returns whether the lane waits for the handler's own lane to advance.
    pub(super) fn awaits_own(&self) -> bool {
        let read_to = self.window.read_to();
        read_to >= self.reach() && read_to < self.end()
    }

    /// The events up to `through` that the handler's own lane has set aside. That lane delivers them itself, and keeps
    /// the events of each message in order.
    pub(super) async fn set_aside_by_own(&self, through: u64) -> Result<HashSet<u64>, journal::Error> {
        if self.own().is_none_or(|own| own.set_aside == 0) {
            return Ok(HashSet::new());
        }
        let own = LaneId { replay: None, ..self.id.clone() };
        let set_aside = self.context.journal.set_aside(own, self.window.read_to(), through).await?;
        Ok(set_aside.into_iter().collect())
    }

    /// The status of the handler's own lane of the same class.
    fn own(&self) -> Option<watch::Ref<'_, LaneStatus>> {
        let live = &self.replay.as_ref()?.live;
        live.iter().map(watch::Receiver::borrow).find(|own| own.lane == self.id.class.as_str())
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        self.context.spec.filter.wants(event)
            && self.replay.as_ref().is_none_or(|replay| replay.filter.wants(event))
    }

    /// How many deliveries the lane may have in flight.
    pub(super) fn share(&self) -> usize {
        let (concurrency, quick) = (self.context.spec.concurrency, self.condition.quick);
        let Some(replay) = &self.replay else {
            return policy::share(self.id.class, concurrency, quick);
        };
        let live: usize = replay.live.iter().map(|lane| lane.borrow().in_flight).sum();
        let other = replay.in_flight.load(Relaxed).saturating_sub(self.in_flight.len());
        policy::replay_share(concurrency, quick, live + other)
    }

    /// Records that a delivery of a replay started or ended.
    pub(super) fn count_in_flight(&self, started: bool) {
        let Some(replay) = &self.replay else { return };
        if started {
            replay.in_flight.fetch_add(1, Relaxed);
        } else {
            replay.in_flight.fetch_sub(1, Relaxed);
        }
    }

    /// Returns whether a replay must yield to the handler's own lanes, because one of them is far behind or is not
    /// running.
    pub(super) fn must_yield(&self) -> bool {
        let mut live = self.replay.iter().flat_map(|replay| &replay.live);
        live.any(|lane| WaitReason::for_live(&lane.borrow()).is_some())
    }

    /// The state of the lane's replay; always `Running` for a handler's own lane.
    pub(super) fn replay_state(&self) -> ReplayState {
        let Some(id) = self.id.replay else { return ReplayState::Running };
        self.replays.borrow().get(&id).map_or(ReplayState::Cancelled, |replay| replay.state)
    }

    /// Returns whether the replay's lane is done with every event up to the end: none is left to be claimed, delivered,
    /// or tried again. Always false for a handler's own lane.
    pub(super) fn is_finished(&self) -> bool {
        self.replay.is_some()
            && self.window.read_to() >= self.end()
            && self.window.len() == 0
            && self.aside.len() == 0
            && self.in_flight.is_empty()
    }
}
