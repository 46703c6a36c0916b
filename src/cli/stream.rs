//! Parses server-sent events (HTML Living Standard, section 9.2).

use reqwest::Response;

use super::client::ANSWER_BYTES;

/// A response that is a stream of messages.
pub(super) struct Stream {
    response: Response,
    lines: Lines,
}

/// A message of the stream, which ends with an empty line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// The position in the stream, from which a client continues after a reconnect.
    pub(super) id: Option<String>,
    /// `None` if the message is only a position and no event.
    pub(super) data: Option<String>,
}

impl Stream {
    pub(super) fn new(response: Response) -> Self {
        Self { response, lines: Lines::default() }
    }

    /// The next message; `None` if the stream ended or failed.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.lines.next() {
                return Some(message);
            }
            let chunk = self.response.chunk().await.ok()??;
            if self.lines.rest.len() + chunk.len() > ANSWER_BYTES {
                return None;
            }
            self.lines.rest.extend_from_slice(&chunk);
        }
    }
}

/// Received bytes and lines that do not make a complete message yet.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    /// `rest` has no line end before this index.
    looked: usize,
    message: Message,
}

impl Lines {
    fn next(&mut self) -> Option<Message> {
        while let Some(end) = memchr::memchr(b'\n', &self.rest[self.looked..]) {
            let line: Vec<u8> = self.rest.drain(..=self.looked + end).collect();
            self.looked = 0;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                return Some(std::mem::take(&mut self.message));
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match (field, &mut self.message.data) {
                ("id", _) => self.message.id = Some(value.to_owned()),
                ("data", Some(data)) => data.extend(["\n", value]),
                ("data", data) => *data = Some(value.to_owned()),
                _ => {}
            }
        }
        self.looked = self.rest.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_wherever_the_bytes_are_cut() {
        let bytes =
            "id: 6\n: still here\n\nid: 7\nevent: event\ndata: {\"a\":1}\n\r\ndata:one\ndata: two\r\n\n";
        let message = |id: Option<&str>, data: Option<&str>| Message {
            id: id.map(str::to_owned),
            data: data.map(str::to_owned),
        };
        let expected = [
            message(Some("6"), None),
            message(Some("7"), Some("{\"a\":1}")),
            message(None, Some("one\ntwo")),
        ];
        for size in 1..bytes.len() {
            let mut lines = Lines::default();
            let mut told = Vec::new();
            for chunk in bytes.as_bytes().chunks(size) {
                lines.rest.extend_from_slice(chunk);
                told.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(told, expected, "in pieces of {size}");
        }
    }
}
