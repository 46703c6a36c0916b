//! What BIK sends: a body becomes elements, an element becomes a typed [`Element`] with its bytes untouched.
//!
//! [`decode()`] is the whole of it for intake. [`Element::read`] reads one stored element again.

mod address;
mod decode;
mod digest;
mod element;
mod envelope;
mod excerpt;
mod field;
mod line;
mod pointer;
mod render;
mod scan;
mod split;
mod string;
mod view;
mod words;

pub use address::canonical_address;
pub use decode::{Decoded, Decoder, NotJson, Quarantined, Reason, decode, decode_within, elements_limit};
pub use digest::{Content, Key, OrderKey};
pub use element::{Element, Unreadable};
pub use excerpt::{WORD_CHARS, excerpt};
pub use pointer::{Edit, Found, NoPointer, Pointer};
pub use view::{
    Customer, IncomingInfo, IncomingMessage, Other, OtherInfo, Raw, Stamp, StatusInfo, StatusUpdate,
    Subscribed, View,
};
pub use words::{Category, Channel, Owner, Status};

use std::sync::Arc;

use crate::clock::Timestamp;

/// The source of what this program says itself: no source of a configuration is called so.
pub const OWN_SOURCE: &str = "bikhook";
/// The name of the event that tells of a new dead letter.
pub const DEAD_LETTER: &str = "bikhook-dead-letter";

/// An event that is not durable yet: an element, and the source that it came in by.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name of the source (a URL that BIK posts to).
    pub source: Arc<str>,
    /// The element itself.
    pub element: Arc<Element>,
    /// What makes it the same as another (T6).
    pub key: Key,
    /// A digest of its content: tells a repetition from a conflict.
    pub content: Content,
}

/// An event that is durable: what the journal gave it, and the element.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the journal: never repeats, never falls.
    pub seq: u64,
    /// When it was received, by the trusted clock: what is shown and delivered, and what its age is counted from.
    pub came_at: Timestamp,
    /// The same, but it never falls from one seq to the next within an era of the clock: what `since` and `until` look at.
    pub received_at: Timestamp,
    /// The name of the source that it came in by.
    pub source: Arc<str>,
    /// The element itself.
    pub element: Arc<Element>,
}

impl Event {
    /// What makes it the same as another (T6): the same after a restart, a redelivery and a replay.
    pub fn key(&self) -> Key {
        self.element.key(&self.source)
    }

    /// Whether this program says it itself, and not BIK.
    pub fn is_own(&self) -> bool {
        *self.source == *OWN_SOURCE
    }

    /// What it is ordered by; `None` where it has no `messageId`.
    pub fn order_key(&self) -> Option<OrderKey> {
        self.element.order_key(&self.source)
    }
}

/// Which of a handler's two lanes an event takes: a customer's message never waits behind a broadcast's statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// `incoming-message`.
    Incoming,
    /// Everything else.
    Other,
}

impl Class {
    /// Both, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Incoming, Self::Other];

    /// As shown and stored: `incoming` or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Other => "other",
        }
    }
}
