//! Reads a body within its limit, without copying a body that arrives in one piece.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::{refusal::Refusal, socket::RequestBody};

/// The length that the sender declares, in bytes. `None` if it declares none.
pub(super) fn declared(body: &impl Body) -> Option<u64> {
    body.size_hint().exact()
}

/// Reads the whole body. Fails if it has more than `limit` bytes or is incomplete.
pub(super) async fn read(mut body: RequestBody, limit: u64) -> Result<Bytes, Refusal> {
    let mut buffer = BodyBuffer::new(usize::try_from(limit).unwrap_or(usize::MAX));
    while let Some(frame) = body.frame().await {
        // A broken connection and invalid chunks get the same answer: the body is incomplete.
        let frame = frame.map_err(|_broken| Refusal::Incomplete)?;
        if let Ok(data) = frame.into_data() {
            if (buffer.len() + data.len()) as u64 > limit {
                return Err(Refusal::TooLarge { limit });
            }
            buffer.push(data);
        }
    }
    Ok(buffer.join())
}

/// Appends bytes, which must still fit into `limit`. The capacity doubles, as usual for a vector, but does not grow
/// past `limit`.
pub(super) fn extend_within(limit: usize, bytes: &mut Vec<u8>, more: &[u8]) {
    let needed = bytes.len() + more.len();
    if needed > bytes.capacity() {
        let capacity = needed.max((bytes.capacity() * 2).min(limit));
        bytes.reserve_exact(capacity - bytes.len());
    }
    bytes.extend_from_slice(more);
}

struct BodyBuffer {
    limit: usize,
    first: Bytes,
    joined: Vec<u8>,
}

impl BodyBuffer {
    const fn new(limit: usize) -> Self {
        Self { limit, first: Bytes::new(), joined: Vec::new() }
    }

    const fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            extend_within(self.limit, &mut self.joined, &std::mem::take(&mut self.first));
        }
        extend_within(self.limit, &mut self.joined, &piece);
    }

    fn join(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_in_order_and_one_piece_is_not_copied() {
        let one = Bytes::from(vec![b'x'; 10]);
        let mut buffer = BodyBuffer::new(10);
        buffer.push(one.clone());
        assert_eq!(buffer.join().as_ptr(), one.as_ptr());

        let mut buffer = BodyBuffer::new(10);
        for piece in ["", "ab", "", "c", "def"] {
            buffer.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(buffer.len(), 6);
        assert_eq!(buffer.join(), "abcdef");
        assert_eq!(BodyBuffer::new(10).join(), "");
    }

    #[test]
    fn the_capacity_does_not_exceed_the_limit() {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            extend_within(100_000, &mut bytes, &[0; 1_000]);
        }
        assert_eq!((bytes.len(), bytes.capacity()), (100_000, 100_000));
    }
}
