//! The end of a connection: sends the last answer if one is due, then drains the peer's bytes for a while. Closing a
//! socket with unread bytes resets the connection, and the peer may lose the answer.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::problem::{Problem, RequestId};

/// The time limit for sending a last answer. Draining the peer's bytes has a separate time limit of the same length.
const LINGER: Duration = Duration::from_secs(2);
/// The maximum number of bytes to drain; the last read may exceed it.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// The size of one read, in bytes; the bytes are dropped at once.
const PIECE: usize = 16 * 1024;

/// Sends an error answer to an incomplete or invalid request, then drains the connection. `id` is the request id of the
/// answer; without a `detail`, the text depends on the status.
pub(super) async fn refuse(
    mut stream: TcpStream,
    status: StatusCode,
    detail: Option<&'static str>,
    id: Option<RequestId>,
) -> io::Result<()> {
    let detail = detail.unwrap_or(match status {
        StatusCode::REQUEST_TIMEOUT => "the request head did not arrive in time",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the request head is too large",
        StatusCode::URI_TOO_LONG => "the URL is too long",
        _ => "this is not a valid HTTP/1.1 request",
    });
    let answer = Problem::new(status, detail).into_bytes(id);
    timeout(LINGER, stream.write_all(&answer)).await??;
    linger(stream).await
}

/// Shuts down the sending side, then reads and drops the peer's bytes, within the limits above.
pub(super) async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut left = LINGER_BYTES;
    let read_off = std::future::poll_fn(|cx| {
        while left > 0 {
            match ready!(drop_piece(&mut stream, cx))? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        Poll::Ready(Ok(()))
    });
    // A timeout is a normal end of draining, not an error.
    timeout(LINGER, read_off).await.unwrap_or(Ok(()))
}

/// Reads up to [`PIECE`] bytes and drops them. Returns their number: 0 at the end of the stream. The buffer is on the
/// stack for the time of the read only, because thousands of connections may drain at once.
fn drop_piece(stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [MaybeUninit::uninit(); PIECE];
    let mut buf = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}
