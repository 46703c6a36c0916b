//! The operator's confirmation of the wall clock.

use crate::admin::{AdminState, error::RequestError};

/// Accepts the wall clock and lets deletion catch up. Returns whether the clock was in doubt.
pub(in crate::admin) async fn accept(shared: &AdminState) -> Result<bool, RequestError> {
    let accepted = shared.parts.journal.accept_clock().await?;
    if accepted {
        tracing::warn!(user = shared.user(), "wall clock accepted by an operator");
    }
    Ok(accepted)
}
