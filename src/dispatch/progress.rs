//! The progress of a replay, in events. The total is counted once per run of the process, while the replay delivers.

use crate::{
    event::Class,
    handler::Filter,
    journal::{self, Journal, NewReplay},
};

/// Events read per page.
const PAGE: usize = 1_000;

/// The progress of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events that the replay is done with: delivered, set aside or dead.
    pub done: u64,
    /// Events that both the handler and the replay want.
    pub events: u64,
}

impl Progress {
    /// Counts by reading every event of the replay. `cursors` are the cursors of the replay's lanes.
    ///
    /// # Errors
    /// Returns errors of the journal.
    pub(super) async fn count(
        journal: &dyn Journal,
        replay: &NewReplay,
        filters: [&Filter; 2],
        cursors: &[(Class, u64)],
    ) -> Result<Self, journal::Error> {
        let mut progress = Self::default();
        for (class, cursor) in cursors {
            let mut after = replay.after;
            while after < replay.upto {
                let claim = journal.claim(*class, after, PAGE).await?;
                let within = claim.events.iter().filter(|event| event.seq <= replay.upto);
                for event in within.filter(|event| filters.iter().all(|filter| filter.wants(event))) {
                    progress.events += 1;
                    progress.done += u64::from(event.seq <= *cursor);
                }
                if claim.through <= after {
                    break;
                }
                after = claim.through;
            }
        }
        Ok(progress)
    }
}
