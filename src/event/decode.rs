//! Decodes a body into drafts, and into quarantine entries for the unreadable parts.

use std::sync::Arc;

use super::{
    Draft, Reason,
    element::{IntakeElement, Unreadable},
    split::{Piece, Pieces},
};

/// Every body may have this many elements. The largest expected batch is 10,000 (docs/bik.md, "Build for the worst
/// case").
const ELEMENTS_LEAST: u64 = 20_000;
/// The maximum number of elements is the body limit divided by this size, or [`ELEMENTS_LEAST`] if that is more. BIK's
/// events have several hundred bytes.
const ELEMENT_BYTES: u64 = 256;

/// The maximum number of elements of a body, for a `body_limit` in bytes. Without this maximum, a small body of tiny
/// elements would take much memory and keep the journal busy for a long time.
pub const fn elements_limit(body_limit: u64) -> u64 {
    let limit = body_limit / ELEMENT_BYTES;
    if limit > ELEMENTS_LEAST { limit } else { ELEMENTS_LEAST }
}

/// Reads a body: an array of elements or a single one. Each element is read separately, with trailing commas allowed
/// (BIK T2 to T5).
///
/// # Errors
/// Returns [`NotJson`] if the body cannot be split into elements, or if nothing in it is JSON.
pub fn decode(source: &Arc<str>, body: &[u8]) -> Result<Decoded, NotJson> {
    Decoder::of(source, body).rest()
}

/// Like [`decode`], but returns `None` if the body has more than `limit` elements.
///
/// # Errors
/// Returns [`NotJson`] as [`decode`] does.
pub fn decode_within(source: &Arc<str>, body: &[u8], limit: u64) -> Result<Option<Decoded>, NotJson> {
    let mut decoder = Decoder::of(source, body);
    decoder.left = usize::try_from(limit).unwrap_or(usize::MAX);
    let decoded = decoder.rest()?;
    Ok(match decoder.pieces.next() {
        None => Some(decoded),
        Some(Ok(_more)) => None,
        Some(Err(error)) => return Err(NotJson::new(source, body, error.at, error.what)),
    })
}

/// Reads a body in parts, so that only the decoded elements of one part are in memory.
pub struct Decoder<'a> {
    source: &'a Arc<str>,
    body: &'a [u8],
    text: Option<&'a str>,
    pieces: Pieces<'a>,
    /// The number of elements that the current part may still have.
    left: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the beginning of a body from this source.
    pub fn of(source: &'a Arc<str>, body: &'a [u8]) -> Self {
        let text = std::str::from_utf8(body).ok();
        Self { source, body, text, pieces: Pieces::of(body, text), left: usize::MAX }
    }

    /// Reads the next elements, at most `most`. `None` at the end of the body.
    ///
    /// # Errors
    /// Returns [`NotJson`] if the rest of the body cannot be split into elements. The elements of this part that were
    /// already read are dropped.
    pub fn part(&mut self, most: usize) -> Result<Option<Decoded>, NotJson> {
        self.left = most;
        let decoded = self.read(&mut None)?;
        Ok((!decoded.drafts.is_empty() || !decoded.quarantined.is_empty()).then_some(decoded))
    }

    /// Reads up to `left` elements. Returns [`NotJson`] if none of them is JSON.
    fn rest(&mut self) -> Result<Decoded, NotJson> {
        let mut no_json = None;
        let decoded = self.read(&mut no_json)?;
        match no_json {
            Some(at) if decoded.is_no_json() => {
                Err(NotJson::new(self.source, self.body, at, "this is not a JSON value"))
            }
            _ => Ok(decoded),
        }
    }

    /// Reads up to `left` elements. If an element is not JSON, sets `no_json` to the offset of the error in the first
    /// such element.
    fn read(&mut self, no_json: &mut Option<usize>) -> Result<Decoded, NotJson> {
        let mut decoded = Decoded::default();
        while let Some(left) = self.left.checked_sub(1) {
            let Some(piece) = self.pieces.next() else { break };
            self.left = left;
            let piece = piece.map_err(|error| NotJson::new(self.source, self.body, error.at, error.what))?;
            let known = self.text.and_then(|text| text.get(piece.at..piece.at + piece.bytes.len()));
            match IntakeElement::of(self.source, &piece, known) {
                Ok(read) => decoded.accept(self.source, read),
                Err(unreadable) => {
                    if unreadable.reason == Reason::Syntax {
                        no_json.get_or_insert(piece.at + unreadable.at);
                    }
                    decoded.quarantine(self.source, &piece, unreadable);
                }
            }
        }
        Ok(decoded)
    }
}

/// The result of decoding a body.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The accepted events, in the order of the body.
    pub drafts: Vec<Draft>,
    /// The unreadable elements, one entry for each.
    pub quarantined: Vec<Quarantined>,
    /// The number of accepted elements with trailing commas (BIK T2).
    pub repaired: u32,
    /// The number of optional fields with a wrong type; they are absent in the typed view (BIK T5).
    pub warnings: u32,
}

impl Decoded {
    fn accept(&mut self, source: &Arc<str>, read: IntakeElement) {
        let IntakeElement { element, key, content, repaired, warnings } = read;
        self.repaired += u32::from(repaired);
        self.warnings = self.warnings.saturating_add(warnings);
        self.drafts.push(Draft { source: Arc::clone(source), element: Arc::new(element), key, content });
    }

    fn quarantine(&mut self, source: &Arc<str>, piece: &Piece<'_>, unreadable: Unreadable) {
        self.quarantined.push(Quarantined {
            source: Arc::clone(source),
            bytes: piece.bytes.to_vec(),
            reason: unreadable.reason,
            detail: unreadable.detail,
        });
    }

    fn is_no_json(&self) -> bool {
        self.drafts.is_empty() && self.quarantined.iter().all(|item| item.reason == Reason::Syntax)
    }
}

/// Bytes that could not be stored as an event, and the reason. The `Debug` output contains no bytes.
#[derive(Clone)]
pub struct Quarantined {
    /// The name of the source that received the bytes.
    pub source: Arc<str>,
    /// The bytes exactly as they were received.
    pub bytes: Vec<u8>,
    /// The kind of error: safe for logs and labels.
    pub reason: Reason,
    /// The error, and its position if it has one. This text is stored only in the quarantine entry, because a later
    /// version of bikhook may quote the payload in it.
    pub detail: String,
}

impl std::fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quarantined")
            .field("source", &self.source)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// The body cannot be split into elements, or no element is JSON, even with trailing commas allowed. The sender gets
/// 400, and the bytes go to quarantine.
#[derive(Debug, thiserror::Error)]
#[error("the body is not JSON: {detail} at line {line}, column {column}")]
pub struct NotJson {
    /// The line of the error, counted from 1.
    pub line: usize,
    /// The column of the error, in bytes, counted from 1.
    pub column: usize,
    /// A description of the error. Quotes nothing of the payload.
    pub detail: &'static str,
    /// The whole body, to be put into quarantine.
    pub quarantined: Box<Quarantined>,
}

impl NotJson {
    fn new(source: &Arc<str>, body: &[u8], at: usize, detail: &'static str) -> Self {
        let (line, column) = place(body, at);
        Self {
            line,
            column,
            detail,
            quarantined: Box::new(Quarantined {
                source: Arc::clone(source),
                bytes: body.to_vec(),
                reason: Reason::NotJson,
                detail: format!("{detail} at line {line}, column {column}"),
            }),
        }
    }
}

/// The line and column of an offset in the body, both counted from 1; the column is in bytes.
fn place(body: &[u8], at: usize) -> (usize, usize) {
    let before = body.get(..at).unwrap_or(body);
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let newlines = before.iter().filter(|&&byte| byte == b'\n').count();
    (newlines + 1, before.len() - line_start + 1)
}
