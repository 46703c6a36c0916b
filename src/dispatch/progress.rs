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
pub struct ReplayProgress {
    /// Events that the replay is done with: delivered, set aside or dead.
    pub done: u64,
    /// Events that both the handler and the replay want.
    pub events: u64,
}

/// Calls `each` with the class and the seq of every event that both the handler and the replay want.
///
/// # Errors
/// Returns errors of the journal.
pub(super) async fn visit(
    journal: &dyn Journal,
    replay: &NewReplay,
    filters: [&Filter; 2],
    mut each: impl FnMut(Class, u64),
) -> Result<(), journal::Error> {
    for class in Class::ALL {
        let mut after = replay.after;
        while after < replay.upto {
            let claim = journal.claim(class, after, PAGE).await?;
            let within = claim.events.iter().filter(|event| event.seq <= replay.upto);
            let wanted = within.filter(|event| filters.iter().all(|filter| filter.wants(event)));
            wanted.for_each(|event| each(class, event.seq));
            if claim.through <= after {
                break;
            }
            after = claim.through;
        }
    }
    Ok(())
}
