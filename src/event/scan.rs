//! One pass over strict JSON. It finds the end of a value and the raw JSON of the known fields.
//!
//! It accepts the same texts as serde_json, up to [`DEPTH_MAX`] (a property test compares the two). It gives no reason
//! for a failure: a caller that needs the reason parses the text with serde_json. Every event takes this path, so it is
//! built for speed: it copies only names with escapes, and it looks at each byte once.

use std::{borrow::Cow, ops::ControlFlow};

use super::string::{inner, unescaped};

/// How deep an element may be nested (BIK T4).
pub(super) const DEPTH_MAX: usize = 128;

/// The known fields of an object, as raw JSON that borrows from the text. If a name is duplicated, the last one counts.
pub(super) trait Slots<'a>: Default {
    /// Reads the next value, which belongs to the field of this name.
    fn field(&mut self, name: &str, scanner: &mut Scanner<'a>) -> Option<&'a str>;

    /// Stores the text of the whole object, if there is a slot for that text.
    fn whole(&mut self, _raw: &'a str) {}
}

/// An object that was read.
pub(super) struct ScannedObject<O> {
    /// The fields; boxed, because they are too large to move around.
    pub slots: Box<O>,
    /// The offset after its last byte.
    pub end: usize,
    /// The nesting depth: 1 for an object of scalars.
    pub depth: usize,
    /// The object contains no blanks between tokens.
    pub compact: bool,
}

/// Reads the object at `start`. `None` if there is none, it is not strict JSON, or it is nested too deeply.
pub(super) fn object<'a, O: Slots<'a>>(text: &'a str, start: usize) -> Option<ScannedObject<O>> {
    let mut scanner = Scanner::new(text, start);
    let mut slots = Box::<O>::default();
    scanner.object(&mut *slots)?;
    let Scanner { at: end, deepest: depth, compact, .. } = scanner;
    Some(ScannedObject { slots, end, depth, compact })
}

/// Reads a text that consists of a single object.
pub(super) fn whole<'a, O: Slots<'a>>(text: &'a str) -> Option<Box<O>> {
    object(text, 0).filter(|object| object.end == text.len()).map(|object| object.slots)
}

/// Reads a text that consists of a single array. Returns the items as raw JSON.
pub(super) fn items(text: &str) -> Option<Vec<&str>> {
    let mut scanner = Scanner::new(text, 0);
    let mut items = Vec::new();
    scanner.list(b'[', b']', |scanner| {
        items.push(scanner.value()?);
        Some(())
    })?;
    (scanner.at == text.len()).then_some(items)
}

/// Reads a text that consists of a single object. Returns three parts of each member: its decoded name, its raw text up
/// to the value, and the value as raw JSON. Members with the same name are all returned.
pub(super) fn members(text: &str) -> Option<Vec<(Cow<'_, str>, &str, &str)>> {
    let mut scanner = Scanner::new(text, 0);
    let mut members = Vec::new();
    scanner.list(b'{', b'}', |scanner| {
        let start = scanner.at;
        let name = scanner.name()?;
        members.push((name, scanner.since(start)?, scanner.value()?));
        Some(())
    })?;
    (scanner.at == text.len()).then_some(members)
}

/// A position in a text, between two tokens.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    level: usize,
    deepest: usize,
    compact: bool,
}

impl<'a> Scanner<'a> {
    const fn new(text: &'a str, at: usize) -> Self {
        Self { text, at, level: 0, deepest: 0, compact: true }
    }

    /// Reads the object at this position into empty slots.
    pub(super) fn object(&mut self, slots: &mut impl Slots<'a>) -> Option<()> {
        let start = self.at;
        self.list(b'{', b'}', |scanner| {
            let name = scanner.name()?;
            slots.field(&name, scanner).map(drop)
        })?;
        slots.whole(self.since(start)?);
        Some(())
    }

    /// Reads the value at this position, of any type, and returns its raw JSON.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.list(b'{', b'}', |scanner| {
                scanner.name()?;
                scanner.value().map(drop)
            }),
            b'[' => self.list(b'[', b']', |scanner| scanner.value().map(drop)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }?;
        self.since(start)
    }

    /// Returns whether an object begins at this position.
    pub(super) fn is_at_object(&self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Returns the text from `start` to this position.
    pub(super) fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at)
    }

    /// The position, as a byte offset.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Reads the entries between two brackets, and the commas between the entries. Each entry is read by `entry`.
    fn list(&mut self, open: u8, close: u8, mut entry: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.token(open)?;
        self.level += 1;
        if self.level > DEPTH_MAX {
            return None;
        }
        self.deepest = self.deepest.max(self.level);
        self.skip_blanks();
        if self.peek()? != close {
            loop {
                entry(self)?;
                self.skip_blanks();
                match self.peek()? {
                    b',' => self.at += 1,
                    end if end == close => break,
                    _ => return None,
                }
                self.skip_blanks();
            }
        }
        self.at += 1;
        self.level -= 1;
        Some(())
    }

    /// Reads the name of a field, up to the field's value. The escape of a lone surrogate in the name becomes U+FFFD.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let escaped = self.string()?;
        let name = self.since(start)?;
        self.skip_blanks();
        self.token(b':')?;
        self.skip_blanks();
        if escaped { unescaped(name).map(Cow::Owned) } else { inner(name).map(Cow::Borrowed) }
    }

    /// Moves past the string at this position. Returns whether it contains an escape.
    fn string(&mut self) -> Option<bool> {
        self.token(b'"')?;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            while let Some(&eight) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
                match plain(eight) {
                    ControlFlow::Continue(()) => self.at += 8,
                    ControlFlow::Break(before) => {
                        self.at += before;
                        break;
                    }
                }
            }
            match *bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        self.at += match bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' if bytes.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// Moves past one or more digits.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let ends = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        ends.then_some(())
    }

    fn token(&mut self, token: u8) -> Option<()> {
        let is_it = self.peek()? == token;
        self.at += 1;
        is_it.then_some(())
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
            self.compact = false;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The blanks of JSON (RFC 8259).
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Checks eight bytes of a string at once for special bytes: a quote, a backslash or a control character. Breaks with
/// the number of bytes before the first special byte.
fn plain(eight: [u8; 8]) -> ControlFlow<usize> {
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // Sets the highest bit of each byte that is less than `bound`. A borrow can also set that bit in a byte after the
    // first such byte, but never in a byte before the first one.
    const fn less(bytes: u64, bound: u8) -> u64 {
        bytes.wrapping_sub(each(bound)) & !bytes & each(0x80)
    }
    let bytes = u64::from_le_bytes(eight);
    let found = less(bytes, 0x20) | less(bytes ^ each(b'"'), 1) | less(bytes ^ each(b'\\'), 1);
    if found == 0 {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(found.trailing_zeros() as usize / 8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// Has no fields: only tests whether a text is valid.
    #[derive(Default)]
    struct Nothing;

    impl<'a> Slots<'a> for Nothing {
        fn field(&mut self, _name: &str, scanner: &mut Scanner<'a>) -> Option<&'a str> {
            scanner.value()
        }
    }

    fn takes(object: &str) -> bool {
        whole::<Nothing>(object).is_some()
    }

    fn serde_takes(object: &str) -> bool {
        // serde_json allows blanks around the object, but the scanner does not.
        object.starts_with('{') && object.ends_with('}') && serde_json::from_str::<&RawValue>(object).is_ok()
    }

    /// Texts close to JSON: valid and broken tokens in any order, inside an object.
    fn soup() -> impl Strategy<Value = String> {
        let words = ["{", "}", "[", "]", ",", ":", "\"a\":", "\"b\"", "null", "true", "false", "nul"];
        let numbers = ["0", "-", "1", "07", "1.5", "1.", ".5", "1e5", "1E+", "e", "-0"];
        let blanks = [" ", "\n", "\t", "\u{b}", "\u{a0}"];
        let strings = ["\"12345678\"", "\"1234567\u{1}\"", "\"é😀\"", "\"\u{7f}\""];
        let escapes = ["\"", "\\", "\\u00", "\"\\u12aF\"", "\"\\ud800\"", "\"\\x\"", "\"\\\"\""];
        let tokens = [&words[..], &numbers, &blanks, &strings, &escapes];
        let token = prop::sample::select(tokens.concat());
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn it_accepts_the_same_objects_as_serde_json(value in soup(), more in soup(), shape in 0..4) {
            let object = match shape {
                0 => format!("{{{value}}}"),
                1 => format!("{{\"a\":{value}}}"),
                2 => format!("{{\"a\":[{value}]}}"),
                _ => format!("{{\"a\":{value},\"b\" : {more}}}"),
            };
            prop_assert_eq!(takes(&object), serde_takes(&object), "{}", object);
        }

        #[test]
        fn it_accepts_the_same_strings_as_serde_json(text in "[a-z\"\\\\\u{0}-\u{20}é😀]{0,20}", json in any::<String>()) {
            for object in [format!("{{\"a\":\"{text}\"}}"), serde_json::json!({ &json: &text, "a": json }).to_string()] {
                prop_assert_eq!(takes(&object), serde_takes(&object), "{}", object);
            }
        }
    }

    #[test]
    fn each_of_eight_bytes_is_plain_or_special_at_any_position() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                for around in [b'a', b' ', b'!', b'#', 0x7f, 0x80, 0xff] {
                    let mut eight = [around; 8];
                    eight[at] = byte;
                    let plain = plain(eight);
                    let special = byte < 0x20 || matches!(byte, b'"' | b'\\');
                    let expected = if special { ControlFlow::Break(at) } else { ControlFlow::Continue(()) };
                    assert_eq!(plain, expected, "{byte:#x} at {at} among {around:#x}");
                }
            }
        }
    }

    #[test]
    fn nesting_is_accepted_up_to_the_limit_and_not_beyond() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(takes(&nested(DEPTH_MAX)));
        assert!(!takes(&nested(DEPTH_MAX + 1)));
        let beside = format!("{{\"a\":[{}[]]}}", "[],{},".repeat(DEPTH_MAX));
        assert!(takes(&beside), "closed lists do not count");
    }

    #[test]
    fn an_array_is_split_into_its_items() {
        assert_eq!(items("[ 1,\"a, b\" , {\"c\":[2]} ]"), Some(vec!["1", "\"a, b\"", "{\"c\":[2]}"]));
        assert_eq!(items("[]"), Some(vec![]));
        for wrong in ["[1", "[1,]", "1", "{}", "[1] "] {
            assert_eq!(items(wrong), None, "{wrong}");
        }
    }
}
