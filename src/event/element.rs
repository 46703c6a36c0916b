//! One element of a body: its bytes untouched, its typed view, and what is derived from both.

use std::borrow::Cow;

use super::{Class, View};

/// What makes two events the same (BIK T6): the first 16 bytes of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

/// A digest of an event's content (its rendering, T7): tells a repetition from a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content(pub [u8; 16]);

/// What an event is ordered by: the first 8 bytes of the SHA-256 of its source and `messageId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey(pub u64);

/// One event as BIK sent it. Its `Debug` shows no personal data.
pub struct Element {
    // filled in by the event module's author
}

/// Why one element cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("unreadable")]
pub struct Unreadable;

impl std::fmt::Debug for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Element").finish_non_exhaustive()
    }
}

impl Element {
    /// Reads the bytes of one element: those of a body, or those that the journal kept.
    ///
    /// # Errors
    /// [`Unreadable`] with its reason; the bytes belong in quarantine then.
    pub fn read(_source: &str, _raw: &[u8]) -> Result<Self, Unreadable> {
        unimplemented!()
    }

    /// The bytes exactly as they came (T7, "stored").
    pub fn raw(&self) -> &str {
        unimplemented!()
    }

    /// The same bytes less trailing commas and the blanks between tokens: one line of JSON (T7, "rendered").
    pub fn rendered(&self) -> Cow<'_, str> {
        unimplemented!()
    }

    /// `eventName`.
    pub fn name(&self) -> &str {
        unimplemented!()
    }

    /// BIK's `id` or `eventId`, opaque; a number keeps its text.
    pub fn id(&self) -> Option<&str> {
        unimplemented!()
    }

    /// The typed view.
    pub fn view(&self) -> &View {
        unimplemented!()
    }

    /// The lane it takes.
    pub fn class(&self) -> Class {
        unimplemented!()
    }

    /// What makes it the same as another (T6).
    pub fn key(&self) -> Key {
        unimplemented!()
    }

    /// A digest of its content.
    pub fn content(&self) -> Content {
        unimplemented!()
    }

    /// What it is ordered by; `None` where it has no `messageId`.
    pub fn order_key(&self) -> Option<OrderKey> {
        unimplemented!()
    }
}
