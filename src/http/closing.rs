//! The end of a connection: a last answer where one is due, and what the peer still sends is read and dropped for a
//! while. A socket closed with bytes unread is reset, and the peer may never see what it was told.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
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

use super::{connection::Site, problem::Problem};

/// How long, and how much, is read from a peer that was answered early, before its connection is closed.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// Dropped at once.
const PIECE: usize = 16 * 1024;

/// Answers what is no whole request, and closes.
pub(super) async fn refuse<S: Site>(
    mut stream: TcpStream,
    status: StatusCode,
    detail: Option<&'static str>,
    peer: SocketAddr,
    site: &S,
) -> io::Result<()> {
    let detail = detail.unwrap_or(match status {
        StatusCode::REQUEST_TIMEOUT => "the head of the request did not arrive in time",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of the request is too large",
        StatusCode::URI_TOO_LONG => "the URL is too long",
        _ => "this is no request of HTTP/1.1",
    });
    let answer = Problem::new(status, detail).into_bytes(site.refused(status, peer));
    timeout(LINGER, stream.write_all(&answer)).await??;
    linger(stream).await
}

/// Says that there is no more to come, then reads and drops what the peer still sends, up to a bound.
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
    // Time up is a bound like the other one, not an error.
    timeout(LINGER, read_off).await.unwrap_or(Ok(()))
}

/// The buffer is on the stack, and only while it is used: thousands may linger at once.
fn drop_piece(stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [MaybeUninit::uninit(); PIECE];
    let mut buf = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}
