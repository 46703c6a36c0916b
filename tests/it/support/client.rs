//! A sender that is a plain socket. A missing answer is an error, and does not end the test.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::Deserialize;

/// Longer than any answer may take. After this time, the answer counts as missing.
const LONG: Duration = Duration::from_secs(30);

/// The key that every receiver of the test world accepts.
pub const KEY: &str = "the-key-of-the-test-world";

/// A connection.
pub struct Client(BufReader<TcpStream>);

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    head: String,
}

/// The receipt in a 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    pub accepted: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    pub seq: Option<u64>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LONG)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Posts a body and reads the answer.
    pub fn post(&mut self, body: &str) -> io::Result<Answer> {
        self.send(&request(body))?;
        self.answer()
    }

    /// Requests a page, and reads the answer.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))?;
        self.answer()
    }

    /// Sends an operator's request that changes something, and reads the answer.
    pub fn ask(&mut self, path: &str, json: &str) -> io::Result<Answer> {
        let length = json.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        ))?;
        self.answer()
    }

    pub fn send(&mut self, text: &str) -> io::Result<()> {
        in_time(self.0.get_mut().write_all(text.as_bytes()))
    }

    /// Reads one answer. Returns an error if the connection ends without one. Panics at half an answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = in_time(self.0.read_line(&mut head));
            assert!(head.is_empty() || matches!(read, Ok(1..)), "an answer broke off after {head:?}");
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let mut answer = Answer { status, body: String::new(), head };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("an answer with its whole body");
        answer.body = String::from_utf8(body).expect("an answer in UTF-8");
        Ok(answer)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// True if the connection closes after it.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn receipt(&self) -> Receipt {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).expect("a receipt")
    }

    /// Asserts that it is a 503 with a time to retry.
    pub fn assert_come_again(&self) {
        assert_eq!(self.status, 503, "{self:?}");
        let secs: u64 = self.header("retry-after").expect("no Retry-After").parse().expect("seconds");
        assert!(secs >= 1, "{self:?}");
    }
}

/// The bytes of a post, with the key.
pub fn request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: Basic {KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A timeout is not a broken connection, so it ends the test.
fn in_time<T>(done: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &done {
        let waited = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        assert!(!waited, "neither an answer nor an end of the connection within {LONG:?}");
    }
    done
}
