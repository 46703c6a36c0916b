//! The rendering of an element (BIK T7). Only trailing commas and blanks between tokens are removed. Strings with their
//! escapes, numbers, the order of keys, and duplicate keys stay unchanged.

use super::{scan::is_blank, split::string_end};

/// Returns the element on one line, without blanks between tokens and without trailing commas.
pub(super) fn compact(raw: &str) -> String {
    rewrite(raw, Blanks::Dropped)
}

/// Replaces each trailing comma by a blank. Every other byte keeps its position, so positions in error messages stay
/// right.
pub(super) fn without_trailing_commas(raw: &str) -> String {
    rewrite(raw, Blanks::Kept)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blanks {
    Kept,
    Dropped,
}

fn rewrite(raw: &str, blanks: Blanks) -> String {
    let bytes = raw.as_bytes();
    let mut out = String::with_capacity(raw.len());
    let mut copied = 0; // everything before is in `out`, or was left out
    let mut before = 0_u8; // the last byte of the previous token
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' {
            at = string_end(bytes, at).unwrap_or(bytes.len());
            before = byte;
            continue;
        }
        let trailing = byte == b',' && is_trailing(before, bytes, at);
        if trailing || (is_blank(byte) && blanks == Blanks::Dropped) {
            // An ASCII byte, or the start of the text, is before this slice, and an ASCII byte is after it. So both
            // ends are character boundaries.
            out.push_str(&raw[copied..at]);
            copied = at + 1;
            if blanks == Blanks::Kept {
                out.push(' ');
            }
        }
        if !is_blank(byte) {
            before = byte;
        }
        at += 1;
    }
    out.push_str(&raw[copied..]);
    out
}

/// Returns whether a single comma follows a value and precedes a closing bracket. `[,]` and `[1,,]` stay errors.
fn is_trailing(before: u8, bytes: &[u8], comma: usize) -> bool {
    let after = bytes.iter().skip(comma + 1).find(|&&byte| !is_blank(byte));
    matches!(after, Some(b']' | b'}')) && !matches!(before, b'[' | b'{' | b',' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blanks_and_trailing_commas_are_removed() {
        assert_eq!(compact("{ \"a b\" :\t[ 1 , 2 , ] ,\r\n}"), r#"{"a b":[1,2]}"#);
        assert_eq!(
            compact(r#"{"a": "x, ]", "a": 1.0e+05, "b": "\u00e9\/ é 😀", "c": 12345678901234567890}"#),
            r#"{"a":"x, ]","a":1.0e+05,"b":"\u00e9\/ é 😀","c":12345678901234567890}"#
        );
        assert_eq!(compact(r#"{"a":1}"#), r#"{"a":1}"#);
    }

    #[test]
    fn removing_a_trailing_comma_moves_no_other_byte() {
        assert_eq!(without_trailing_commas("{\"a\":[1,\n],}"), "{\"a\":[1 \n] }");
    }

    #[test]
    fn a_comma_without_a_value_before_it_stays() {
        for wrong in ["[,]", "{,}", "[ , ]", r#"{"a":,}"#] {
            assert_eq!(without_trailing_commas(wrong), wrong);
        }
        assert_eq!(without_trailing_commas("[1,,]"), "[1,,]");
    }
}
