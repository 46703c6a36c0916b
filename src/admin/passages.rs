//! How an event stands with the handlers.

use std::sync::Arc;

use super::Shared;
use crate::{
    event::Event,
    journal::{Error, Passage},
};

impl Shared {
    /// How an event stands with each handler: with that of its lanes which the event goes through.
    ///
    /// # Errors
    /// Those of the journal.
    pub(super) async fn passages(&self, event: &Event) -> Result<Vec<Passage>, Error> {
        let mut passages = self.state.journal.passages(event.element.class(), event.seq).await?;
        // A handler that is gone has its place here only for what it got.
        let at_work: Vec<Arc<str>> = self.state.desk.status().into_iter().map(|lane| lane.handler).collect();
        passages.retain(|passage| passage.passed || at_work.contains(&passage.handler));
        Ok(passages)
    }
}
