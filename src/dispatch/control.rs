//! Starts the lanes of every handler. Lets an operator read their status and send commands to them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Command, HandlerContext, HandlerSpec, Lane, LaneStatus, ReplayHandler, Replayer};
use crate::{
    clock::Clock,
    event::Class,
    journal::{self, Journal, LaneId},
    metrics::Metrics,
};

/// The lanes of every handler, as the admin side sees them.
#[derive(Default)]
pub struct DispatchControl(Vec<LaneControl>);

struct LaneControl {
    status: watch::Receiver<LaneStatus>,
    commands: mpsc::Sender<Command>,
    clock: Clock,
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
        self.0.push(LaneControl { status: lane.status(), commands, clock: lane.clock() });
        received
    }

    /// The status of every lane, in the order of the configuration.
    pub fn status(&self) -> Vec<LaneStatus> {
        self.0.iter().map(|lane| lane.status.borrow().clone().aged(lane.clock.now())).collect()
    }

    /// Makes both lanes of a handler skip every event below `seq`. Returns how many lanes got the command.
    pub async fn skip(&self, handler: &str, seq: u64) -> usize {
        self.send(handler, |_| Some(Command::SkipTo(seq))).await
    }

    /// Makes a handler immediately retry all events that wait for a retry. Returns how many lanes got the command.
    pub async fn retry(&self, handler: &str) -> usize {
        self.send(handler, |_| Some(Command::Retry)).await
    }

    /// Makes each lane of a handler turn events into dead letters until the lane's next success. This concerns every
    /// event up to the seq `upto` that fails with the class in [`LaneStatus::refused`]. Returns these classes of all
    /// lanes of the handler.
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
