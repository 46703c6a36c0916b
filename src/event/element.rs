//! One element of a body: its original bytes, its typed view, and the values derived from them.

use std::{borrow::Cow, fmt, ops::Range, str::Utf8Error, sync::OnceLock};

use serde::de::IgnoredAny;

use super::{
    Class, Reason, View,
    digest::{ContentDigest, Key, OrderKey},
    envelope::INCOMING_MESSAGE,
    field::Reader,
    render,
    scan::{self, DEPTH_MAX},
    split::{self, Piece},
    view::Envelope,
};

/// One event as BIK sent it. Its `Debug` output contains no personal data.
pub struct Element {
    raw: Box<str>,
    name: ElementText,
    id: Option<ElementText>,
    message_id: Option<ElementText>,
    key: OnceLock<Key>,
    order_key: OnceLock<OrderKey>,
    /// The bytes with each trailing comma replaced by a blank. `None` if there is no trailing comma.
    repaired: Option<Box<str>>,
    /// The bytes are equal to their rendering.
    compact: bool,
}

impl Element {
    /// Reads the bytes of one element, such as a stored one.
    ///
    /// # Errors
    /// Returns [`Unreadable`] with the reason. Received bytes with this error belong in quarantine.
    pub fn read(raw: &[u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(raw).ok();
        let piece = split::single(raw, text)
            .map_err(|error| Unreadable::syntax(error.at, format!("{} (byte {})", error.what, error.at)))?;
        read(&piece, text, |parsed| parsed.element())
    }

    /// The bytes exactly as they were received (BIK T7, "stored").
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The bytes without trailing commas and without blanks between tokens: one line of JSON (BIK T7, "rendered").
    pub fn rendered(&self) -> Cow<'_, str> {
        if self.compact { Cow::Borrowed(&self.raw) } else { Cow::Owned(render::compact(&self.raw)) }
    }

    /// The element's `eventName`; never empty.
    pub fn name(&self) -> &str {
        self.name.within(&self.raw)
    }

    /// BIK's `id`, or the `eventId` of a subscribed event (BIK §3). Opaque; a number keeps its exact text.
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().map(|id| id.within(&self.raw))
    }

    /// The first `messageId` in `eventInfo`, or else the element's own. The order key is computed from it.
    pub fn message_id(&self) -> Option<&str> {
        self.message_id.as_ref().map(|id| id.within(&self.raw))
    }

    /// Returns the typed view. Parses the bytes at every call.
    pub fn view(&self) -> View<'_> {
        self.envelope().view(self.name(), &mut Reader::default())
    }

    /// The key (BIK T6). The source must be the same in every call, because the key is cached. Intake computes the key
    /// when it decodes; for a stored element the first call parses the bytes.
    pub fn key(&self, source: &str) -> Key {
        *self.key.get_or_init(|| self.envelope().key(source, self.name(), &self.raw))
    }

    /// The lane that the event takes.
    pub fn class(&self) -> Class {
        if self.name() == INCOMING_MESSAGE { Class::Incoming } else { Class::Other }
    }

    /// The [`OrderKey`]; `None` if the element has no `messageId`. The source must be the same in every call, because
    /// the order key is cached. It is computed at the first call of this function; intake does not call it.
    pub fn order_key(&self, source: &str) -> Option<OrderKey> {
        let id = self.message_id()?;
        Some(*self.order_key.get_or_init(|| OrderKey::of(source, id)))
    }

    fn envelope(&self) -> Box<Envelope<'_>> {
        let json = self.repaired.as_deref().unwrap_or(&self.raw);
        // These bytes were parsed when the element was created, so this cannot fail.
        scan::whole(json).unwrap_or_default()
    }
}

/// A text of an element. Nearly always it is part of the element's bytes, so only its range in the bytes is stored.
enum ElementText {
    Within(Range<usize>),
    Apart(Box<str>),
}

impl ElementText {
    /// Stores a text that was read from `raw`.
    fn of(text: Cow<'_, str>, raw: &str) -> Self {
        if let Cow::Borrowed(text) = text {
            let start = text.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
            let range = start..start.wrapping_add(text.len());
            if raw.get(range.clone()) == Some(text) {
                return Self::Within(range);
            }
        }
        Self::Apart(text.into())
    }

    fn within<'a>(&'a self, raw: &'a str) -> &'a str {
        match self {
            Self::Within(range) => &raw[range.clone()],
            Self::Apart(text) => text,
        }
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Element")
            .field("name", &self.name())
            .field("view", &self.view())
            .finish_non_exhaustive()
    }
}

/// The reason why an element cannot be read. Neither the error message nor the `Debug` output contains anything of the
/// element's bytes. The `Debug` output contains `detail`, but in this version of bikhook no `detail` quotes the bytes.
#[derive(Debug, thiserror::Error)]
#[error("the element cannot be read: {}", reason.as_str())]
pub struct Unreadable {
    /// The kind of error: safe for logs and labels.
    pub reason: Reason,
    /// The error, and its position in the element if it has one. This text is stored only in the quarantine entry,
    /// because a later version of bikhook may quote the payload in it.
    pub detail: String,
    /// The position in the element, as a byte offset.
    pub(super) at: usize,
}

impl Unreadable {
    fn syntax(at: usize, detail: String) -> Self {
        Self { reason: Reason::Syntax, detail, at }
    }

    fn too_deep(depth: usize) -> Self {
        let detail = format!("nested {depth} levels deep; the limit is {DEPTH_MAX}");
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

    /// Makes the error for a piece that is not UTF-8. The reason is `Utf8` only if the piece is JSON apart from the
    /// invalid bytes. Otherwise, for example for binary data, the reason is `Syntax`.
    fn not_utf8(piece: &Piece<'_>, error: Utf8Error) -> Self {
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

/// An element, and the values that intake needs.
pub(super) struct IntakeElement {
    pub(super) element: Element,
    pub(super) key: Key,
    pub(super) content: ContentDigest,
    /// The element has trailing commas (BIK T2).
    pub(super) repaired: bool,
    /// The number of optional fields with a wrong type (BIK T5).
    pub(super) warnings: u32,
}

impl IntakeElement {
    /// Reads a piece of a body. `text` is the piece as a string; `None` if it is not known to be UTF-8.
    pub(super) fn of(source: &str, piece: &Piece<'_>, text: Option<&str>) -> Result<Self, Unreadable> {
        read(piece, text, |parsed| {
            let key = parsed.envelope.key(source, &parsed.name, parsed.raw);
            let element = Element { key: key.into(), ..parsed.element() };
            let mut reader = Reader::counting();
            parsed.envelope.view(&parsed.name, &mut reader);
            Self {
                key,
                content: ContentDigest::of(&element.rendered()),
                repaired: parsed.repaired.is_some(),
                warnings: reader.warnings,
                element,
            }
        })
    }
}

/// The result of parsing the bytes of an element.
struct ParsedElement<'a> {
    raw: &'a str,
    repaired: Option<&'a str>,
    compact: bool,
    envelope: &'a Envelope<'a>,
    name: Cow<'a, str>,
}

impl ParsedElement<'_> {
    fn element(&self) -> Element {
        let text = |text: Cow<'_, str>| ElementText::of(text, self.raw);
        Element {
            raw: self.raw.into(),
            name: text(self.name.clone()),
            id: self.envelope.id().map(text),
            message_id: self.envelope.message_id().map(text),
            key: OnceLock::new(),
            order_key: OnceLock::new(),
            repaired: self.repaired.map(Box::from),
            compact: self.compact,
        }
    }
}

/// Reads a piece and passes the result to `make`.
fn read<T>(
    piece: &Piece<'_>,
    text: Option<&str>,
    make: impl FnOnce(ParsedElement<'_>) -> T,
) -> Result<T, Unreadable> {
    let raw = match text {
        Some(text) => text,
        None => std::str::from_utf8(piece.bytes).map_err(|error| Unreadable::not_utf8(piece, error))?,
    };
    let json;
    let repaired_envelope;
    let (envelope, repaired) = if let Some(envelope) = &piece.envelope {
        (envelope, None)
    } else {
        json = tolerant(raw, piece);
        repaired_envelope = parse(&json, piece)?;
        (&repaired_envelope, piece.shape.trailing_commas.then_some(&*json))
    };
    let name = envelope.name().map_err(|what| Unreadable {
        reason: Reason::NoEventName,
        detail: what.to_owned(),
        at: 0,
    })?;
    Ok(make(ParsedElement { raw, repaired, compact: piece.shape.compact, envelope, name }))
}

/// Replaces trailing commas by blanks, if there are any. This happens before the first attempt to parse, because a
/// strict parser always fails at a comma before a bracket (BIK T2).
fn tolerant<'a>(text: &'a str, piece: &Piece<'_>) -> Cow<'a, str> {
    if piece.shape.trailing_commas {
        Cow::Owned(render::without_trailing_commas(text))
    } else {
        Cow::Borrowed(text)
    }
}

fn parse<'a>(json: &'a str, piece: &Piece<'_>) -> Result<Box<Envelope<'a>>, Unreadable> {
    if let Some(envelope) = scan::whole(json) {
        return Ok(envelope);
    }
    // serde_json describes the syntax error, if there is one. It skips a value without recursion, so no nesting is too
    // deep for it.
    serde_json::from_str::<IgnoredAny>(json)
        .map_err(|error| Unreadable::syntax(offset(json, &error), error.to_string()))?;
    let too_deep = piece.shape.depth > DEPTH_MAX;
    Err(if too_deep { Unreadable::too_deep(piece.shape.depth) } else { Unreadable::not_an_object(json) })
}

/// Returns the position of an error as an offset. serde_json counts lines from 1. The column is the number of bytes
/// from the start of the line up to and including the wrong byte. The column is 0 if the wrong byte is the newline that
/// ends the previous line.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (before + error.column()).saturating_sub(1)
}
