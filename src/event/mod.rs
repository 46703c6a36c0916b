//! Parses what BIK sends. A body is split into elements. Each readable one becomes an [`Element`] that keeps its bytes
//! unchanged; the others go to quarantine.
//!
//! [`decode()`] and [`decode_within`] read a body, [`Decoder`] reads a body in parts, and [`Element::read`] reads one
//! stored element again.

mod address;
mod content;
mod decode;
mod digest;
mod element;
mod envelope;
mod excerpt;
mod field;
mod info;
mod line;
mod pointer;
mod position;
mod reason;
mod render;
mod scan;
mod sent;
mod split;
mod string;
mod undocumented;
mod view;
mod words;

pub use address::{canonical_address, is_phone_separator};
pub use content::MessageContent;
pub use decode::{Decoded, Decoder, NotJson, Quarantined, decode, decode_within, elements_limit};
pub use digest::{ContentDigest, Key, OrderKey};
pub use element::{Element, Unreadable};
pub use excerpt::{WORD_CHARS, excerpt};
pub use info::Info;
pub use pointer::{Edit, Found, NoPointer, Pointer};
pub use position::Position;
pub use sent::{Raw, Stamp};
pub use view::{Customer, Fact, Message, Subscribed, View, joined};
pub use words::{Category, Channel, Owner, Status};

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{clock::Timestamp, names::names};

/// The source of the events that bikhook itself creates. No configured source can have this name.
pub const OWN_SOURCE: &str = "bikhook";
/// The name of the event that reports a new dead letter.
pub const DEAD_LETTER: &str = "bikhook-dead-letter";

/// An event that is not durable yet: an element and the source that received it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name of the source that received the element.
    pub source: Arc<str>,
    /// The element, with its original bytes.
    pub element: Arc<Element>,
    /// Two events with the same key are the same event (BIK T6).
    pub key: Key,
    /// A digest of the content. Among events with the same key, it distinguishes a duplicate from a conflict.
    pub content: ContentDigest,
}

/// A durable event: the element, and the values that the journal assigned.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of the event in the journal. It never repeats and never falls, except after a backup was restored.
    pub seq: u64,
    /// When the event was received, by the trusted clock (the wall clock without its jumps). This time is shown and
    /// delivered, and the age of the event counts from it.
    pub came_at: Timestamp,
    /// The later of two times: `came_at`, and the `received_at` of the preceding event. So this time does not fall from
    /// one event to the next, except after a correction of the trusted clock. Queries with `since` and `until` compare
    /// with this time.
    pub received_at: Timestamp,
    /// The name of the source that received the event.
    pub source: Arc<str>,
    /// The element, with its original bytes.
    pub element: Arc<Element>,
}

impl Event {
    /// The key (BIK T6), the same after a restart, a redelivery and a replay.
    pub fn key(&self) -> Key {
        self.element.key(&self.source)
    }

    /// True if bikhook itself created the event.
    pub fn is_own(&self) -> bool {
        *self.source == *OWN_SOURCE
    }

    /// The [`OrderKey`]; `None` if the event has no `messageId`.
    pub fn order_key(&self) -> Option<OrderKey> {
        self.element.order_key(&self.source)
    }
}

names! {
    /// The class of an event. A handler has a separate lane for each class, so a customer's message never waits behind
    /// the statuses of a broadcast.
    #[derive(PartialOrd, Ord, Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[schemars(rename = "LaneName")]
    pub enum Class {
        /// The events named `incoming-message`.
        Incoming = "incoming",
        /// All events with another name.
        Other = "other",
    }
}

names! {
    /// Why bytes are in quarantine.
    #[derive(JsonSchema)]
    #[schemars(rename = "QuarantineReason", rename_all = "snake_case")]
    pub enum Reason {
        /// The whole body is not JSON, even with trailing commas allowed, or it cannot be decompressed.
        NotJson = "not_json",
        /// The element is not JSON, even with trailing commas allowed.
        Syntax = "syntax",
        /// The element is not valid UTF-8, but is JSON otherwise.
        Utf8 = "utf8",
        /// The element is nested deeper than 128 levels.
        Depth = "depth",
        /// The element is a scalar, null or an array instead of an object.
        NotAnObject = "not_an_object",
        /// The element is an object whose `eventName` is missing, null, empty or not a string.
        NoEventName = "no_event_name",
        /// The body has too many elements. Only earlier versions of bikhook use this reason; now such a body is refused
        /// with 413.
        TooMany = "too_many",
        /// The event has the key of a stored event, but other content (BIK T6). Found by the journal, not by decoding.
        Conflict = "conflict",
    }
}
