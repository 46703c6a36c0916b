//! Enrols handlers in the journal before intake opens.

use std::{collections::HashSet, sync::Arc};

use super::Error;
use crate::journal::{Enrolment, Journal, LanePlace};

/// Stores the cursors of new handlers. Logs where each new handler begins. Logs that `start` of a known handler is
/// ignored. Logs the number of undelivered events of each handler that is no longer configured.
pub(super) async fn enrol(handlers: Vec<Enrolment>, journal: &Arc<dyn Journal>) -> Result<(), Error> {
    let known: HashSet<Arc<str>> = journal.handlers().await?.into_iter().map(|place| place.handler).collect();
    let known_again = handlers.iter().filter(|new| new.start.is_some() && known.contains(&new.handler));
    for Enrolment { handler: name, .. } in known_again {
        tracing::info!(
            handler = &**name,
            "`start` ignored: the journal already has this handler's cursors; \
             `bikhook replay --handler {name} --since TIME` delivers stored events"
        );
    }
    journal.enrol(handlers).await?;
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
