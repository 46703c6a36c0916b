//! Why a replay delivers nothing now, as text for an operator.

use std::{fmt, sync::Arc};

use super::{
    policy,
    status::{LaneCondition, LaneStatus},
};
use crate::plural::counted;

/// The reason why a replay waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitReason {
    handler: Arc<str>,
    blocker: Blocker,
}

/// The cause of a replay's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocker {
    /// The filter of the replay is invalid.
    Filter,
    /// The replay with this id, to the same handler, goes first.
    Turn(i64),
    /// One of the handler's own lanes or of the replay's lanes is in this state, or the handler is not configured.
    Lane(LaneCondition),
    /// One of the handler's own lanes is this many events behind.
    Lag(u64),
}

impl WaitReason {
    /// Creates the reason why a replay to this handler waits.
    pub(super) fn new(handler: &Arc<str>, blocker: Blocker) -> Self {
        Self { handler: Arc::clone(handler), blocker }
    }

    /// Returns why a replay must wait for one of the handler's own lanes; `None` if it need not.
    pub(super) fn for_live(lane: &LaneStatus) -> Option<Self> {
        let blocker = match lane.state {
            // A lane is full when it has reached the limit for set-aside events. It still delivers other events,
            // perhaps for days, so it counts as running.
            LaneCondition::Running | LaneCondition::Full if lane.lag > policy::YIELD_LAG => {
                Blocker::Lag(lane.lag)
            }
            LaneCondition::Running | LaneCondition::Full => return None,
            state => Blocker::Lane(state),
        };
        Some(Self::new(&lane.handler, blocker))
    }

    /// A replay's lane must not overtake the handler's own lane of the same class. Returns the reason to wait if the
    /// replay's lane has caught up with that lane before the end of the replay.
    pub(super) fn for_own_to_pass(lane: &LaneStatus, own: &LaneStatus, upto: u64) -> Option<Self> {
        let waits = lane.lane == own.lane && lane.cursor >= own.cursor && lane.cursor < upto;
        waits.then(|| Self::new(&own.handler, Blocker::Lag(own.lag)))
    }

    /// Returns why one of the replay's lanes does not deliver. `None` for a stopped lane: it has delivered its events,
    /// or the replay or the process ends.
    pub(super) fn for_own(lane: &LaneStatus) -> Option<Self> {
        match lane.state {
            LaneCondition::Running | LaneCondition::Full | LaneCondition::Stopped => None,
            state => Some(Self::new(&lane.handler, Blocker::Lane(state))),
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handler, blocker } = self;
        match blocker {
            Blocker::Filter => write!(f, "its filter is invalid; cancel the replay"),
            Blocker::Turn(before) => write!(f, "replay {before} to handler {handler} goes first"),
            Blocker::Lag(lag) => {
                let events = counted(*lag, "event", "events");
                write!(f, "handler {handler} is {events} behind the newest event")
            }
            Blocker::Lane(LaneCondition::Paused) => write!(f, "handler {handler} is paused"),
            Blocker::Lane(LaneCondition::Waiting) => {
                write!(f, "the destination of handler {handler} is unwell")
            }
            Blocker::Lane(LaneCondition::Stuck) => {
                write!(f, "handler {handler} cannot read or write the journal")
            }
            Blocker::Lane(LaneCondition::NotConfigured) => {
                write!(f, "handler {handler} is not in this configuration")
            }
            Blocker::Lane(LaneCondition::Running | LaneCondition::Full | LaneCondition::Stopped) => {
                write!(f, "handler {handler} has stopped")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Class;

    fn lane(state: LaneCondition, lag: u64) -> LaneStatus {
        LaneStatus { state, lag, ..LaneStatus::new("crm".into(), "http", Class::Other) }
    }

    #[test]
    fn a_replay_says_what_it_waits_for() {
        let behind = "handler crm is 10001 events behind the newest event";
        for (state, lag, reason) in [
            (LaneCondition::Running, 10_000, None),
            (LaneCondition::Running, 10_001, Some(behind)),
            (LaneCondition::Full, 0, None),
            (LaneCondition::Paused, 20_000, Some("handler crm is paused")),
            (LaneCondition::Waiting, 0, Some("the destination of handler crm is unwell")),
            (LaneCondition::Stopped, 0, Some("handler crm has stopped")),
        ] {
            let waits = WaitReason::for_live(&lane(state, lag)).map(|waits| waits.to_string());
            assert_eq!(waits.as_deref(), reason, "{state:?}");
        }
        let at = |cursor| LaneStatus { cursor, ..lane(LaneCondition::Running, 7) };
        let passes = |cursor, upto| WaitReason::for_own_to_pass(&at(cursor), &at(100), upto);
        assert_eq!(passes(100, 101).unwrap().to_string(), "handler crm is 7 events behind the newest event");
        assert_eq!((passes(99, 101), passes(100, 100)), (None, None));
        let own = |state| WaitReason::for_own(&lane(state, 50_000)).is_some();
        let delivers = [LaneCondition::Running, LaneCondition::Full, LaneCondition::Stopped];
        assert_eq!((delivers.map(own), own(LaneCondition::Waiting)), ([false; 3], true));
    }
}
