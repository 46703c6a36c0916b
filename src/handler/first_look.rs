//! What a first look at a destination comes to, at the start.

use tracing::warn;

use super::{Failure, Kind, OpenError};

/// A destination that is away is waited for, and the log says so; whatever else is wrong ends the start.
///
/// # Errors
/// What is wrong, as an [`OpenError`].
pub(super) fn first_look<K: Kind>(handler: &str, looked: Result<(), Failure>) -> Result<(), OpenError> {
    match looked {
        Ok(()) => Ok(()),
        Err(Failure::Retry { class, error, .. }) => {
            warn!(handler, kind = K::NAME, class, "{error}: deliveries wait until it is back");
            Ok(())
        }
        Err(failure) => {
            Err(OpenError { handler: handler.to_owned(), kind: K::NAME, what: failure.to_string() })
        }
    }
}
