//! Progress of every handler that the journal knows, configured or not.

use std::sync::Arc;

use super::{Error, JournalOpenError};
use crate::event::Class;

/// The progress of one handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerPlace {
    pub handler: Arc<str>,
    /// True if the configuration of the running receiver names the handler; always false if no receiver runs.
    pub configured: bool,
    /// The lanes of the handler, without those of its replays.
    pub lanes: Vec<LanePlace>,
}

/// The progress of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanePlace {
    /// The class of its events.
    pub class: Class,
    /// The lane is done with every event up to this seq. A lane is done with an event that was delivered, filtered out,
    /// set aside or skipped, or that became a dead letter. Events before the handler's start count as done.
    pub cursor: u64,
    /// Number of stored events of both classes after the cursor.
    pub lag: u64,
    /// Number of stored events of both classes up to the cursor.
    pub before: u64,
    pub set_aside: u64,
}

impl HandlerPlace {
    /// Number of stored events after the cursor of the lane that is furthest behind, plus the set-aside events of each
    /// of the two lanes.
    pub fn undelivered(&self) -> u64 {
        let lag = self.lanes.iter().map(|lane| lane.lag).max().unwrap_or_default();
        lag + self.lanes.iter().map(|lane| lane.set_aside).sum::<u64>()
    }
}

/// Why renaming a handler failed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    #[error(transparent)]
    Refused(#[from] RenameRefusal),
    #[error(transparent)]
    Open(#[from] JournalOpenError),
    #[error(transparent)]
    Journal(#[from] Error),
}

/// Why renaming a handler is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameRefusal {
    /// The journal does not know the old name.
    #[error("the journal has no handler with the old name")]
    Unknown,
    /// The two names are equal.
    #[error("the old and the new name are the same")]
    Same,
    /// The old name is still configured.
    #[error("the old name is still configured: rename or remove its section in the configuration first")]
    Configured,
    /// The new name is configured in this process.
    #[error("a handler with the new name is running: stop the receiver, then rename with --journal FILE")]
    AtWork,
    /// The new name already has delivery state. A rename would replace its cursor by that of the old name. If the
    /// cursor of the old name is higher, the events between the two would be skipped.
    #[error(
        "the new name has delivery state of its own: use `bikhook replay` to deliver the missing events to it"
    )]
    Progressed,
}
