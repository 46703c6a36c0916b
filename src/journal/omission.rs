//! Events that a lane is done with and that were not delivered.

use std::sync::Arc;

use crate::{clock::Timestamp, names::names};

/// A range of events that a handler's own lane is done with and did not deliver. The range may also contain events that
/// the handler's filter does not select, and events of the other lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omission {
    /// The seq of the first event.
    pub first: u64,
    /// The seq of the last event.
    pub last: u64,
    pub cause: OmissionCause,
    pub at: Timestamp,
    /// The user who skipped the events or dropped the dead letter; empty if no user did.
    pub by: Arc<str>,
}

names! {
    /// Why events were not delivered.
    pub enum OmissionCause {
        /// They are older than the handler's start.
        Start = "start",
        /// An operator skipped them.
        Skipped = "skipped",
        /// An operator dropped their dead letter.
        Dropped = "dropped",
        /// Retention deleted their dead letter.
        Expired = "expired",
    }
}
