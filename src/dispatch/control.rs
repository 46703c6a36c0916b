//! Starts the lanes of every handler. Lets an operator read their status and send commands to them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{Command, HandlerContext, HandlerSpec, Lane, LaneSkip, LaneStatus, ReplayHandler, Replayer};
use crate::{
    clock::Clock,
    event::{Class, Event},
    journal::{self, Journal, LaneId},
    metrics::Metrics,
};

/// Maximum number of events per page, when skipped events are counted.
const PAGE: usize = 1_000;

/// The lanes of every handler, as the admin side sees them.
#[derive(Default)]
pub struct DispatchControl(Vec<LaneControl>);

struct LaneControl {
    status: watch::Receiver<LaneStatus>,
    commands: mpsc::Sender<Command>,
    class: Class,
    context: Arc<HandlerContext>,
}

/// The answer of [`DispatchControl::skip`]: the lanes of the handler, with counts of the events to skip. If `skip` was
/// called without `by`, the lanes only counted these events, and skipped none.
pub struct LaneSkips<'a> {
    before: u64,
    lanes: Vec<(&'a LaneControl, LaneSkip)>,
}

impl DispatchControl {
    /// Starts the lanes of these handlers, and the replays. Each lane opens its handler itself. Once `shutdown` is
    /// true, the tasks wait at most `grace` for the deliveries in flight.
    ///
    /// # Errors
    /// Returns errors of the journal. Tasks that were started before an error keep running.
    pub async fn start(
        handlers: Vec<HandlerSpec>,
        journal: &Arc<dyn Journal>,
        metrics: &Arc<Metrics>,
        tasks: &mut JoinSet<()>,
        shutdown: &watch::Receiver<bool>,
        grace: Duration,
    ) -> Result<(Self, Arc<Replayer>), journal::Error> {
        let mut control = Self::default();
        let mut replay_handlers = Vec::new();
        for spec in handlers {
            let context = Arc::new(HandlerContext::new(spec, Arc::clone(journal), Arc::clone(metrics)));
            let spec = &context.spec;
            tracing::info!(
                handler = &*spec.name,
                kind = spec.kind,
                destination = &*spec.destination,
                batch = spec.batch,
                concurrency = spec.concurrency,
                "handler started"
            );
            let mut live = Vec::new();
            for class in Class::ALL {
                let id = LaneId::live(Arc::clone(&spec.name), class);
                let lane = Lane::restore(id, Arc::clone(&context), None).await?;
                live.push(lane.status());
                let commands = control.add(&lane);
                let run = lane.run(shutdown.clone(), commands, grace);
                tasks.spawn(async move {
                    run.await;
                });
            }
            replay_handlers.push(ReplayHandler { context, live });
        }
        let replayer = Arc::new(Replayer::new(Arc::clone(journal), replay_handlers));
        tasks.spawn(Arc::clone(&replayer).run(shutdown.clone(), grace));
        Ok((control, replayer))
    }

    /// Adds a lane. Returns the receiver of its commands, for [`Lane::run`].
    pub fn add(&mut self, lane: &Lane) -> mpsc::Receiver<Command> {
        let (commands, received) = mpsc::channel(8);
        self.0.push(LaneControl {
            status: lane.status(),
            commands,
            class: lane.class(),
            context: lane.context(),
        });
        received
    }

    /// The status of every lane, in the order of the configuration.
    pub fn status(&self) -> Vec<LaneStatus> {
        self.0.iter().map(|lane| lane.status.borrow().clone().aged(lane.clock().now())).collect()
    }

    /// Returns whether the filter of a handler selects an event; `None` if the handler is not configured.
    pub fn wants(&self, handler: &str, event: &Event) -> Option<bool> {
        let lane = self.0.iter().find(|lane| *lane.context.spec.name == *handler)?;
        Some(lane.context.spec.filter.wants(event))
    }

    /// Makes both lanes of a handler skip every undelivered event below `before`, and records who decided it. Without
    /// `by`, nothing is skipped, and [`LaneSkips::count`] tells how many events would be. This function reads no event,
    /// so even unreadable events can be skipped.
    pub async fn skip(&self, handler: &str, before: u64, by: Option<&Arc<str>>) -> LaneSkips<'_> {
        // Every lane gets the command before the answer of the first one is awaited.
        let mut asked = Vec::new();
        for lane in self.0.iter().filter(|lane| *lane.context.spec.name == *handler) {
            let (reply, answer) = oneshot::channel();
            let command = Command::Skip { before, by: by.cloned(), reply };
            if lane.commands.send(command).await.is_ok() {
                asked.push((lane, answer));
            }
        }
        let mut lanes = Vec::new();
        for (lane, answer) in asked {
            // A lane that has ended does not answer.
            lanes.extend(answer.await.ok().map(|skip| (lane, skip)));
        }
        LaneSkips { before, lanes }
    }

    /// Makes a handler immediately retry all events that wait for a retry. Returns how many lanes got the command.
    pub async fn retry(&self, handler: &str) -> usize {
        self.send(handler, |_| Some(Command::Retry)).await
    }

    /// Makes each lane of a handler turn every event up to the seq `upto` into a dead letter, if the event fails with
    /// the failure class in the lane's [`LaneStatus::refused`]. This ends with the lane's next success. Returns these
    /// failure classes of all lanes of the handler.
    pub async fn believe(&self, handler: &str, upto: u64) -> Vec<String> {
        let lanes = self.0.iter().map(|lane| lane.status.borrow());
        let classes: BTreeSet<String> =
            lanes.filter(|lane| *lane.handler == *handler).filter_map(|lane| lane.refused.clone()).collect();
        let believe = |class| Command::Believe { upto, class };
        self.send(handler, |lane| lane.refused.clone().map(believe)).await;
        classes.into_iter().collect()
    }

    async fn send(&self, handler: &str, command: impl Fn(&LaneStatus) -> Option<Command>) -> usize {
        let mut sent = 0;
        for lane in &self.0 {
            let command = Some(lane.status.borrow())
                .filter(|lane| *lane.handler == *handler)
                .and_then(|lane| command(&lane));
            if let Some(command) = command {
                // A lane that has ended is not counted.
                sent += usize::from(lane.commands.send(command).await.is_ok());
            }
        }
        sent
    }
}

impl LaneSkips<'_> {
    /// Number of lanes that answered; 0 if every lane has ended.
    pub const fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Number of events in flight. Such an event is skipped only if its delivery fails.
    pub fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|(_, skip)| skip.in_flight).sum()
    }

    /// Number of undelivered events that the handler's filter selects, without those in flight. It includes events that
    /// no lane has claimed yet. This function reads those events to count them. Any that retention has deleted by then
    /// are missing from the number.
    ///
    /// # Errors
    /// Returns errors of the journal. They do not undo the skip.
    pub async fn count(&self) -> Result<u64, journal::Error> {
        let mut events = 0;
        for (lane, skip) in &self.lanes {
            let unclaimed = lane.count(skip.read_to, self.before).await?;
            events += skip.events + unclaimed.saturating_sub(skip.settled);
        }
        Ok(events)
    }
}

impl LaneControl {
    fn clock(&self) -> &Clock {
        self.context.journal.clock()
    }

    /// The number of events after `after` and below `before` that the handler's filter selects.
    async fn count(&self, mut after: u64, before: u64) -> Result<u64, journal::Error> {
        let HandlerContext { spec, journal, .. } = &*self.context;
        let mut events = 0;
        while after + 1 < before {
            let claim = journal.claim(self.class, after, PAGE).await?;
            let within = claim.events.iter().filter(|event| event.seq < before);
            events += within.filter(|event| spec.filter.wants(event)).count() as u64;
            if claim.through <= after {
                break;
            }
            after = claim.through;
        }
        Ok(events)
    }
}
