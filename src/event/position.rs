//! The position of an error in a quarantine entry. The entry stores it at the end of its `detail`, the text that
//! describes the error.

/// The position of an error in the bytes of a quarantine entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Line and column, both counted from 1. The column counts bytes.
    Line(usize, usize),
    /// Offset in bytes, counted from 0.
    Byte(usize),
}

impl Position {
    /// Parses the position at the end of a detail: `… at line 1 column 2`, `… at line 1, column 2` or `… at byte 3`.
    /// `None` if the detail does not end with a position.
    pub fn read(detail: &str) -> Option<Self> {
        let (_, told) = detail.rsplit_once(" at ")?;
        if let Some(byte) = told.strip_prefix("byte ") {
            return byte.parse().ok().map(Self::Byte);
        }
        let (line, column) = told.strip_prefix("line ")?.split_once(" column ")?;
        Some(Self::Line(line.trim_end_matches(',').parse().ok()?, column.parse().ok()?))
    }

    /// The offset in these bytes, at most their length.
    pub fn offset(self, bytes: &[u8]) -> usize {
        let at = match self {
            Self::Byte(at) => at,
            Self::Line(line, column) => {
                let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
                let start = std::iter::once(0).chain(ends).nth(line.saturating_sub(1));
                start.unwrap_or(bytes.len()).saturating_add(column.saturating_sub(1))
            }
        };
        at.min(bytes.len())
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line, column) => write!(f, "line {line}, column {column}"),
            Self::Byte(at) => write!(f, "byte {at}, counted from 0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::decode;

    #[test]
    fn positions_are_parsed_from_details() {
        assert_eq!(Position::read("expected value at line 1 column 2"), Some(Position::Line(1, 2)));
        assert_eq!(Position::read("no value at line 10, column 3"), Some(Position::Line(10, 3)));
        assert_eq!(Position::read("invalid UTF-8 at byte 7"), Some(Position::Byte(7)));
        for detail in ["an array", "at the end", "looks at line x column 3", "at line 1", ""] {
            assert_eq!(Position::read(detail), None, "{detail}");
        }
    }

    #[test]
    fn the_offset_is_where_decoding_failed() {
        let body = b"{\"a\": 1}\n{\"b\": !}";
        assert_eq!(Position::Line(2, 7).offset(body), 15);
        assert_eq!(body[15], b'!');
        assert_eq!(Position::Line(9, 1).offset(body), body.len());
        assert_eq!(Position::Byte(usize::MAX).offset(body), body.len());
        let wrong = decode(&"bik".into(), b"{\"eventName\":\n !}").unwrap_err();
        let position =
            Position::read(&wrong.quarantined.detail).expect("a position at the end of the detail");
        assert_eq!(position, Position::Line(wrong.line, wrong.column));
    }
}
