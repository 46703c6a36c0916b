//! Splits a body into raw slices, one per element (BIK T4).
//!
//! Nearly every element is an object of strict JSON. Such an object is parsed in place, which also finds its end. For
//! anything else a simple pass finds the end: it knows only strings, escapes and the nesting level. The pass works on
//! bytes and counts levels instead of keeping a stack, so neither invalid UTF-8 nor deep nesting in one element affects
//! another. It does not check that `]` closes `[` inside an element. An element with mixed brackets is not JSON, so
//! parsing that element fails later. The elements before and after it are unaffected.

use super::{
    scan::{self, is_blank},
    view::Envelope,
};

/// One element in the body, and its shape.
pub(super) struct Piece<'a> {
    /// The offset of its first byte in the body.
    pub at: usize,
    /// Its bytes, from the first token to the last one.
    pub bytes: &'a [u8],
    /// The properties that splitting has found.
    pub shape: PieceShape,
    /// The parsed fields. `None` if the body is not UTF-8, or if the element is not an object of strict JSON or is
    /// nested too deeply.
    pub envelope: Option<Box<Envelope<'a>>>,
}

/// The properties of an element. They are found in one pass over its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PieceShape {
    /// The nesting depth: 0 for a scalar, 1 for an object of scalars.
    pub depth: usize,
    /// No blanks between tokens and no trailing commas: the bytes are equal to their rendering (BIK T7).
    pub compact: bool,
    /// At least one comma is the last token before a closing bracket. Strict JSON does not allow this (BIK T2).
    pub trailing_commas: bool,
}

/// The body as a whole cannot be split. The error quotes nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SplitError {
    /// The offset in the body, in bytes.
    pub at: usize,
    /// A description of the error.
    pub what: &'static str,
}

/// Iterates over the elements of a body: those of an array, or one bare value. Ends after the first [`SplitError`].
pub(super) struct Pieces<'a> {
    scanner: BodyScanner<'a>,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    Value,
    /// An element, or the end of the array.
    Element,
    /// Blanks up to the end of the body.
    End,
    /// Nothing: the end was reached, or an error occurred.
    Nothing,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl<'a> Pieces<'a> {
    /// Starts at the beginning of a body. `text` is the same body if it is UTF-8.
    pub(super) fn of(body: &'a [u8], text: Option<&'a str>) -> Self {
        let mut scanner = BodyScanner { body, text, at: if body.starts_with(BOM) { BOM.len() } else { 0 } };
        scanner.skip_blanks();
        let expected = if scanner.peek() == Some(b'[') {
            scanner.at += 1;
            Expected::Element
        } else {
            Expected::Value
        };
        Self { scanner, expected }
    }

    fn step(&mut self) -> Result<Option<Piece<'a>>, SplitError> {
        match self.expected {
            Expected::Value => self.value().map(Some),
            Expected::Element => self.element(),
            Expected::End => self.end().map(|()| None),
            Expected::Nothing => Ok(None),
        }
    }

    fn value(&mut self) -> Result<Piece<'a>, SplitError> {
        if self.scanner.peek().is_none() {
            return Err(self.scanner.error("the body is empty"));
        }
        let piece = self.scanner.value("expected a value")?;
        self.expected = Expected::End;
        Ok(piece)
    }

    /// Reads what follows `[` or a comma: an element or `]`. If `]` follows a comma, that comma is a trailing one.
    fn element(&mut self) -> Result<Option<Piece<'a>>, SplitError> {
        self.scanner.skip_blanks();
        if self.scanner.peek() == Some(b']') {
            self.scanner.at += 1;
            return self.end().map(|()| None);
        }
        let piece = self.scanner.value("expected an element")?;
        match self.scanner.peek() {
            Some(b',') => {}
            Some(b']') => self.expected = Expected::End,
            Some(_) => return Err(self.scanner.error("the array is closed by a brace")),
            None => return Err(self.scanner.error("the array is not closed")),
        }
        self.scanner.at += 1;
        Ok(Some(piece))
    }

    fn end(&mut self) -> Result<(), SplitError> {
        self.expected = Expected::Nothing;
        self.scanner.skip_blanks();
        match self.scanner.peek() {
            None => Ok(()),
            Some(_) => Err(self.scanner.error("unexpected content after the end")),
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, SplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.expected = Expected::Nothing;
        }
        step.transpose()
    }
}

/// Reads bytes that hold a single value, such as one stored element.
pub(super) fn single<'a>(bytes: &'a [u8], text: Option<&'a str>) -> Result<Piece<'a>, SplitError> {
    let mut scanner = BodyScanner { body: bytes, text, at: 0 };
    scanner.skip_blanks();
    let piece = scanner.value("expected a value")?;
    match scanner.peek() {
        None => Ok(piece),
        Some(_) => Err(scanner.error("unexpected content after the end")),
    }
}

/// Returns the offset after the string that opens at `open`. `None` if the string does not end.
pub(super) fn string_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

struct BodyScanner<'a> {
    body: &'a [u8],
    /// The same bytes as text, if they are UTF-8.
    text: Option<&'a str>,
    at: usize,
}

impl<'a> BodyScanner<'a> {
    /// Reads a value up to a comma or closing bracket at its own level, or to the end of the body. The comma or bracket
    /// is not consumed. Blanks after the value are not part of the piece.
    fn value(&mut self, expected: &'static str) -> Result<Piece<'a>, SplitError> {
        match self.object() {
            Some(piece) => Ok(piece),
            None => self.anything(expected),
        }
    }

    /// Reads an object of strict JSON. `None` if there is none, or if the body is not UTF-8. It is also `None` if any
    /// token other than a comma or a closing bracket follows. After `None`, the position has not changed.
    fn object(&mut self) -> Option<Piece<'a>> {
        let start = self.at;
        let scan::ScannedObject { slots, end, depth, compact } = scan::object(self.text?, start)?;
        self.at = end;
        self.skip_blanks();
        if !matches!(self.peek(), None | Some(b',' | b']' | b'}')) {
            self.at = start;
            return None;
        }
        Some(Piece {
            at: start,
            bytes: self.body.get(start..end)?,
            shape: PieceShape { depth, compact, trailing_commas: false },
            envelope: Some(slots),
        })
    }

    /// Reads a value of any kind, valid or not.
    fn anything(&mut self, expected: &'static str) -> Result<Piece<'a>, SplitError> {
        let start = self.at;
        let mut end = start; // of the last token
        let (mut level, mut depth) = (0_usize, 0_usize);
        let (mut compact, mut trailing_commas, mut after_comma) = (true, false, false);
        while let Some(byte) = self.peek() {
            let token = self.at;
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {
                    self.at += 1;
                    continue;
                }
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    level += 1;
                    depth = depth.max(level);
                    self.at += 1;
                }
                b'}' | b']' | b',' if level == 0 => break,
                b'}' | b']' => {
                    level -= 1;
                    trailing_commas |= after_comma;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            compact &= token == end;
            after_comma = byte == b',';
            end = self.at;
        }
        if level > 0 {
            return Err(self.error("the body ends inside an array or an object"));
        }
        match self.body.get(start..end) {
            Some(bytes) if !bytes.is_empty() => Ok(Piece {
                at: start,
                bytes,
                shape: PieceShape { depth, compact: compact && !trailing_commas, trailing_commas },
                envelope: None,
            }),
            _ => Err(self.error(expected)),
        }
    }

    fn skip_string(&mut self) -> Result<(), SplitError> {
        let unclosed = SplitError { at: self.body.len(), what: "the body ends inside a string" };
        self.at = string_end(self.body, self.at).ok_or(unclosed)?;
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    const fn error(&self, what: &'static str) -> SplitError {
        SplitError { at: self.at, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits with and without parsing the objects in place; the results must be equal.
    fn cut(body: &str) -> Result<Vec<&str>, SplitError> {
        let [quick, slow] = [Some(body), None].map(|text| {
            Pieces::of(body.as_bytes(), text)
                .map(|piece| piece.map(|piece| std::str::from_utf8(piece.bytes).unwrap()))
                .collect()
        });
        assert_eq!(quick, slow);
        quick
    }

    fn shape(element: &str) -> PieceShape {
        let [quick, slow] = [Some(element), None].map(|text| single(element.as_bytes(), text).unwrap().shape);
        assert_eq!(quick, slow);
        quick
    }

    #[test]
    fn an_array_is_split_at_its_own_commas() {
        assert_eq!(cut("[]"), Ok(vec![]));
        assert_eq!(cut(" [ 1 , {\"a\" : [1,2]} ] "), Ok(vec!["1", "{\"a\" : [1,2]}"]));
        assert_eq!(cut(r#"["],\"[", "\\"]"#), Ok(vec![r#""],\"[""#, r#""\\""#]));
        assert_eq!(cut("[1,2,]"), Ok(vec!["1", "2"]));
        assert_eq!(cut("\u{feff}\r\n[1]"), Ok(vec!["1"]));
    }

    #[test]
    fn a_bare_value_is_one_element() {
        assert_eq!(cut(" {\"a\":1}\n"), Ok(vec!["{\"a\":1}"]));
        assert_eq!(cut("null"), Ok(vec!["null"]));
    }

    #[test]
    fn mixed_brackets_in_one_element_do_not_affect_the_next() {
        assert_eq!(cut(r#"[{"a":1],{"b":2}]"#), Ok(vec![r#"{"a":1]"#, r#"{"b":2}"#]));
    }

    #[test]
    fn a_body_that_cannot_be_split_is_an_error_with_the_position() {
        let broken = |at, what| Err(SplitError { at, what });
        assert_eq!(cut(""), broken(0, "the body is empty"));
        assert_eq!(cut("\u{feff} "), broken(4, "the body is empty"));
        assert_eq!(cut("["), broken(1, "expected an element"));
        assert_eq!(cut("[1"), broken(2, "the array is not closed"));
        assert_eq!(cut("[1}"), broken(2, "the array is closed by a brace"));
        assert_eq!(cut("[,]"), broken(1, "expected an element"));
        assert_eq!(cut("[1,,2]"), broken(3, "expected an element"));
        assert_eq!(cut("[1,,]"), broken(3, "expected an element"));
        assert_eq!(cut("]"), broken(0, "expected a value"));
        assert_eq!(cut("[1] 2"), broken(4, "unexpected content after the end"));
        assert_eq!(cut("{},"), broken(2, "unexpected content after the end"));
        assert_eq!(cut("[{\"a\":1"), broken(7, "the body ends inside an array or an object"));
        assert_eq!(cut("[\"a]"), broken(4, "the body ends inside a string"));
        assert_eq!(cut("[\"a\\"), broken(4, "the body ends inside a string"));
    }

    #[test]
    fn the_shape_has_depth_blanks_and_trailing_commas() {
        let compact = PieceShape { depth: 1, compact: true, trailing_commas: false };
        assert_eq!(shape(r#"{"a b, ]":1}"#), compact);
        assert_eq!(shape(r#"{"a": 1}"#), PieceShape { compact: false, ..compact });
        assert_eq!(shape("{\n}"), PieceShape { compact: false, ..compact });
        assert_eq!(shape(r#"{"a":1,}"#), PieceShape { compact: false, trailing_commas: true, ..compact });
        assert_eq!(shape(r#"{"a":1, }"#), PieceShape { compact: false, trailing_commas: true, ..compact });
        assert_eq!(shape(r#"{"a":[[]],"b":[]}"#), PieceShape { depth: 3, ..compact });
        assert_eq!(shape(" 17 "), PieceShape { depth: 0, ..compact });
    }
}
