//! The JSON of the API: each answer, and each body that the command line sends, is one type here. The API writes an
//! answer, and the command line reads the same type.
//!
//! The command line ignores members that it does not know, so that it can read the answers of a newer receiver. For the
//! same reason it reads the name of a state as any text: where an answer has a type parameter `S`, the API writes an
//! enum, and the command line reads a `String`. A list that it prints unchanged has rows of raw JSON.

mod changes;
mod dead;
mod events;
mod handlers;
mod insight;
mod quarantine;
mod receiver;
mod replays;

use std::borrow::Cow;

pub use changes::{Changed, Rows};
pub use dead::{DeadDetail, DeadList, DeadRow};
pub use events::{EventLine, EventList, PassageRow, StoredBytes, push_event};
pub use handlers::{
    Before, Believed, HandlerList, HandlerReport, LaneReport, Nothing, PauseRow, Paused, Rename, Renamed,
    Resumed, RetriedHandler, Skip, Skipped, Why,
};
pub use insight::{
    ArrivalList, ContactList, ConversationPage, EntryRow, FigureList, InsightProgress, MessageList,
    SourceList, SourceReport, TimelineList, WaitingList,
};
pub use quarantine::{Outcome, QuarantineDetail, QuarantineList, QuarantineRow, Retried, RetriedList};
pub use receiver::{AcceptedClock, CredentialList, CredentialRow, FiguresRow, Health, Status};
pub use replays::{DryRun, ReplayList, ReplayRow};

/// A name from a fixed set, such as the kind of a handler.
type Word = Cow<'static, str>;
