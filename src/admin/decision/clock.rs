//! The operator's confirmation of the wall clock.

use crate::admin::{Shared, fault::Fault};

/// Accepts the wall clock and lets deletion catch up. Returns whether the clock was in doubt.
pub(in crate::admin) async fn accept(shared: &Shared) -> Result<bool, Fault> {
    let accepted = shared.state.journal.accept_clock().await?;
    if accepted {
        tracing::warn!(user = shared.user(), "wall clock accepted by an operator");
    }
    Ok(accepted)
}
