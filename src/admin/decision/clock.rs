//! The operator's confirmation of the wall clock.

use crate::admin::{AdminState, error::RequestError};

/// Confirms that the wall clock is right. The receiver then trusts it again, and deletes events that are too old by
/// this clock. Returns `true` if the clock was in doubt, or if deletion by age waited for this confirmation.
pub(in crate::admin) async fn accept(shared: &AdminState) -> Result<bool, RequestError> {
    let accepted = shared.parts.journal.accept_clock().await?;
    if accepted {
        tracing::warn!(user = shared.user(), "wall clock accepted by an operator");
    }
    Ok(accepted)
}
