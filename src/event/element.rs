//! One element of a body: its bytes untouched, its typed view, and what is derived from both.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    Class, Reason,
    fields::{self, Reader},
    render::render,
    view::{
        Customer, IncomingInfo, IncomingMessage, MessageInfo, Other, StatusInfo, StatusUpdate, Subscribed,
        View, time,
    },
};

/// An element nested deeper than this is not read (T4).
pub const MAX_DEPTH: usize = 128;

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
    raw: Box<str>,
    rendered: bool,
    repaired: bool,
    warnings: u32,
    name: Cow<'static, str>,
    id: Option<String>,
    view: View,
    key: Key,
    content: Content,
    order_key: Option<OrderKey>,
}

/// Why one element cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Unreadable {
    /// The class of what is wrong.
    pub reason: Reason,
    /// What is wrong, with the place; quotes nothing of the payload but a field's name.
    pub detail: String,
    /// Line and column in the element, from 1, where it is a question of syntax.
    pub place: Option<(usize, usize)>,
}

impl std::fmt::Debug for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Element")
            .field("bytes", &self.raw.len())
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

const INCOMING_MESSAGE: &str = "incoming-message";
const STATUS_UPDATE: &str = "message-status-update";

/// The known fields of both envelopes.
const ENVELOPE: [&str; 17] = [
    "eventName",
    "eventInfo",
    "storeId",
    "customerDetails",
    "id",
    "callbackData",
    "eventId",
    "eventProperties",
    "eventSource",
    "createdAt",
    "timestamp",
    "channel",
    "messageId",
    "broadcastId",
    "customerId",
    "primaryCustomerId",
    "assets",
];

impl Element {
    /// Reads the bytes of one element: those of a body, or those that the journal kept. Strictly first; where that
    /// fails, once more with trailing commas tolerated (T2).
    ///
    /// # Errors
    /// [`Unreadable`] with its reason; the bytes belong in quarantine then.
    pub fn read(source: &str, raw: &[u8]) -> Result<Self, Unreadable> {
        let raw = std::str::from_utf8(raw).map_err(|error| Unreadable {
            reason: Reason::Utf8,
            detail: format!("not UTF-8 after {} bytes", error.valid_up_to()),
            place: None,
        })?;
        let depth = depth(raw.as_bytes());
        if depth > MAX_DEPTH {
            return Err(Unreadable {
                reason: Reason::Depth,
                detail: format!("nested {depth} deep, and {MAX_DEPTH} is the most that is read"),
                place: None,
            });
        }
        let rendering = render(raw);
        match serde_json::from_str::<&RawValue>(raw) {
            Ok(_) => Self::from_json(source, raw, raw, &rendering, false),
            Err(error) => match serde_json::from_str::<&RawValue>(&rendering) {
                Ok(_) => Self::from_json(source, raw, &rendering, &rendering, true),
                Err(_) => Err(Unreadable {
                    reason: Reason::Syntax,
                    detail: format!("not JSON at line {}, column {}", error.line(), error.column()),
                    place: Some((error.line(), error.column())),
                }),
            },
        }
    }

    /// `json` is what is read: the bytes, or their rendering where the bytes are not JSON.
    fn from_json(
        source: &str,
        raw: &str,
        json: &str,
        rendering: &str,
        repaired: bool,
    ) -> Result<Self, Unreadable> {
        if !json.trim_start().starts_with('{') {
            return Err(Unreadable {
                reason: Reason::NotAnObject,
                detail: format!("{} where an object belongs", json_kind(json)),
                place: None,
            });
        }
        let envelope = fields::object(json, &ENVELOPE).map_err(|error| Unreadable {
            reason: Reason::Syntax,
            detail: format!("not JSON at line {}, column {}", error.line(), error.column()),
            place: Some((error.line(), error.column())),
        })?;
        let mut reader = Reader::default();
        let name = envelope[0].and_then(|field| fields::string(field.get())).filter(|name| !name.is_empty());
        let Some(name) = name else {
            return Err(Unreadable {
                reason: Reason::NoEventName,
                detail: "an object without an eventName".to_owned(),
                place: None,
            });
        };
        let read = Read::new(&mut reader, &name, envelope);
        let key = read.key(source, &name, raw);
        let order_key = read.view.message_id().map(|message| order_key(source, message));
        Ok(Self {
            rendered: raw.len() == rendering.len(),
            repaired,
            warnings: reader.warnings,
            name: match name.as_str() {
                STATUS_UPDATE => Cow::Borrowed(STATUS_UPDATE),
                INCOMING_MESSAGE => Cow::Borrowed(INCOMING_MESSAGE),
                _ => Cow::Owned(name),
            },
            id: read.id,
            view: read.view,
            key,
            content: Content(digest(&[rendering.as_bytes()])),
            order_key,
            raw: raw.into(),
        })
    }

    /// The bytes exactly as they came (T7, "stored").
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The same bytes less trailing commas and the blanks between tokens: one line of JSON (T7, "rendered").
    pub fn rendered(&self) -> Cow<'_, str> {
        if self.rendered { Cow::Borrowed(&self.raw) } else { render(&self.raw) }
    }

    /// Whether it needed the tolerant second try (T2).
    pub const fn repaired(&self) -> bool {
        self.repaired
    }

    /// How many optional fields had a wrong type and are missing in the view (T5).
    pub const fn warnings(&self) -> u32 {
        self.warnings
    }

    /// `eventName`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// BIK's `id` or `eventId`, opaque; a number keeps its text.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The typed view.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The lane it takes.
    pub fn class(&self) -> Class {
        if self.name == INCOMING_MESSAGE { Class::Incoming } else { Class::Other }
    }

    /// What makes it the same as another (T6).
    pub const fn key(&self) -> Key {
        self.key
    }

    /// A digest of its content.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// What it is ordered by; `None` where it has no `messageId`.
    pub const fn order_key(&self) -> Option<OrderKey> {
        self.order_key
    }
}

/// What the fields of an envelope come to.
struct Read {
    view: View,
    id: Option<String>,
    identity: Identity,
}

/// What T6 makes the key of.
enum Identity {
    /// Envelope A with an `id`.
    Message(String),
    /// Envelope B with `eventId` and `createdAt`.
    Occurrence(String, String),
    /// Neither.
    Bytes,
}

impl Read {
    fn new(reader: &mut Reader, name: &str, envelope: [Option<&RawValue>; 17]) -> Self {
        let [
            _,
            info,
            store_id,
            customer,
            id,
            callback_data,
            event_id,
            properties,
            event_source,
            created_at,
            timestamp,
            channel,
            message_id,
            broadcast_id,
            customer_id,
            primary_customer_id,
            assets,
        ] = envelope;
        let id = reader.id(id);
        let event_id = reader.id(event_id);
        let store_id = reader.id(store_id);
        let subscribed =
            info.is_none() && (properties.is_some() || event_source.is_some() || event_id.is_some());
        if subscribed && name != INCOMING_MESSAGE && name != STATUS_UPDATE {
            let created_at = reader.text(created_at);
            let identity = match (&event_id, &created_at, &id) {
                (Some(event_id), Some(created_at), _) => {
                    Identity::Occurrence(event_id.clone(), created_at.clone())
                }
                (_, _, Some(id)) => Identity::Message(id.clone()),
                _ => Identity::Bytes,
            };
            let view = View::Subscribed(Subscribed {
                store_id,
                customer_id: reader.id(customer_id),
                primary_customer_id: reader.id(primary_customer_id),
                properties: reader.raw(properties),
                event_source: reader.text(event_source),
                created: time(created_at.as_deref()),
                created_at,
                timestamp: reader.text(timestamp),
                channel: reader.word(channel).map(|word| super::words::Channel::new(&word)),
                message_id: reader.id(message_id),
                broadcast_id: reader.id(broadcast_id),
                assets: reader.texts(assets),
            });
            return Self { view, id: event_id.or(id), identity };
        }
        let customer = Customer::read(reader, customer);
        let infos = reader.objects(info);
        let view = match name {
            INCOMING_MESSAGE => View::Incoming(IncomingMessage {
                store_id,
                customer,
                infos: infos.into_iter().map(|info| IncomingInfo::read(reader, info)).collect(),
            }),
            STATUS_UPDATE => View::Status(StatusUpdate {
                store_id,
                customer,
                callback_data: reader.raw(callback_data),
                infos: infos.into_iter().map(|info| StatusInfo::read(reader, info)).collect(),
            }),
            _ => View::Other(Other {
                store_id,
                customer,
                infos: infos.into_iter().map(|info| MessageInfo::read(reader, info)).collect(),
            }),
        };
        let identity = id.clone().map_or(Identity::Bytes, Identity::Message);
        Self { view, id: id.or(event_id), identity }
    }

    /// T6. Journals keep these digests: what goes into them never changes.
    fn key(&self, source: &str, name: &str, raw: &str) -> Key {
        let parts = match &self.identity {
            Identity::Message(id) => {
                let mut parts = vec!["A", source, name, id.as_str()];
                for info in self.view.infos() {
                    parts.push(info.message_id.as_deref().unwrap_or_default());
                    parts.push(info.status.as_ref().map_or("", |status| status.as_str()));
                }
                parts
            }
            Identity::Occurrence(event_id, created_at) => vec!["B", source, name, event_id, created_at],
            Identity::Bytes => vec!["bytes", source, raw],
        };
        Key(digest(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>()))
    }
}

fn order_key(source: &str, message: &str) -> OrderKey {
    let [a, b, c, d, e, f, g, h, ..] = digest(&[source.as_bytes(), message.as_bytes()]);
    OrderKey(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The first 16 bytes of the SHA-256 of the parts, each after its length.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// How deep the brackets nest, outside strings.
fn depth(raw: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = raw.get(at) {
        match byte {
            b'"' => {
                at = super::render::string_end(raw, at);
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    deepest
}

fn json_kind(json: &str) -> &'static str {
    match json.trim_start().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
