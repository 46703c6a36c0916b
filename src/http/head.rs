//! Receives the head of a request. Until the head has fully arrived, it is in a buffer that grows with it. That takes
//! less memory than hyper's buffer, which grows in steps of up to 64 KiB. Once the head is complete, too large or
//! invalid, its bytes go to hyper.

use std::io;

use tokio::net::TcpStream;

/// The size of the first read, in bytes. Most heads fit, many together with their bodies.
const FIRST_READ: usize = 2 * 1024;

/// The bytes of a head so far, and any bytes after it.
pub(super) struct Head {
    bytes: Vec<u8>,
    /// No end of the head was found before this offset.
    searched: usize,
    limit: usize,
}

/// The state of a head that is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadProgress {
    /// The head is complete, too large, or not HTTP: hyper finds out which.
    Ready,
    /// The head is incomplete: wait for more bytes.
    Partial,
    /// The peer has closed the connection.
    Closed,
}

impl Head {
    pub(super) const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), searched: 0, limit }
    }

    /// Continues with bytes that hyper has read but not used.
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.searched = 0;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The memory that the buffer takes, in bytes.
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Removes and returns the bytes.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Reads the available bytes, until the head is ready for hyper.
    pub(super) fn read(&mut self, stream: &TcpStream) -> io::Result<HeadProgress> {
        loop {
            self.make_room();
            match stream.try_read_buf(&mut self.bytes) {
                Ok(0) => return Ok(HeadProgress::Closed),
                Ok(_) if self.is_ready() => return Ok(HeadProgress::Ready),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.bytes.is_empty() {
                        self.bytes = Vec::new(); // readiness may be spurious: keep no buffer
                    }
                    return Ok(HeadProgress::Partial);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn make_room(&mut self) {
        let capacity = self.bytes.capacity();
        if self.bytes.len() == capacity {
            let wanted = (capacity * 2).clamp(FIRST_READ, self.limit.max(FIRST_READ));
            self.bytes.reserve_exact(wanted.saturating_sub(self.bytes.len()).max(1));
        }
    }

    fn is_ready(&mut self) -> bool {
        self.bytes.len() >= self.limit || self.has_end() || !begins_with_method(&self.bytes)
    }

    /// Returns whether the head is complete: whether there is an empty line anywhere after the first non-empty line. A
    /// line ends with CRLF or with a bare line feed (RFC 9112, section 2.2).
    fn has_end(&mut self) -> bool {
        let begin = self.bytes.iter().position(|byte| !is_line_break(*byte)).unwrap_or(self.bytes.len());
        let from = self.searched.max(begin);
        let found = memchr::memchr_iter(b'\n', &self.bytes[from..])
            .any(|at| matches!(&self.bytes[from + at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]));
        self.searched = self.bytes.len().saturating_sub(2);
        found
    }
}

const fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Returns whether the bytes may begin with a method, after any line breaks. The bytes of TLS and of most other
/// protocols do not; hyper refuses them at once.
fn begins_with_method(bytes: &[u8]) -> bool {
    let mut text = bytes.iter().skip_while(|byte| is_line_break(**byte));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.find(|byte| !is_token(**byte)).is_none_or(|end| *end == b' ' && !bytes.starts_with(b" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(pieces: &[&str]) -> Vec<bool> {
        let mut head = Head::new(100);
        let feed = |piece: &&str| {
            head.bytes.extend_from_slice(piece.as_bytes());
            head.is_ready()
        };
        pieces.iter().map(feed).collect()
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_is_split() {
        assert_eq!(ready(&["GET / HTTP/1.1\r\nA: b\r\n\r\n"]), [true]);
        assert_eq!(ready(&["GET / HTTP/1.1\nA: b\n\n"]), [true]);
        assert_eq!(ready(&["GET / HTTP/1.1\r\nA: b\r\n", "\r\nbody"]), [false, true]);
        assert_eq!(ready(&["GET / HTTP/1.1\r\n\r", "\n"]), [false, true]);
        assert_eq!(ready(&["GET / HTTP/1.1\r", "\n", "\r", "\n"]), [false, false, false, true]);
        assert_eq!(ready(&["GET / HTTP/1.1\n", "\n"]), [false, true]);
    }

    #[test]
    fn empty_lines_before_a_head_are_not_its_end() {
        assert_eq!(ready(&["\r\n\r\n", "\r\n", "GET / HTTP/1.1\r\n", "\r\n"]), [false, false, false, true]);
        assert_eq!(ready(&["\n\n\n"]), [false]);
    }

    #[test]
    fn invalid_and_too_large_heads_go_to_hyper_at_once() {
        for noise in ["\x16\x03\x01", "GET\x00", "{}", " GET /", "\r\n\x16", "GE\r\n"] {
            assert_eq!(ready(&[noise]), [true], "{noise:?}");
        }
        assert_eq!(ready(&[&"x".repeat(99), "x"]), [false, true]);
    }

    #[test]
    fn the_buffer_grows_with_the_head_and_not_past_the_limit() {
        let mut head = Head::new(32 * 1024);
        let mut capacities = Vec::new();
        while head.bytes.len() < head.limit {
            head.make_room();
            capacities.push(head.capacity());
            head.bytes.resize(head.capacity(), b'x');
        }
        assert_eq!(capacities, [2048, 4096, 8192, 16_384, 32_768]);
    }
}
