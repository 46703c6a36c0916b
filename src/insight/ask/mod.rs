//! Questions to insight: functions over a read-only connection. Paged lists are sorted newest first. Each page reads a
//! bounded number of rows, and says where the next page starts.

mod conversation;
mod figures;
mod message;
mod search;
mod sender;
mod words;

pub use conversation::{
    Contact, ContactSearch, Conversation, ConversationEntry, WINDOW_MS, WaitingSpan, contact, contacts,
    conversation, count_waiting, waiting,
};
pub use figures::{Dimension, FailureRow, FigureQuery, FunnelRow, GROUPS, Percentiles, failures, funnel};
pub use message::{MessageRow, Sighting, Timeline, timeline, timeline_of};
pub use search::{ListPage, SearchQuery, search};
pub use sender::{ArrivalRow, SourceRow, arrivals, sources};
