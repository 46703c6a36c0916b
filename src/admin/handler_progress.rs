//! The state of an event in the lanes of all handlers.

use std::sync::Arc;

use super::AdminState;
use crate::{
    event::Event,
    journal::{DeliveryState, Error, HandlerProgress},
};

impl AdminState {
    /// The state of an event in each handler, in the lane of the event's class. If the current filter of the handler
    /// does not select the event, [`DeliveryState::NotWanted`] replaces the states delivered, waiting and skipped. A
    /// handler that is no longer configured is listed only if its lane is done with the event.
    ///
    /// # Errors
    /// Returns the errors of the journal.
    pub(super) async fn handler_progress(&self, event: &Event) -> Result<Vec<HandlerProgress>, Error> {
        let mut progress = self.parts.journal.handler_progress(event.element.class(), event.seq).await?;
        let running: Vec<Arc<str>> = self.parts.desk.status().into_iter().map(|lane| lane.handler).collect();
        progress.retain(|lane| lane.passed || running.contains(&lane.handler));
        for lane in &mut progress {
            let by_filter = matches!(
                lane.state,
                DeliveryState::Delivered | DeliveryState::Waiting | DeliveryState::Skipped
            );
            if by_filter && self.parts.desk.wants(&lane.handler, event) == Some(false) {
                (lane.state, lane.by, lane.at) = (DeliveryState::NotWanted, None, None);
            }
        }
        Ok(progress)
    }
}
