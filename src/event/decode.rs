//! A body becomes drafts, and what cannot be read becomes quarantine.

use std::sync::Arc;

use super::{
    Draft, Element,
    split::{place, split},
};

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
    /// The key of a stored event with other content (T6): found by the journal, not by decoding.
    Conflict,
}

impl Reason {
    /// Every reason, for tables and labels.
    pub const ALL: [Self; 7] = [
        Self::NotJson,
        Self::Syntax,
        Self::Utf8,
        Self::Depth,
        Self::NotAnObject,
        Self::NoEventName,
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

/// Reads a body: array or single object, strictly, then with trailing commas tolerated; each element by itself (T2–T5).
///
/// # Errors
/// [`NotJson`] only where the body as a whole cannot be split, or nothing in it is JSON.
pub fn decode(source: &Arc<str>, body: &[u8]) -> Result<Decoded, NotJson> {
    let (slices, comma) = split(body).map_err(|fault| {
        let (line, column) = place(body, fault.offset);
        not_json(source, body, line, column, fault.what)
    })?;
    let mut decoded = Decoded { repaired: u32::from(comma), ..Decoded::default() };
    let mut first_fault = None;
    let mut json = slices.is_empty();
    for slice in slices {
        match Element::read(source, slice.raw) {
            Ok(element) => {
                decoded.repaired += u32::from(element.repaired());
                decoded.warnings += element.warnings();
                decoded.drafts.push(Draft { source: Arc::clone(source), element: Arc::new(element) });
            }
            Err(unreadable) => {
                if let (Reason::Syntax, Some(fault)) = (unreadable.reason, unreadable.place) {
                    first_fault.get_or_insert((slice.offset, fault));
                } else {
                    json = true;
                }
                decoded.quarantined.push(Quarantined {
                    source: Arc::clone(source),
                    bytes: slice.raw.to_vec(),
                    reason: unreadable.reason,
                    detail: unreadable.detail,
                });
            }
        }
    }
    match first_fault {
        Some((offset, (line, column))) if !json && decoded.drafts.is_empty() => {
            let (first_line, first_column) = place(body, offset);
            let column = if line == 1 { first_column - 1 + column } else { column };
            Err(not_json(source, body, first_line + line - 1, column, "no element of it can be read"))
        }
        _ => Ok(decoded),
    }
}

fn not_json(source: &Arc<str>, body: &[u8], line: usize, column: usize, detail: &'static str) -> NotJson {
    let quarantined = Quarantined {
        source: Arc::clone(source),
        bytes: body.to_vec(),
        reason: Reason::NotJson,
        detail: format!("{detail} at line {line}, column {column}"),
    };
    NotJson { line, column, detail, quarantined: Box::new(quarantined) }
}
