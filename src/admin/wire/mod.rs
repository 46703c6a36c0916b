//! The JSON of the API: bodies and answers. The API writes an answer, and the command line reads the same type.
//!
//! The command line ignores members that it does not know, so that it can read the answers of a newer receiver. For the
//! same reason it accepts any text as the name of a state. If an answer has a type parameter `S`, the API writes an
//! enum, and the command line reads a `String`. If the command line may print a list unchanged, it reads the rows as
//! raw JSON.
//!
//! The OpenAPI document is generated from these types, and their doc comments become its descriptions. So a doc comment
//! uses the JSON names of members and values: `sizeBytes` and null, not `size_bytes` and `None`.

mod changes;
mod dead;
mod events;
mod handlers;
mod insight;
mod quarantine;
mod receiver;
mod replays;

use std::borrow::Cow;

pub(crate) use changes::{DroppedRows, LIMIT, MatchingRows, RetriedRows, RowsOrDryRun, RowsRequest};
pub(crate) use dead::{DeadDetail, DeadList, DeadRow};
pub(crate) use events::{EventLine, EventList, EventWithLanes, StoredBytes, push_event};
pub(crate) use handlers::{
    Before, Believed, EmptyBody, HandlerList, HandlerReport, LaneReport, PauseRequest, Paused, REASON_CHARS,
    RenameRequest, Renamed, Resumed, RetriedHandler, SkipRequest, Skipped,
};
pub(crate) use insight::{
    ArrivalList, ContactList, ConversationPage, EntryRow, FigureList, InsightProgress, MessageList,
    ShownContent, SourceList, SourceReport, TimelineList, TimelineReport, WaitingList,
};
pub(crate) use quarantine::{
    QuarantineDetail, QuarantineList, QuarantineRow, Retried, RetriedList, RetryOutcome,
};
pub(crate) use receiver::{AcceptedClock, CredentialList, FiguresRow, Health, Status};
pub(crate) use replays::{DryRun, ReplayList, ReplayOrDryRun, ReplayRequest, ReplayRow};

/// A name from a fixed set, such as the kind of a handler.
type Word = Cow<'static, str>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_have_members_and_states_of_a_newer_receiver() {
        let row = r#"{"id":1,"outcome":"merged","accepted":0,"duplicates":0,"unreadable":0,"conflicts":0,"more":{}}"#;
        let Retried::<String> { outcome, conflicts_with, .. } = serde_json::from_str(row).unwrap();
        assert_eq!((&*outcome, conflicts_with), ("merged", None));
    }

    #[test]
    fn the_lanes_of_a_stopped_receiver_have_only_what_the_journal_knows() {
        let row = r#"{"handler":"crm","kind":null,"dead":1,"lanes":[{"lane":"other","cursor":4,"lag":2,"setAside":0}]}"#;
        let HandlerReport::<LaneReport> { paused, mut lanes, .. } = serde_json::from_str(row).unwrap();
        let lane = lanes.remove(0);
        assert!(paused.is_none() && lane.state.is_none() && lane.delivered.is_none());
        assert_eq!((&*lane.lane, lane.cursor, lane.lag), ("other", 4, 2));
    }
}
