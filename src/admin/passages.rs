//! The state of an event in the lanes of all handlers.

use std::sync::Arc;

use super::Shared;
use crate::{
    event::Event,
    journal::{Error, HandlerProgress},
};

impl Shared {
    /// The state of an event in each handler: in the lane that the event goes through.
    ///
    /// # Errors
    /// Returns the errors of the journal.
    pub(super) async fn passages(&self, event: &Event) -> Result<Vec<HandlerProgress>, Error> {
        let mut passages = self.state.journal.handler_progress(event.element.class(), event.seq).await?;
        // A handler that no longer runs is listed only if the event passed its lane.
        let at_work: Vec<Arc<str>> = self.state.desk.status().into_iter().map(|lane| lane.handler).collect();
        passages.retain(|passage| passage.passed || at_work.contains(&passage.handler));
        Ok(passages)
    }
}
