//! Results of the deliveries of a lane.

use super::{Aside, DeadAgain, NewDead, Omission};

/// Results of deliveries of one lane. They are recorded together, as one change of the lane's state.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The new cursor, if it moved. A cursor never moves back.
    pub cursor: Option<u64>,
    /// Events to set aside. If an event is already set aside, its stored row is replaced.
    pub set_aside: Vec<Aside>,
    /// Seqs of events that are no longer set aside: delivered, skipped, in `dead`, or no longer in the journal.
    pub resolved: Vec<u64>,
    /// Events that became dead letters.
    pub dead: Vec<NewDead>,
    /// Ids of dead letters whose retry succeeded. They are deleted.
    pub revived: Vec<i64>,
    /// Dead letters whose retry failed.
    pub dead_again: Vec<DeadAgain>,
    /// Events that are skipped.
    pub omitted: Vec<Omission>,
}

impl Ends {
    /// True if it changes nothing.
    pub const fn is_empty(&self) -> bool {
        self.cursor.is_none()
            && self.set_aside.is_empty()
            && self.resolved.is_empty()
            && self.dead.is_empty()
            && self.revived.is_empty()
            && self.dead_again.is_empty()
            && self.omitted.is_empty()
    }
}
