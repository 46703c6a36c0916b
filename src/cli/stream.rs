//! Parses server-sent events (HTML Living Standard, section 9.2).

use reqwest::Response;

use super::client::ANSWER_BYTES;

/// A response that is a stream of messages.
pub(super) struct MessageStream {
    response: Response,
    buffer: LineBuffer,
}

/// A message of the stream. An empty line ends each message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StreamMessage {
    /// The position in the stream after which a client continues when it reconnects.
    pub(super) id: Option<String>,
    /// `None` if the message is only a position and no event.
    pub(super) data: Option<String>,
}

impl MessageStream {
    pub(super) fn new(response: Response) -> Self {
        Self { response, buffer: LineBuffer::default() }
    }

    /// The next message; `None` if the stream ended or failed, or if a line is longer than [`ANSWER_BYTES`].
    pub(super) async fn next(&mut self) -> Option<StreamMessage> {
        loop {
            if let Some(message) = self.buffer.next() {
                return Some(message);
            }
            let chunk = self.response.chunk().await.ok()??;
            if self.buffer.rest.len() + chunk.len() > ANSWER_BYTES {
                return None;
            }
            self.buffer.rest.extend_from_slice(&chunk);
        }
    }
}

/// Received bytes and lines that do not make a complete message yet.
#[derive(Default)]
struct LineBuffer {
    rest: Vec<u8>,
    /// `rest` has no line end before this index.
    searched: usize,
    message: StreamMessage,
}

impl LineBuffer {
    fn next(&mut self) -> Option<StreamMessage> {
        while let Some(end) = memchr::memchr(b'\n', &self.rest[self.searched..]) {
            let line: Vec<u8> = self.rest.drain(..=self.searched + end).collect();
            self.searched = 0;
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
        self.searched = self.rest.len();
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
        let message = |id: Option<&str>, data: Option<&str>| StreamMessage {
            id: id.map(str::to_owned),
            data: data.map(str::to_owned),
        };
        let expected = [
            message(Some("6"), None),
            message(Some("7"), Some("{\"a\":1}")),
            message(None, Some("one\ntwo")),
        ];
        for size in 1..bytes.len() {
            let mut buffer = LineBuffer::default();
            let mut messages = Vec::new();
            for chunk in bytes.as_bytes().chunks(size) {
                buffer.rest.extend_from_slice(chunk);
                messages.extend(std::iter::from_fn(|| buffer.next()));
            }
            assert_eq!(messages, expected, "in pieces of {size}");
        }
    }
}
