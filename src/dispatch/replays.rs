//! Runs the replays that are stored in the journal: each one gets its lanes here. The replays of one handler run one
//! after the other.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

use super::{
    Ended, HandlerContext, Lane, LaneCondition, LaneStatus, RateLimit, ReplayPart, WaitReason,
    wait_reason::Blocker,
};
use crate::{
    event::Class,
    handler::{Filter, FilterSettings},
    journal::{self, Journal, LaneId, NewReplay, Replay, ReplayState},
};

/// Runs replays and shows their progress.
pub struct Replayer {
    journal: Arc<dyn Journal>,
    handlers: BTreeMap<Arc<str>, ReplayHandler>,
    /// The replays that this process has started.
    started: Mutex<BTreeMap<i64, StartedReplay>>,
}

#[derive(Default)]
struct StartedReplay {
    /// The status of its lanes; none if the filter of the replay is invalid.
    lanes: Vec<watch::Receiver<LaneStatus>>,
    /// The progress when this process started the replay; an earlier process may have delivered a part. `None` until
    /// the events are counted.
    counted: Option<ReplayProgress>,
}

/// A handler whose events can be replayed.
pub struct ReplayHandler {
    /// The handler, and the state that its own lanes and the lanes of its replays share.
    pub context: Arc<HandlerContext>,
    /// The status of the handler's own lanes.
    pub live: Vec<watch::Receiver<LaneStatus>>,
}

/// The events that a replay would deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Number of events that the filters of the handler and of the replay both select.
    pub events: u64,
    /// The lowest seq of these events; `None` if there are none.
    pub first: Option<u64>,
    /// The highest seq of these events; `None` if there are none.
    pub last: Option<u64>,
}

/// The progress of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Number of events that the replay is done with. They were delivered or set aside, became dead letters, or are
    /// left to the handler's own lane, which has set them aside.
    pub done: u64,
    /// Number of events that the filters of the handler and of the replay both select.
    pub events: u64,
}

/// Maximum number of events per page, when the events of a replay are counted.
const PAGE: usize = 1_000;
/// If the end of a replay cannot be stored, for example because the journal's disk is full, the next try follows after
/// this time.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// If the lanes of a replay cannot be read, the next try to start the replay follows after this time.
const START_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Replayer {
    /// Creates a replayer for these handlers.
    pub fn new(journal: Arc<dyn Journal>, handlers: Vec<ReplayHandler>) -> Self {
        let by_name = |handler: ReplayHandler| (Arc::clone(&handler.context.spec.name), handler);
        let handlers = handlers.into_iter().map(by_name).collect();
        Self { journal, handlers, started: Mutex::default() }
    }

    fn started(&self) -> MutexGuard<'_, BTreeMap<i64, StartedReplay>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of the lanes of a replay; empty if this process has not started it.
    pub fn lanes(&self, id: i64) -> Vec<LaneStatus> {
        let started = self.started();
        let lanes = started.get(&id).into_iter().flat_map(|replay| &replay.lanes);
        lanes.map(|lane| lane.borrow().clone()).collect()
    }

    /// The progress of a replay; `None` if this process has not started it, or has not counted its events yet.
    pub fn progress(&self, id: i64) -> Option<ReplayProgress> {
        let counted = self.started().get(&id)?.counted?;
        let passed: u64 = self.lanes(id).iter().map(|lane| lane.passed).sum();
        Some(ReplayProgress { done: (counted.done + passed).min(counted.events), ..counted })
    }

    /// Counts the events of a replay. `cursors`: the cursors of the replay's lanes at their start.
    async fn count(self: Arc<Self>, id: i64, new: NewReplay, filter: Filter, cursors: BTreeMap<Class, u64>) {
        let Some(ReplayHandler { context, .. }) = self.handlers.get(&new.handler) else { return };
        let mut progress = ReplayProgress::default();
        let counted = visit(&*self.journal, &new, [&context.spec.filter, &filter], |class, seq| {
            progress.events += 1;
            progress.done += u64::from(seq <= cursors[&class]);
        });
        if let Err(error) = counted.await {
            tracing::warn!(
                replay = id,
                error = error.class(),
                "events of a replay cannot be counted; its progress is not shown"
            );
        } else if let Some(started) = self.started().get_mut(&id) {
            started.counted = Some(progress);
        }
    }

    /// Returns why a running replay delivers nothing now; `None` if it delivers, is paused, or has ended.
    pub fn waits(&self, id: i64, replay: &Replay) -> Option<WaitReason> {
        if replay.state != ReplayState::Running {
            return None;
        }
        self.wait_reason(Some(id), &replay.request)
    }

    /// Returns why a replay would deliver nothing if it were started now; `None` if it would deliver.
    pub fn would_wait(&self, new: &NewReplay) -> Option<WaitReason> {
        self.wait_reason(None, new)
    }

    /// Returns why a replay delivers nothing now. `id` is `None` for a replay that does not exist yet.
    fn wait_reason(&self, id: Option<i64>, request: &NewReplay) -> Option<WaitReason> {
        let NewReplay { handler, upto, .. } = request;
        let Some(ReplayHandler { live, .. }) = self.handlers.get(handler) else {
            return Some(WaitReason::new(handler, Blocker::Lane(LaneCondition::NotConfigured)));
        };
        let own = id.map(|id| self.lanes(id)).unwrap_or_default();
        let turn = || {
            let first = goes_first(&self.journal.replays().borrow(), handler)?;
            id.is_none_or(|id| first < id).then(|| WaitReason::new(handler, Blocker::Turn(first)))
        };
        let by_filter = || {
            let is_invalid = self.started().get(&id?)?.lanes.is_empty();
            is_invalid.then(|| WaitReason::new(handler, Blocker::Filter))
        };
        let by_live = || live.iter().find_map(|lane| WaitReason::for_live(&lane.borrow()));
        let pass = || {
            let mut lanes = own.iter().flat_map(|lane| live.iter().map(move |live| (lane, live)));
            lanes.find_map(|(lane, live)| WaitReason::for_own_to_pass(lane, &live.borrow(), *upto))
        };
        turn()
            .or_else(by_filter)
            .or_else(by_live)
            .or_else(|| own.iter().find_map(WaitReason::for_own))
            .or_else(pass)
    }

    /// Counts the events that a replay would deliver, by reading all of them. Returns `None` if the handler is not
    /// configured.
    ///
    /// # Errors
    /// Returns errors of the journal.
    pub async fn dry_run(&self, new: &NewReplay, filter: &Filter) -> Result<Option<Matches>, journal::Error> {
        let Some(ReplayHandler { context, .. }) = self.handlers.get(&new.handler) else { return Ok(None) };
        let mut matches = Matches::default();
        let add = |_, seq| {
            matches.events += 1;
            matches.first = Some(matches.first.map_or(seq, |first| first.min(seq)));
            matches.last = matches.last.max(Some(seq));
        };
        visit(&*self.journal, new, [&context.spec.filter, filter], add).await?;
        Ok(Some(matches))
    }

    /// Runs until `shutdown` is true, then gives deliveries in flight up to `grace` to end.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>, grace: Duration) {
        let mut replays = self.journal.replays();
        let mut lanes: JoinSet<(i64, Ended)> = JoinSet::new();
        let mut counts: JoinSet<()> = JoinSet::new();
        let mut half_finished = HalfFinished::default();
        while !*shutdown.borrow_and_update() {
            let known = Arc::clone(&replays.borrow_and_update());
            let mut all_started = true;
            for (id, replay) in self.next(&known) {
                let Some(filter) = self.filter_of(id, &replay) else { continue };
                match self.start(id, &replay, &filter, &mut lanes, &shutdown, grace).await {
                    Ok(cursors) => {
                        counts.spawn(Arc::clone(&self).count(id, replay.request, filter, cursors));
                    }
                    Err(error) => {
                        tracing::error!(
                            replay = id,
                            error = error.class(),
                            "replay could not start; it is tried again"
                        );
                        all_started = false;
                    }
                }
            }
            tokio::select! {
                _ = replays.changed() => {}
                _ = shutdown.changed() => {}
                Some(ended) = lanes.join_next() => self.lane_ended(ended, &mut half_finished).await,
                Some(counted) = counts.join_next() => if let Err(error) = counted {
                    tracing::error!(%error, "events of a replay could not be counted; its progress is not shown");
                },
                () = tokio::time::sleep(START_AGAIN_AFTER), if !all_started => {}
            }
        }
        while let Some(ended) = lanes.join_next().await {
            self.lane_ended(ended, &mut half_finished).await;
        }
    }

    /// The replays that may start: for each handler the oldest one that has not ended, unless it was already started.
    fn next(&self, known: &BTreeMap<i64, Replay>) -> Vec<(i64, Replay)> {
        let started = self.started();
        let first = self.handlers.keys().filter_map(|handler| goes_first(known, handler));
        first.filter(|id| !started.contains_key(id)).map(|id| (id, known[&id].clone())).collect()
    }

    /// Reads the filter of a replay. If the filter is invalid, logs an ERROR and records the replay as started, without
    /// lanes. So the error is logged only once.
    fn filter_of(&self, id: i64, replay: &Replay) -> Option<Filter> {
        let filter = read_filter(&replay.request.filter);
        if filter.is_none() {
            tracing::error!(
                replay = id,
                handler = &*replay.request.handler,
                "replay cannot start, because its filter is invalid; cancel it"
            );
            self.started().insert(id, StartedReplay::default());
        }
        filter
    }

    async fn start(
        &self,
        id: i64,
        replay: &Replay,
        filter: &Filter,
        lanes: &mut JoinSet<(i64, Ended)>,
        shutdown: &watch::Receiver<bool>,
        grace: Duration,
    ) -> Result<BTreeMap<Class, u64>, journal::Error> {
        let NewReplay { handler, upto, rate, .. } = &replay.request;
        let Some(ReplayHandler { context, live }) = self.handlers.get(handler) else {
            return Ok(BTreeMap::new());
        };
        let mut part = ReplayPart::new(*upto, filter.clone(), live.clone());
        part.rate_limit = rate.map(|rate| Arc::new(RateLimit::new(rate)));
        let mut started = StartedReplay::default();
        let (mut both, mut cursors) = (Vec::new(), BTreeMap::new());
        for class in Class::ALL {
            let lane_id = LaneId { handler: Arc::clone(handler), class, replay: Some(id) };
            let lane = Lane::restore(lane_id, Arc::clone(context), Some(part.clone())).await?;
            cursors.insert(class, lane.status().borrow().cursor);
            started.lanes.push(lane.status());
            both.push(lane);
        }
        tracing::info!(replay = id, handler = &**handler, "replay started");
        self.started().insert(id, started);
        for lane in both {
            // Nobody sends commands to a replay, so the sender is dropped.
            let (_commands, received) = mpsc::channel(1);
            let shutdown = shutdown.clone();
            lanes.spawn(async move { (id, lane.run(shutdown, received, grace).await) });
        }
        Ok(cursors)
    }

    /// Records that a lane has ended. Once both lanes have finished, the replay is done.
    async fn lane_ended(&self, ended: Result<(i64, Ended), JoinError>, half_finished: &mut HalfFinished) {
        let (id, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if !half_finished.lane_ended(id, ended) {
            return;
        }
        match self.journal.change_replay(id, ReplayState::Done).await {
            Ok(true) => tracing::info!(replay = id, "replay finished"),
            // Somebody cancelled the replay.
            Ok(false) => tracing::info!(replay = id, "replay cancelled"),
            Err(error) => {
                tracing::error!(
                    replay = id,
                    error = error.class(),
                    "end of a replay could not be stored; it is tried again"
                );
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
                // The replay starts again. Its lanes find nothing to do and end.
                self.started().remove(&id);
            }
        }
    }
}

/// Calls `each` with the class and the seq of every event of a replay that both `filters` select: the handler's and the
/// replay's.
///
/// # Errors
/// Returns errors of the journal.
async fn visit(
    journal: &dyn Journal,
    replay: &NewReplay,
    filters: [&Filter; 2],
    mut each: impl FnMut(Class, u64),
) -> Result<(), journal::Error> {
    for class in Class::ALL {
        let mut after = replay.after;
        while after < replay.upto {
            let claim = journal.claim(class, after, PAGE).await?;
            let within = claim.events.iter().filter(|event| event.seq <= replay.upto);
            let wanted = within.filter(|event| filters.iter().all(|filter| filter.wants(event)));
            wanted.for_each(|event| each(class, event.seq));
            if claim.through <= after {
                break;
            }
            after = claim.through;
        }
    }
    Ok(())
}

/// The id of the replay that delivers to a handler now or next: the oldest one that has not ended.
fn goes_first(known: &BTreeMap<i64, Replay>, handler: &str) -> Option<i64> {
    let mut active = known.iter().filter(|(_, replay)| !replay.state.has_ended());
    active.find(|(_, replay)| *replay.request.handler == *handler).map(|(id, _)| *id)
}

/// The replays of which one lane has finished.
#[derive(Default)]
struct HalfFinished(HashSet<i64>);

impl HalfFinished {
    /// Returns whether a replay has finished, now that one of its lanes has ended. Both lanes must finish; a lane
    /// that was stopped does not count.
    fn lane_ended(&mut self, id: i64, ended: Ended) -> bool {
        match ended {
            Ended::Stopped => false,
            Ended::Finished if self.0.remove(&id) => true,
            Ended::Finished => {
                self.0.insert(id);
                false
            }
        }
    }
}

/// Reads the filter of a replay from its JSON in the journal; `None` if it is invalid.
fn read_filter(json: &str) -> Option<Filter> {
    let settings: FilterSettings = serde_json::from_str(json).ok()?;
    Filter::new(&settings).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_filter_that_is_no_json_of_a_filter_or_has_a_wrong_glob_is_invalid() {
        let is_valid = |json: &str| read_filter(json).is_some();
        assert!(is_valid("{}") && is_valid(r#"{"events":["a*"]}"#));
        for json in ["", "7", r#"{"events":"a*"}"#, r#"{"events":["[a"]}"#] {
            assert!(!is_valid(json), "{json}");
        }
    }

    #[test]
    fn the_oldest_replay_of_a_handler_that_has_not_ended_goes_first() {
        let replay = |handler: &str, state| {
            let (filter, rate) = ("{}".to_owned(), None);
            let request = NewReplay { handler: handler.into(), after: 0, upto: 9, filter, rate };
            Replay { request, state, created_at: Timestamp::default(), ended_at: None }
        };
        let known = BTreeMap::from([
            (1, replay("crm", ReplayState::Done)),
            (2, replay("log", ReplayState::Running)),
            (3, replay("crm", ReplayState::Paused)),
            (4, replay("crm", ReplayState::Running)),
            (5, replay("lake", ReplayState::Cancelled)),
        ]);
        assert_eq!(
            ["crm", "log", "lake"].map(|handler| goes_first(&known, handler)),
            [Some(3), Some(2), None]
        );
    }

    #[test]
    fn a_replay_finishes_once_both_its_lanes_have_finished() {
        let mut half_finished = HalfFinished::default();
        assert!(!half_finished.lane_ended(1, Ended::Finished));
        assert!(!half_finished.lane_ended(2, Ended::Stopped), "a stopped lane does not finish a replay");
        assert!(!half_finished.lane_ended(2, Ended::Finished), "although the other lane finished");
        assert!(half_finished.lane_ended(1, Ended::Finished));
        // The replay started again, because its end could not be stored.
        assert!(!half_finished.lane_ended(1, Ended::Finished));
        assert!(half_finished.lane_ended(1, Ended::Finished));
    }
}
