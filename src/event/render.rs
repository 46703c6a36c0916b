//! T7: an element's rendering. The same bytes less trailing commas and the blanks between tokens; digits, escapes, key
//! order and duplicate keys stay.

use std::borrow::Cow;

use super::split::is_blank;

/// The rendering of an element; borrowed where the bytes are one already.
pub fn render(raw: &str) -> Cow<'_, str> {
    if is_rendered(raw.as_bytes()) { Cow::Borrowed(raw) } else { Cow::Owned(compact(raw)) }
}

/// Whether there is nothing to take out.
pub fn is_rendered(raw: &[u8]) -> bool {
    let mut before = b'[';
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        match byte {
            b'"' => at = string_end(raw, at),
            _ if is_blank(byte) => return false,
            b'}' | b']' if before == b',' => return false,
            _ => at += 1,
        }
        before = byte;
    }
    true
}

/// Takes out blanks, and a comma before a closing bracket where a value is before it: one comma, so that what was never
/// JSON does not become it.
fn compact(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut rendered = String::with_capacity(raw.len());
    let mut comma = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if is_blank(byte) {
            at += 1;
            continue;
        }
        if comma {
            comma = false;
            let after_value = rendered.ends_with(|last| !matches!(last, '[' | '{' | ',' | ':'));
            if !(matches!(byte, b'}' | b']') && after_value) {
                rendered.push(',');
            }
        }
        if byte == b',' {
            comma = true;
            at += 1;
            continue;
        }
        // Cut at ASCII only: strings whole, the rest up to the next byte that is looked at.
        let end = if byte == b'"' { string_end(bytes, at) } else { token_end(bytes, at) };
        rendered.push_str(&raw[at..end]);
        at = end;
    }
    if comma {
        rendered.push(',');
    }
    rendered
}

/// Where the string that begins at `at` has ended.
pub fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at = (at + 2).min(bytes.len());
    }
    bytes.len()
}

/// Where the token that begins at `at`, and is no string, has ended.
fn token_end(bytes: &[u8], at: usize) -> usize {
    if matches!(bytes[at], b'{' | b'}' | b'[' | b']' | b':') {
        return at + 1;
    }
    let rest = &bytes[at + 1..];
    let structural =
        |byte: &u8| is_blank(*byte) || matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"');
    rest.iter().position(structural).map_or(bytes.len(), |found| at + 1 + found)
}
