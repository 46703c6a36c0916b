//! Formats the bytes of a quarantine entry for display. The error position is the offset at which parsing the bytes
//! failed.

use std::fmt::Write as _;

/// The maximum number of bytes shown as text.
const TEXT_BYTES: usize = 16 * 1024;
/// The number of bytes shown before the error position, if this position is more than `TEXT_BYTES / 2` from the start.
const BEFORE_BYTES: usize = 4 * 1024;
/// The maximum number of bytes shown as hex digits.
pub(super) const HEX_BYTES: usize = 2 * 1024;
const HEX_ROW: usize = 16;
const HALF_ROW: usize = HEX_ROW / 2;

/// Bytes as text, with the error position marked.
pub(super) struct MarkedText {
    /// The offset of the first byte shown.
    pub(super) begins_at: usize,
    pub(super) before: String,
    /// The character at the error position; empty if there is no error position, or if the error position is the end of
    /// the bytes.
    pub(super) marked: String,
    pub(super) after: String,
    /// The error position is the end of the bytes.
    pub(super) ends_wrong: bool,
    /// More bytes follow those that are shown.
    pub(super) is_cut: bool,
}

impl MarkedText {
    /// Selects the bytes around the error position; without one, the first bytes.
    pub(super) fn of(bytes: &[u8], wrong: Option<usize>) -> Self {
        let begins_at = wrong.filter(|at| *at > TEXT_BYTES / 2).map_or(0, |at| at - BEFORE_BYTES);
        let end = bytes.len().min(begins_at + TEXT_BYTES);
        let at = wrong.unwrap_or(end).clamp(begins_at, end);
        // Mark all bytes of a multi-byte character.
        let more = bytes[at..end].iter().skip(1).take_while(|byte| **byte & 0xC0 == 0x80).take(3).count();
        let marked_end = if wrong.is_some() { end.min(at + 1 + more) } else { at };
        Self {
            begins_at,
            before: readable(&bytes[begins_at..at]),
            marked: readable(&bytes[at..marked_end]),
            after: readable(&bytes[marked_end..end]),
            ends_wrong: wrong == Some(bytes.len()),
            is_cut: end < bytes.len(),
        }
    }
}

/// Decodes bytes as UTF-8. Invalid bytes and bidirectional control characters become U+FFFD. ASCII control characters
/// other than newline and tab become their Unicode control pictures.
fn readable(bytes: &[u8]) -> String {
    let picture = |letter: char| match letter {
        '\n' | '\t' => letter,
        '\0'..='\x1f' => char::from_u32(0x2400 + letter as u32).unwrap_or(letter),
        '\x7f' => '␡',
        // Bidirectional control characters could make the text look different from its content.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => letter,
    };
    String::from_utf8_lossy(bytes).chars().map(picture).collect()
}

/// The first bytes as hex digits, with a column of printable ASCII.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, part) in bytes[..bytes.len().min(HEX_BYTES)].chunks(HEX_ROW).enumerate() {
        let mut digits = String::new();
        for (at, byte) in part.iter().enumerate() {
            let gap = match at {
                0 => "",
                HALF_ROW => "  ",
                _ => " ",
            };
            // Writing to a String does not fail.
            let _ = write!(digits, "{gap}{byte:02x}");
        }
        let ascii: String =
            part.iter().map(|byte| if (b' '..=b'~').contains(byte) { *byte as char } else { '.' }).collect();
        let _ = writeln!(text, "{:06x}  {digits:<48}  {ascii}", row * HEX_ROW);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_position_marks_a_whole_character() {
        let text = MarkedText::of("{\"a\": é}".as_bytes(), Some(6));
        assert_eq!((&*text.before, &*text.marked, &*text.after), ("{\"a\": ", "é", "}"));
        let end = MarkedText::of(b"{", Some(1));
        assert_eq!((&*end.before, &*end.marked, end.ends_wrong), ("{", "", true));
        let none = MarkedText::of(b"null", None);
        assert_eq!((&*none.before, none.ends_wrong, none.is_cut), ("null", false, false));
        assert_eq!(MarkedText::of(b"", None).before, "");
    }

    #[test]
    fn a_distant_error_position_is_shown_with_its_surroundings() {
        let mut bytes = vec![b'a'; 100_000];
        bytes[50_000] = b'!';
        let text = MarkedText::of(&bytes, Some(50_000));
        assert_eq!((text.begins_at, &*text.marked), (50_000 - BEFORE_BYTES, "!"));
        assert_eq!(text.before.len() + 1 + text.after.len(), TEXT_BYTES);
        assert!(text.is_cut);
    }

    #[test]
    fn control_characters_become_control_pictures() {
        assert_eq!(readable(b"a\0\x1b\r\n\tb\xff"), "a␀␛␍\n\tb\u{fffd}");
        assert_eq!(readable("\u{202e}x".as_bytes()), "\u{fffd}x");
        assert_eq!(
            hex(b"{\"a\":\xff}\n").lines().next().unwrap(),
            format!("000000  {:<48}  {}", "7b 22 61 22 3a ff 7d 0a", "{\"a\":.}.")
        );
        assert_eq!(hex(&[0; 100_000]).lines().count(), HEX_BYTES / HEX_ROW);
    }
}
