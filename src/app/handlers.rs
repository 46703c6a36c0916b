//! Enrols handlers in the journal before intake opens, and starts their lanes after that.

use std::{collections::HashSet, sync::Arc};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{Error, LANES_GRACE};
use crate::{
    config::HandlerConfig,
    dispatch::{self, Desk, Lane, LaneParts, Owner, Pace, Replayer},
    event::Class,
    handler::{Deferred, Handler},
    journal::{Enrolment, Journal, LaneId, LanePlace},
    metrics::Metrics,
};

/// Stores the cursors of new handlers. Logs where each new handler begins, and how many events a handler that is no
/// longer configured has not delivered.
pub(super) async fn enrol(handlers: &[HandlerConfig], journal: &Arc<dyn Journal>) -> Result<(), Error> {
    let known: HashSet<Arc<str>> = journal.handlers().await?.into_iter().map(|place| place.handler).collect();
    for HandlerConfig { name, .. } in handlers.iter().filter(|handler| handler.start.is_some()) {
        if known.contains(name) {
            tracing::info!(
                handler = &**name,
                "`start` ignored: the journal already has this handler's cursors; \
                 `bikhook replay --handler {name} --since TIME` delivers stored events"
            );
        }
    }
    let enrolments = handlers.iter().map(|handler| Enrolment {
        handler: Arc::clone(&handler.name),
        start: handler.start,
        dead_letters: handler.dead_letters,
    });
    journal.enrol(enrolments.collect()).await?;
    for place in journal.handlers().await? {
        let handler = &*place.handler;
        if !place.configured {
            tracing::warn!(
                handler,
                undelivered = place.undelivered(),
                "handler is no longer configured: its events are not delivered, and retention does not keep them; \
                 `bikhook handlers rename {handler} NEW` continues it under another name"
            );
        } else if !known.contains(&place.handler) {
            let Some(LanePlace { cursor, before, .. }) = place.lanes.first() else { continue };
            tracing::info!(handler, begins_after = cursor, stored_before = before, "handler added");
            if *before > 0 {
                tracing::info!(
                    handler,
                    "handler does not get the events stored before its start; \
                     `bikhook replay --handler {handler} --since TIME` delivers them"
                );
            }
        }
    }
    Ok(())
}

/// Starts the lanes of every handler. Each lane opens its handler itself.
pub(super) async fn start_lanes(
    handlers: Vec<HandlerConfig>,
    journal: &Arc<dyn Journal>,
    metrics: &Arc<Metrics>,
    stop: &watch::Receiver<bool>,
    lanes: &mut JoinSet<()>,
) -> Result<(Desk, Arc<Replayer>), Error> {
    let mut desk = Desk::default();
    let mut owners = Vec::new();
    for handler in handlers {
        let HandlerConfig { name, kind, opener, destination, filter, mask, dispatch: settings, .. } = handler;
        let (destination, mask): (Arc<str>, _) = (destination.into(), Arc::new(mask));
        let opened_late =
            Deferred::new(Arc::clone(&name), kind.name, Arc::clone(&destination), opener, *settings.timeout);
        let handler: Arc<dyn Handler> = Arc::new(opened_late);
        let pace = settings.rate.map(|rate| Arc::new(Pace::new(rate)));
        // A batch holds at most the events of one second at `rate`, so that a customer's message waits at most a
        // second for its turn.
        let rate = settings.rate.map_or(usize::MAX, |rate| usize::try_from(rate.get()).unwrap_or(usize::MAX));
        let batch = settings.batch.unwrap_or(kind.batch).min(rate);
        let concurrency = settings.concurrency.unwrap_or(kind.concurrency);
        tracing::info!(
            handler = &*name,
            kind = kind.name,
            destination = &*destination,
            batch,
            concurrency,
            "handler started"
        );
        let slots = Arc::new(Semaphore::new(concurrency));
        let of_class = |class| LaneParts {
            id: LaneId::live(Arc::clone(&name), class),
            kind: kind.name,
            destination: Arc::clone(&destination),
            handler: Arc::clone(&handler),
            filter: filter.clone(),
            mask: Arc::clone(&mask),
            settings: dispatch::Settings::clone(&settings),
            batch,
            concurrency,
            slots: Arc::clone(&slots),
            paces: pace.iter().cloned().collect(),
            journal: Arc::clone(journal),
            metrics: Arc::clone(metrics),
            replay: None,
        };
        let mut live = Vec::new();
        for class in Class::ALL {
            let lane = Lane::restore(of_class(class)).await?;
            live.push(lane.status());
            let control = desk.take_up(&lane);
            let run = lane.run(stop.clone(), control, LANES_GRACE);
            lanes.spawn(async move {
                run.await;
            });
        }
        owners.push(Owner { parts: of_class(Class::Other), live });
    }
    let replayer = Arc::new(Replayer::new(Arc::clone(journal), owners));
    lanes.spawn(Arc::clone(&replayer).run(stop.clone(), LANES_GRACE));
    Ok((desk, replayer))
}
