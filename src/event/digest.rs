//! Values derived from an event with SHA-256: its key, the digest of its content, and its order key.
//!
//! Keys are stored. Later versions of bikhook compare new keys with the stored ones of the whole deduplication window,
//! so the input of a key never changes. A key or an order key is the digest of a list of fields. Each field is preceded
//! by its length, and the first field is a tag for the kind of key. So no two lists produce the same bytes to hash.

use std::{borrow::Cow, fmt};

use sha2::{Digest as _, Sha256};

/// Two events with the same key are the same event (BIK T6). The first 16 bytes of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

/// A digest of an event's content. The content is the rendered event (BIK T7). Among events with the same key, the
/// digest distinguishes a duplicate from a conflict. The first 16 bytes of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 16]);

/// Events with the same order key get their first attempt in order of `seq`, within a lane. The first 8 bytes of the
/// SHA-256 of the source and the `messageId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey(pub u64);

/// Writes 32 hexadecimal digits, as destinations get them.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl ContentDigest {
    pub(super) fn of(rendered: &str) -> Self {
        Self(first(Sha256::digest(rendered.as_bytes()).into()))
    }
}

impl OrderKey {
    /// The order key of a message, for the source that receives its events.
    pub fn of(source: &str, message_id: &str) -> Self {
        Self(u64::from_be_bytes(first(Fields::tagged("order").text(source).text(message_id).digest())))
    }
}

impl Key {
    /// The key of an event of envelope A (BIK §2) with an `id`. `infos` has the `messageId` and `status` of each info.
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

    /// The key of an event of envelope B (BIK §3) with an `eventId` and a `createdAt`.
    pub(super) fn of_subscribed(source: &str, name: &str, event_id: &str, created_at: &str) -> Self {
        Self(first(Fields::tagged("key b").text(source).text(name).text(event_id).text(created_at).digest()))
    }

    /// The key of any other event: a digest of the source and the bytes.
    pub(super) fn of_bytes(source: &str, raw: &str) -> Self {
        Self(first(Fields::tagged("key raw").text(source).text(raw).digest()))
    }
}

/// The bytes to hash. First all fields are collected, and then their bytes are hashed in one call, because the fields
/// are many and short.
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
