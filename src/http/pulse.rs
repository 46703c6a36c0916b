//! What a connection is doing, and until when it may: shared by the socket, which sees bytes, the service, which sees
//! requests, and the driver, which ends what takes too long.
//!
//! hyper has one time-out for the whole wait for a head, the quiet before its first byte included, so its own is left
//! off. Here a connection is *idle* from an answer to the next byte, in a *head* from that byte until hyper hands over
//! the request, and *busy* until the answer. (Bytes of a next head that came in the same read as the end of a request
//! do not count as its first: a peer that sends those and then nothing is let go as idle, later but surely.)
//!
//! Two more things that hyper does not do are kept here. It closes a socket with bytes unread, which resets it and may
//! take the last answer away from the peer: [`Socket`] leaves the closing to the driver. And it answers a head that it
//! cannot read by itself, without a body or a request id: [`Socket`] keeps that back, and the driver answers instead.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::http::StatusCode;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// What a connection is doing. All of it is used by one task: the atomics only have to be shared, not ordered.
pub(super) struct Pulse {
    born: Instant,
    head_timeout: Duration,
    idle_timeout: Duration,
    phase: AtomicU8,
    until_ms: AtomicU64,
    body_open: AtomicBool,
    unread: AtomicBool,
    unparsed: AtomicU16,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    Idle,
    Head,
    Busy,
}

impl Pulse {
    pub(super) fn new(head_timeout: Duration, idle_timeout: Duration) -> Self {
        let pulse = Self {
            born: Instant::now(),
            head_timeout,
            idle_timeout,
            phase: AtomicU8::new(Phase::Idle as u8),
            until_ms: AtomicU64::new(0),
            body_open: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            unparsed: AtomicU16::new(0),
        };
        pulse.enter(Phase::Idle);
        pulse
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            phase if phase == Phase::Idle as u8 => Phase::Idle,
            phase if phase == Phase::Head as u8 => Phase::Head,
            _ => Phase::Busy,
        }
    }

    /// When it has taken too long; a request that is being answered has bounds of its own.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.phase() != Phase::Busy).then(|| self.born + Duration::from_millis(self.until_ms.load(Relaxed)))
    }

    /// A request was read, with a body or without.
    pub(super) fn request(&self, has_body: bool) {
        self.body_open.store(has_body, Relaxed);
        self.enter(Phase::Busy);
    }

    /// Its answer is there; says whether the connection can take another request after it.
    pub(super) fn answered(&self) -> bool {
        let unread = self.body_open.load(Relaxed);
        self.unread.store(unread, Relaxed);
        self.enter(Phase::Idle);
        !unread
    }

    /// The peer may still be sending what nobody will read: it has to be read off before the socket is closed.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// The status of the answer that hyper gave to what it could not read, and that was kept back.
    pub(super) fn unparsed(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.unparsed.load(Relaxed)).ok()
    }

    fn enter(&self, phase: Phase) {
        let timeout = match phase {
            Phase::Idle => self.idle_timeout,
            Phase::Head => self.head_timeout,
            Phase::Busy => Duration::ZERO, // has no deadline
        };
        if phase != Phase::Busy {
            let until_ms = (self.born.elapsed() + timeout).as_millis();
            self.until_ms.store(u64::try_from(until_ms).unwrap_or(u64::MAX), Relaxed);
        }
        self.phase.store(phase as u8, Relaxed);
    }

    fn has_read(&self) {
        if self.phase() == Phase::Idle && !self.has_unread() {
            self.enter(Phase::Head);
        }
    }

    /// A long answer is not idle while the peer takes it.
    fn has_written(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    /// Within a head nothing is written but hyper's own answer to it.
    fn keeps_back(&self, bytes: &[u8]) -> bool {
        let keeps = self.phase() == Phase::Head;
        if keeps && self.unparsed().is_none() {
            let status = bytes.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
            self.unparsed.store(status.unwrap_or(StatusCode::BAD_REQUEST).as_u16(), Relaxed);
        }
        keeps
    }
}

/// A stream that keeps a [`Pulse`].
pub(super) struct Socket<T> {
    stream: T,
    pulse: Arc<Pulse>,
}

impl<T> Socket<T> {
    pub(super) const fn new(stream: T, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    pub(super) fn into_inner(self) -> T {
        self.stream
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.has_read();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.pulse.keeps_back(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if polled.is_ready() {
            self.pulse.has_written();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.pulse.keeps_back(bufs.first().map_or(&[], |first| first)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if polled.is_ready() {
            self.pulse.has_written();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Nothing: the driver closes it, after hyper.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request's body, which tells the pulse when it has been read to its end.
pub(super) struct Tracked {
    body: Incoming,
    pulse: Arc<Pulse>,
    /// The peer waits for `100 Continue`, which the first poll would send.
    waits: bool,
}

impl Tracked {
    pub(super) const fn new(body: Incoming, waits: bool, pulse: Arc<Pulse>) -> Self {
        Self { body, pulse, waits }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.pulse.body_open.store(false, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    /// A small body is there as a whole when its head is. Refused unread, it need not cost the peer its connection.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while !self.waits && self.pulse.body_open.load(Relaxed) {
            match Pin::new(&mut *self).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(_dropped))) => {}
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => return,
            }
        }
    }
}
