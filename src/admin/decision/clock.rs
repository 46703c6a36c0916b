//! The operator's confirmation of the wall clock.

use crate::admin::{AdminState, error::RequestError};

/// Accepts the wall clock: the clock is trusted again, and deletion by age catches up. Returns `true` if the clock was
/// in doubt, or if deletion by age waited for this confirmation.
pub(in crate::admin) async fn accept(shared: &AdminState) -> Result<bool, RequestError> {
    let accepted = shared.parts.journal.accept_clock().await?;
    if accepted {
        tracing::warn!(user = shared.user(), "wall clock accepted by an operator");
    }
    Ok(accepted)
}
