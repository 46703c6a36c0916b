//! What a lane of a replay does otherwise: it has an end and a filter of its own, gives way to the handler's own lanes, and
//! comes after them: of what they have not passed or have set aside it delivers nothing.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::watch;

use super::{
    super::{policy, status::LaneStatus, waits::Waits},
    Lane,
};
use crate::{
    event::Event,
    handler::Filter,
    journal::{self, LaneId, Replay, ReplayState},
};

/// What makes a lane one of a replay.
#[derive(Clone)]
pub struct ReplayPart {
    /// It ends with this seq.
    pub upto: u64,
    /// Which events, beside what the handler wants.
    pub filter: Filter,
    /// The handler's own lanes.
    pub live: Vec<watch::Receiver<LaneStatus>>,
    /// Deliveries in flight of both lanes of the replay.
    in_flight: Arc<AtomicUsize>,
}

impl ReplayPart {
    /// Of a replay that ends with this seq, beside the handler's own lanes. Its two lanes share one, as clones.
    pub fn new(upto: u64, filter: Filter, live: Vec<watch::Receiver<LaneStatus>>) -> Self {
        Self { upto, filter, live, in_flight: Arc::default() }
    }
}

/// What somebody decided of the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    Running,
    Paused,
    Ended,
}

impl Lane {
    /// The last seq that concerns it.
    pub(super) fn end(&self) -> u64 {
        self.parts.replay.as_ref().map_or(u64::MAX, |replay| replay.upto)
    }

    /// The last seq that it may claim now: what the handler's own lane has not passed yet is not there to be delivered again.
    pub(super) fn reach(&self) -> u64 {
        self.own().map_or(u64::MAX, |own| own.cursor).min(self.end())
    }

    /// Whether the handler's own lane has to pass something before it can go on.
    pub(super) fn awaits_own(&self) -> bool {
        let read_to = self.window.read_to();
        read_to >= self.reach() && read_to < self.end()
    }

    /// What the handler's own lane has set aside up to here, and will deliver itself, in the order of each message.
    pub(super) async fn set_aside_by_own(&self, through: u64) -> Result<HashSet<u64>, journal::Error> {
        if self.own().is_none_or(|own| own.set_aside == 0) {
            return Ok(HashSet::new());
        }
        let own = LaneId { replay: None, ..self.parts.id.clone() };
        let set_aside = self.parts.journal.set_aside(own, self.window.read_to(), through).await?;
        Ok(set_aside.into_iter().collect())
    }

    /// How the handler's own lane of the same class does.
    fn own(&self) -> Option<watch::Ref<'_, LaneStatus>> {
        let live = &self.parts.replay.as_ref()?.live;
        live.iter().map(watch::Receiver::borrow).find(|own| own.lane == self.parts.id.class.as_str())
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        self.parts.filter.wants(event)
            && self.parts.replay.as_ref().is_none_or(|replay| replay.filter.wants(event))
    }

    /// Deliveries under way at once.
    pub(super) fn share(&self) -> usize {
        let (concurrency, quick) = (self.parts.concurrency, self.condition.quick);
        let Some(replay) = &self.parts.replay else {
            return policy::share(self.parts.id.class, concurrency, quick);
        };
        let live: usize = replay.live.iter().map(|lane| lane.borrow().in_flight).sum();
        let other = replay.in_flight.load(Relaxed).saturating_sub(self.carried.len());
        policy::replay_share(concurrency, quick, live + other)
    }

    /// A delivery of a replay started, or ended.
    pub(super) fn count_in_flight(&self, started: bool) {
        let Some(replay) = &self.parts.replay else { return };
        if started {
            replay.in_flight.fetch_add(1, Relaxed);
        } else {
            replay.in_flight.fetch_sub(1, Relaxed);
        }
    }

    /// Whether the handler's own lanes need it for themselves: their destination is unwell, or they lag.
    pub(super) fn gives_way(&self) -> bool {
        self.parts
            .replay
            .as_ref()
            .is_some_and(|replay| replay.live.iter().any(|lane| Waits::for_live(&lane.borrow()).is_some()))
    }

    pub(super) fn decided(&self) -> Decided {
        let Some(id) = self.parts.id.replay else { return Decided::Running };
        match self.replays.borrow().get(&id).map(|Replay { state, .. }| state) {
            Some(ReplayState::Running) => Decided::Running,
            Some(ReplayState::Paused) => Decided::Paused,
            Some(ReplayState::Done | ReplayState::Cancelled) | None => Decided::Ended,
        }
    }

    /// Whether everything up to its end is delivered, not wanted, or dead.
    pub(super) fn is_finished(&self) -> bool {
        self.parts.replay.is_some()
            && self.window.read_to() >= self.end()
            && self.window.len() == 0
            && self.aside.len() == 0
            && self.carried.is_empty()
    }
}
