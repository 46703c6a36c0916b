//! Escapes posted data before it is written to a terminal, so that the data cannot move the cursor or change the order
//! of displayed text.

use std::io::{self, IsTerminal, Write};

/// Returns whether a character controls a terminal or the direction of the surrounding text.
pub(super) fn controls_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Standard output: a terminal gets escaped text; a file or a pipe gets all bytes unchanged.
pub(super) fn output() -> Box<dyn Write + Send> {
    let out = io::stdout();
    if out.is_terminal() { Box::new(Escaped { out, rest: Vec::new() }) } else { Box::new(out) }
}

/// Escapes the characters that control a terminal, except line ends and tabs. The escapes are those of JSON (`\u001b`),
/// so that an escaped line of JSON keeps its meaning. Bytes that are not UTF-8 become escapes such as `\xff`.
struct Escaped<W> {
    out: W,
    /// The first bytes of a character. The next call of `write` is expected to bring its other bytes.
    rest: Vec<u8>,
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = [std::mem::take(&mut self.rest), bytes.to_vec()].concat();
        let mut escaped = String::with_capacity(text.len());
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            push(chunk.valid(), &mut escaped);
            let is_cut = chunks.peek().is_none()
                && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if is_cut {
                self.rest = chunk.invalid().to_vec();
            } else {
                chunk.invalid().iter().for_each(|byte| escaped.push_str(&format!("\\x{byte:02x}")));
            }
        }
        self.out.write_all(escaped.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn push(text: &str, escaped: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends_line = c == '\n' || c == '\r' && chars.peek() == Some(&'\n');
        if controls_terminal(c) && !ends_line && c != '\t' {
            // Four digits are enough, because all of these characters are below U+10000.
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(parts: &[&[u8]]) -> String {
        let mut out = Escaped { out: Vec::new(), rest: Vec::new() };
        for part in parts {
            out.write_all(part).unwrap();
        }
        String::from_utf8(out.out).unwrap()
    }

    #[test]
    fn a_terminal_gets_escapes_for_control_characters() {
        assert_eq!(
            escaped(&["a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{2066}\u{200f}b\r".as_bytes()]),
            r"a\u001b[2J\u009b\u007f\u202e\u2066\u200fb\u000d"
        );
        assert_eq!(escaped(&["x\ty\r\nनमस्ते 👨‍👩‍👧\n".as_bytes()]), "x\ty\r\nनमस्ते 👨‍👩‍👧\n");
        assert_eq!(escaped(&[b"a\x9bb\xff"]), r"a\x9bb\xff");
    }

    #[test]
    fn a_character_written_in_parts_is_one() {
        let text = "é\u{202e}👋".as_bytes();
        for cut in 0..text.len() {
            assert_eq!(escaped(&[&text[..cut], &text[cut..]]), r"é\u202e👋", "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(escaped(&bytes), r"é\u202e👋");
    }

    #[test]
    fn an_escaped_line_of_json_keeps_its_meaning() {
        let json = format!("{{\"a\":{}}}", serde_json::Value::from("\u{202e}\u{7f}\u{9b}x"));
        let shown = escaped(&[json.as_bytes()]);
        assert_ne!(shown, json);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(&json));
    }
}
