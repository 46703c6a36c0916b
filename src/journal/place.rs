//! The places of handlers: how far each is that the journal knows, configured or not.

use std::sync::Arc;

use super::{Error, OpenError};
use crate::event::Class;

/// The place of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerPlace {
    /// The handler.
    pub handler: Arc<str>,
    /// The configuration of this run names it.
    pub configured: bool,
    /// Its own lanes.
    pub lanes: Vec<LanePlace>,
}

/// The place of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanePlace {
    /// Which lane.
    pub class: Class,
    /// Everything up to here is delivered, not wanted, set aside or dead.
    pub cursor: u64,
    /// Stored events of both lanes after the cursor.
    pub lag: u64,
    /// Stored events of both lanes up to the cursor.
    pub before: u64,
    /// Events set aside.
    pub set_aside: u64,
}

impl HandlerPlace {
    /// Stored events that it has not passed, and those that it has set aside.
    pub fn undelivered(&self) -> u64 {
        let lag = self.lanes.iter().map(|lane| lane.lag).max().unwrap_or_default();
        lag + self.lanes.iter().map(|lane| lane.set_aside).sum::<u64>()
    }
}

/// Why the place of a handler was not given to another name.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] RenameRefusal),
    /// The journal could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] Error),
}

/// Why the place of a handler must not be given to another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameRefusal {
    /// The journal does not know the old name.
    #[error("the journal knows no handler of the old name")]
    Unknown,
    /// The old name is configured.
    #[error("the old name is still configured: rename or remove its section first")]
    Configured,
    /// The new name is at work in this process.
    #[error("the new name is at work: stop the receiver, and rename in its journal with --journal FILE")]
    AtWork,
    /// The new name has a place of its own.
    #[error("the new name has progress of its own: `bikhook replay` delivers to it what it lacks")]
    Progressed,
}
