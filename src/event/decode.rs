//! A body becomes drafts, and what cannot be read becomes quarantine.

use std::sync::Arc;

use super::{
    Draft,
    element::{Reading, Unreadable},
    split::{Piece, Pieces},
};

/// Elements that any body may have: the largest batch to be expected is 10,000 (BIK, "Build for the worst case").
const ELEMENTS_LEAST: u64 = 20_000;
/// Where a body may be larger than that takes, so many bytes count as one element. BIK's events have several hundred.
const ELEMENT_BYTES: u64 = 256;

/// How many elements a body may have where it may have so many bytes. Without a bound a small body of tiny elements would take
/// a great deal of memory, and the journal a long time.
pub const fn elements_limit(body_limit: u64) -> u64 {
    let limit = body_limit / ELEMENT_BYTES;
    if limit > ELEMENTS_LEAST { limit } else { ELEMENTS_LEAST }
}

/// Reads a body: array or single object, strictly, then with trailing commas tolerated; each element by itself (T2–T5).
///
/// # Errors
/// [`NotJson`] only where the body as a whole cannot be split or nothing in it is JSON.
pub fn decode(source: &Arc<str>, body: &[u8]) -> Result<Decoded, NotJson> {
    Decoder::of(source, body).rest()
}

/// The same for a body of at most `limit` elements; `None` where it has more.
///
/// # Errors
/// [`NotJson`] as above.
pub fn decode_within(source: &Arc<str>, body: &[u8], limit: u64) -> Result<Option<Decoded>, NotJson> {
    let mut decoder = Decoder::of(source, body);
    decoder.left = usize::try_from(limit).unwrap_or(usize::MAX);
    let decoded = decoder.rest()?;
    Ok(match decoder.pieces.next() {
        None => Some(decoded),
        Some(Ok(_more)) => None,
        Some(Err(broken)) => return Err(NotJson::new(source, body, broken.at, broken.what)),
    })
}

/// Reads a body part by part, so that one of any number of elements takes no more memory than a part.
pub struct Decoder<'a> {
    source: &'a Arc<str>,
    body: &'a [u8],
    text: Option<&'a str>,
    pieces: Pieces<'a>,
    /// Elements of the part that are still to be read.
    left: usize,
}

impl<'a> Decoder<'a> {
    /// Of a body from this source.
    pub fn of(source: &'a Arc<str>, body: &'a [u8]) -> Self {
        let text = std::str::from_utf8(body).ok();
        Self { source, body, text, pieces: Pieces::of(body, text), left: usize::MAX }
    }

    /// The next elements, at most `most` of them; `None` at the end.
    ///
    /// # Errors
    /// [`NotJson`] where the body cannot be split further.
    pub fn part(&mut self, most: usize) -> Result<Option<Decoded>, NotJson> {
        self.left = most;
        let decoded = self.read(&mut None)?;
        Ok((!decoded.drafts.is_empty() || !decoded.quarantined.is_empty()).then_some(decoded))
    }

    /// What is left of the part, where it is all that is asked of the body.
    fn rest(&mut self) -> Result<Decoded, NotJson> {
        let mut no_json = None;
        let decoded = self.read(&mut no_json)?;
        match no_json {
            Some(at) if decoded.is_no_json() => {
                Err(NotJson::new(self.source, self.body, at, "this is no JSON value"))
            }
            _ => Ok(decoded),
        }
    }

    /// `no_json` becomes the first place that is no JSON.
    fn read(&mut self, no_json: &mut Option<usize>) -> Result<Decoded, NotJson> {
        let mut decoded = Decoded::default();
        while let Some(left) = self.left.checked_sub(1) {
            let Some(piece) = self.pieces.next() else { break };
            self.left = left;
            let piece =
                piece.map_err(|broken| NotJson::new(self.source, self.body, broken.at, broken.what))?;
            let known = self.text.and_then(|text| text.get(piece.at..piece.at + piece.bytes.len()));
            match Reading::of(self.source, &piece, known) {
                Ok(reading) => decoded.accept(self.source, reading),
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

/// What a body became.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The events, in the order of the body.
    pub drafts: Vec<Draft>,
    /// What could not be read, each alone.
    pub quarantined: Vec<Quarantined>,
    /// How many elements needed the tolerant second try (T2).
    pub repaired: u32,
    /// How many optional fields had a wrong type and were left out of a typed view (T5).
    pub warnings: u32,
}

impl Decoded {
    fn accept(&mut self, source: &Arc<str>, reading: Reading) {
        let Reading { element, key, content, repaired, warnings } = reading;
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

/// Bytes that could not be stored as an event, and why. Its `Debug` shows no bytes.
#[derive(Clone)]
pub struct Quarantined {
    /// The name of the source that they came in by.
    pub source: Arc<str>,
    /// The bytes as they came.
    pub bytes: Vec<u8>,
    /// The class of what is wrong: safe for logs and labels.
    pub reason: Reason,
    /// What is wrong, with the place; may quote the payload, so it goes only into the quarantine's row.
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

/// Why something is in quarantine: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The whole body is not JSON, also on the tolerant second try.
    NotJson,
    /// This element is not JSON, also on the tolerant second try.
    Syntax,
    /// This element is not UTF-8.
    Utf8,
    /// This element is nested deeper than 128.
    Depth,
    /// A scalar, null or an array where an object belongs.
    NotAnObject,
    /// An object without an `eventName` that is a non-empty string.
    NoEventName,
    /// More elements in one body than earlier versions read one by one; now it is refused with 413.
    TooMany,
    /// The key of a stored event with other content (T6): found by the journal, not by decoding.
    Conflict,
}

impl Reason {
    /// Every reason, for tables and labels.
    pub const ALL: [Self; 8] = [
        Self::NotJson,
        Self::Syntax,
        Self::Utf8,
        Self::Depth,
        Self::NotAnObject,
        Self::NoEventName,
        Self::TooMany,
        Self::Conflict,
    ];

    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Syntax => "syntax",
            Self::Utf8 => "utf8",
            Self::Depth => "depth",
            Self::NotAnObject => "not_an_object",
            Self::NoEventName => "no_event_name",
            Self::TooMany => "too_many",
            Self::Conflict => "conflict",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// The whole body is not JSON, strictly and tolerantly: the sender gets 400, the bytes go to quarantine.
#[derive(Debug, thiserror::Error)]
#[error("the body is not JSON: {detail} at line {line}, column {column}")]
pub struct NotJson {
    /// Counted from 1.
    pub line: usize,
    /// In bytes, counted from 1.
    pub column: usize,
    /// What was wrong there; quotes nothing of the payload.
    pub detail: &'static str,
    /// The whole body, to be quarantined.
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

/// Line and column of a place, both from 1, the column in bytes.
fn place(body: &[u8], at: usize) -> (usize, usize) {
    let before = body.get(..at).unwrap_or(body);
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let newlines = before.iter().filter(|&&byte| byte == b'\n').count();
    (newlines + 1, before.len() - line_start + 1)
}
