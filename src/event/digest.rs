//! What is derived from an event by SHA-256: its key, the digest of its content, and what it is ordered by.
//!
//! Keys are stored and compared for as long as the deduplication window reaches, across versions: what goes into them
//! never changes. Every field is preceded by its length, and every use by its own tag, so that no two lists of fields
//! give the same bytes.

use std::{borrow::Cow, fmt};

use sha2::{Digest as _, Sha256};

/// What makes two events the same (BIK T6): the first 16 bytes of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

/// A digest of an event's content (its rendering, T7): tells a repetition from a conflict. The first 16 bytes of its
/// SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content(pub [u8; 16]);

/// What an event is ordered by: the first 8 bytes of the SHA-256 of its source and `messageId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey(pub u64);

/// 32 hexadecimal digits: what a destination is told.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Content {
    pub(super) fn of(rendered: &str) -> Self {
        Self(first(Sha256::digest(rendered.as_bytes()).into()))
    }
}

impl OrderKey {
    /// Of a message, by the source that its events came in by.
    pub fn of(source: &str, message_id: &str) -> Self {
        Self(u64::from_be_bytes(first(Fields::tagged("order").text(source).text(message_id).digest())))
    }
}

impl Key {
    /// Of an event of envelope A that has an `id`; `infos` are the `messageId` and `status` of each.
    pub(super) fn of_message<'a>(
        source: &str,
        name: &str,
        id: &str,
        infos: impl Iterator<Item = (Option<Cow<'a, str>>, Option<Cow<'a, str>>)>,
    ) -> Self {
        let mut fields = Fields::tagged("key a").text(source).text(name).text(id);
        for (message_id, status) in infos {
            fields = fields.optional(message_id.as_deref()).optional(status.as_deref());
        }
        Self(first(fields.digest()))
    }

    /// Of an event of envelope B that has an `eventId` and a `createdAt`.
    pub(super) fn of_subscribed(source: &str, name: &str, event_id: &str, created_at: &str) -> Self {
        Self(first(Fields::tagged("key b").text(source).text(name).text(event_id).text(created_at).digest()))
    }

    /// Of any other event.
    pub(super) fn of_bytes(source: &str, raw: &str) -> Self {
        Self(first(Fields::tagged("key raw").text(source).text(raw).digest()))
    }
}

/// Gathered before they are hashed: they are many and short.
struct Fields(Vec<u8>);

impl Fields {
    fn tagged(tag: &str) -> Self {
        Self(Vec::with_capacity(256)).text(tag)
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn optional(mut self, text: Option<&str>) -> Self {
        self.0.push(u8::from(text.is_some()));
        match text {
            Some(text) => self.text(text),
            None => self,
        }
    }

    fn digest(self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

fn first<const N: usize>(digest: [u8; 32]) -> [u8; N] {
    std::array::from_fn(|at| digest[at])
}
