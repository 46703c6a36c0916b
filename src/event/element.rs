//! One element of a body: its bytes untouched, its typed view, and what is derived from both.

use std::{borrow::Cow, fmt, str::Utf8Error, sync::OnceLock};

use serde::de::IgnoredAny;

use super::{
    Class, Reason, View,
    digest::{Content, Key, OrderKey},
    envelope::{Envelope, INCOMING_MESSAGE, Meaning},
    render,
    split::{self, Piece},
};

/// How deep an element may be nested (T4).
const DEPTH_MAX: usize = 128;

/// One event as BIK sent it. Its `Debug` shows no personal data.
pub struct Element {
    raw: Box<str>,
    name: Box<str>,
    id: Option<Box<str>>,
    view: View,
    key: Key,
    order_key: Option<OrderKey>,
    content: OnceLock<Content>,
    /// The bytes are their own rendering.
    compact: bool,
}

impl Element {
    /// Reads the bytes of one element: those of a body, or those that the journal kept.
    ///
    /// # Errors
    /// [`Unreadable`] with its reason; the bytes belong in quarantine then.
    pub fn read(source: &str, raw: &[u8]) -> Result<Self, Unreadable> {
        let piece = split::single(raw).map_err(|broken| {
            Unreadable::syntax(broken.at, format!("{} (byte {})", broken.what, broken.at))
        })?;
        Reading::of(source, piece, None).map(|reading| reading.element)
    }

    /// The bytes exactly as they came (T7, "stored").
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The same bytes less trailing commas and the blanks between tokens: one line of JSON (T7, "rendered").
    pub fn rendered(&self) -> Cow<'_, str> {
        if self.compact { Cow::Borrowed(&self.raw) } else { Cow::Owned(render::compact(&self.raw)) }
    }

    /// `eventName`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// BIK's `id`, or the `eventId` of a subscribed event: opaque; a number keeps its text.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The typed view.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The lane it takes.
    pub fn class(&self) -> Class {
        if &*self.name == INCOMING_MESSAGE { Class::Incoming } else { Class::Other }
    }

    /// What makes it the same as another (T6).
    pub const fn key(&self) -> Key {
        self.key
    }

    /// A digest of its content. Made when first asked for: intake asks while it decodes, a lane that reads the journal
    /// never does.
    pub fn content(&self) -> Content {
        *self.content.get_or_init(|| Content::of(&self.rendered()))
    }

    /// What it is ordered by; `None` where it has no `messageId`.
    pub const fn order_key(&self) -> Option<OrderKey> {
        self.order_key
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Element").field("name", &self.name).field("view", &self.view).finish_non_exhaustive()
    }
}

/// Why one element cannot be read. Its `Debug` and its text show nothing of the bytes.
#[derive(Debug, thiserror::Error)]
#[error("the element cannot be read: {}", reason.as_str())]
pub struct Unreadable {
    /// The class of what is wrong: safe for logs and labels.
    pub reason: Reason,
    /// What is wrong, with the place in the element; goes only into the quarantine's row.
    pub detail: String,
    /// Where in the element the reading failed.
    pub(super) at: usize,
}

impl Unreadable {
    fn syntax(at: usize, detail: String) -> Self {
        Self { reason: Reason::Syntax, detail, at }
    }

    fn not_json(text: &str, error: &serde_json::Error) -> Self {
        Self::syntax(offset(text, error), error.to_string())
    }

    fn too_deep(depth: usize) -> Self {
        let detail = format!("nested {depth} deep; {DEPTH_MAX} is the limit");
        Self { reason: Reason::Depth, detail, at: 0 }
    }

    fn not_an_object(text: &str) -> Self {
        let detail = match text.bytes().next() {
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b'n') => "null",
            Some(b't' | b'f') => "a boolean",
            _ => "a number",
        };
        Self { reason: Reason::NotAnObject, detail: detail.to_owned(), at: 0 }
    }

    /// Whether it is JSON but for its UTF-8 decides the reason: bytes of another kind are no JSON at all.
    fn not_utf8(piece: Piece<'_>, error: Utf8Error) -> Self {
        let at = error.valid_up_to();
        let text = String::from_utf8_lossy(piece.bytes);
        match serde_json::from_str::<IgnoredAny>(&tolerant(&text, piece)) {
            Ok(IgnoredAny) => {
                Self { reason: Reason::Utf8, detail: format!("invalid UTF-8 at byte {at}"), at }
            }
            Err(error) => Self::syntax(at.min(offset(&text, &error)), error.to_string()),
        }
    }
}

/// An element, and what reading it took.
pub(super) struct Reading {
    pub(super) element: Element,
    /// It has trailing commas (T2).
    pub(super) repaired: bool,
    /// How many optional fields had a wrong type (T5).
    pub(super) warnings: u32,
}

impl Reading {
    /// Reads a piece of a body; `text` are the piece's bytes where they are known to be UTF-8.
    pub(super) fn of(source: &str, piece: Piece<'_>, text: Option<&str>) -> Result<Self, Unreadable> {
        let raw = match text {
            Some(text) => text,
            None => std::str::from_utf8(piece.bytes).map_err(|error| Unreadable::not_utf8(piece, error))?,
        };
        let json = tolerant(raw, piece);
        let envelope = open(&json, piece)?;
        let name = envelope.name().map_err(|what| Unreadable {
            reason: Reason::NoEventName,
            detail: what.to_owned(),
            at: 0,
        })?;
        let Meaning { id, view, key, order_key, warnings } = envelope.meaning(source, &name, raw);
        let element = Element {
            raw: raw.into(),
            name: name.into(),
            id,
            view,
            key,
            order_key,
            content: OnceLock::new(),
            compact: piece.shape.compact,
        };
        Ok(Self { element, repaired: piece.shape.trailing_commas, warnings })
    }
}

/// The second try first, where the first is sure to fail: with a comma before a bracket it is not strict JSON (T2).
fn tolerant<'a>(text: &'a str, piece: Piece<'_>) -> Cow<'a, str> {
    if piece.shape.trailing_commas {
        Cow::Owned(render::without_trailing_commas(text))
    } else {
        Cow::Borrowed(text)
    }
}

fn open<'a>(json: &'a str, piece: Piece<'_>) -> Result<Envelope<'a>, Unreadable> {
    let too_deep = piece.shape.depth > DEPTH_MAX;
    if json.starts_with('{') && !too_deep {
        return Envelope::read(json).map_err(|error| Unreadable::not_json(json, &error));
    }
    // serde_json skips a value without recursion, so no depth is too much for it.
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| Unreadable::not_json(json, &error))?;
    Err(if too_deep { Unreadable::too_deep(piece.shape.depth) } else { Unreadable::not_an_object(json) })
}

/// The place of an error as an offset; serde_json counts lines from 1, and in a line the bytes up to and with the wrong one:
/// none where that is the newline before.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (before + error.column()).saturating_sub(1)
}
