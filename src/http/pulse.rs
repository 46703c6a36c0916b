//! The state and the deadline of one connection. Four parts share it: `socket` sees bytes, the service sees requests,
//! the driver (the task in `connection`) ends the connection on a timeout or a [`CloseOrder`], and `table` chooses the
//! connection to close when a limit is reached.
//!
//! hyper has a single timeout for the whole wait for a head, including the idle time before its first byte, so hyper's
//! timeout is disabled. Here a connection is
//! - *idle* from the start of the connection, or from the end of an answer, to the next byte,
//! - in a *head* from that byte until hyper hands over the request,
//! - *busy* until the answer is ready,
//! - *answering* until hyper has taken the whole answer,
//! - at the end possibly *closing*: further bytes of the peer are read and dropped.
//!
//! If the first bytes of the next head arrive in the same read as the end of a request, hyper holds them. After the
//! answer, the connection then counts as idle until more bytes arrive, or until hyper is dropped a second later and
//! gives the bytes back.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::StatusCode;
use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long an idle connection keeps hyper's state and buffers, which only help if another request follows soon.
const KEEP_BUFFERS: Duration = Duration::from_secs(1);

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// From the start of the connection, or from the end of an answer, until the next byte. While an answer is sent:
    /// from one write to the next.
    pub(super) idle: Duration,
    /// Replaces `idle` until the connection has sent an accepted credential.
    pub(super) stranger_idle: Duration,
}

/// The state of a connection. Only the connection's own task changes the fields, except `order`. The fields guard no
/// other data. So relaxed atomics are enough.
pub(super) struct Pulse {
    /// The zero point of `since_ms` and `until_ms`. It is the same for all connections of a listener, so that their
    /// times are comparable.
    epoch: Instant,
    timeouts: Timeouts,
    phase: AtomicU8,
    since_ms: AtomicU64,
    until_ms: AtomicU64,
    body_open: AtomicBool,
    unread: AtomicBool,
    withheld: AtomicU16,
    flushed: AtomicBool,
    read_blocked: AtomicBool,
    known: AtomicBool,
    order: AtomicU8,
    driver: AtomicWaker,
}

/// The current activity of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnectionPhase {
    Idle,
    Head,
    Busy,
    Answering,
    Closing,
}

impl ConnectionPhase {
    const ALL: [Self; 5] = [Self::Idle, Self::Head, Self::Busy, Self::Answering, Self::Closing];
}

/// An order to a connection from outside its task. It is never withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum CloseOrder {
    /// Close once idle, because the listener stops or a limit on connections is reached.
    Close = 1,
    /// Answer the unfinished head with 408 and close.
    DropHead = 2,
    /// Do not wait until the peer has read the last answer, because a new connection waits for this one to end. Given
    /// to a connection that is closing, or together with [`CloseOrder::DropHead`].
    Leave = 4,
}

impl Pulse {
    pub(super) fn new(epoch: Instant, timeouts: Timeouts, known: bool) -> Self {
        let pulse = Self {
            epoch,
            timeouts,
            phase: AtomicU8::new(ConnectionPhase::Idle as u8),
            since_ms: AtomicU64::new(0),
            until_ms: AtomicU64::new(0),
            body_open: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            withheld: AtomicU16::new(0),
            flushed: AtomicBool::new(true),
            read_blocked: AtomicBool::new(false),
            known: AtomicBool::new(known),
            order: AtomicU8::new(0),
            driver: AtomicWaker::new(),
        };
        pulse.enter(ConnectionPhase::Idle);
        pulse
    }

    pub(super) fn phase(&self) -> ConnectionPhase {
        let phase = usize::from(self.phase.load(Relaxed));
        ConnectionPhase::ALL.get(phase).copied().unwrap_or(ConnectionPhase::Closing)
    }

    /// The time of the last write or change of phase, in milliseconds since `epoch`. Two changes of phase do not count:
    /// to [`ConnectionPhase::Busy`], and from [`ConnectionPhase::Answering`] to [`ConnectionPhase::Idle`].
    pub(super) fn since_ms(&self) -> u64 {
        self.since_ms.load(Relaxed)
    }

    /// When the current phase times out. `None` while a request is handled or the connection closes, because the
    /// service and `closing` have timeouts for these phases.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timed = matches!(
            self.phase(),
            ConnectionPhase::Idle | ConnectionPhase::Head | ConnectionPhase::Answering
        );
        timed.then(|| self.at(self.until_ms.load(Relaxed)))
    }

    /// When the driver must check the connection: at its deadline, or when its buffers can be freed.
    pub(super) fn next_check(&self) -> Option<Instant> {
        let deadline = self.deadline()?;
        Some(if self.is_detachable() { deadline.min(self.buffers_until()) } else { deadline })
    }

    /// Returns whether hyper can be detached from the connection: all output is written, and the connection waits for
    /// bytes from the peer. `read_blocked` is needed because hyper yields not only when it waits for bytes. It also
    /// yields after many requests in a row, and then its buffer can contain a whole head.
    pub(super) fn is_detachable(&self) -> bool {
        matches!(self.phase(), ConnectionPhase::Idle | ConnectionPhase::Head)
            && self.flushed.load(Relaxed)
            && self.read_blocked.load(Relaxed)
            && !self.has_unread()
    }

    /// Returns whether the connection has been idle so long that hyper's buffers are not worth keeping.
    pub(super) fn is_resting(&self) -> bool {
        self.buffers_until() <= Instant::now()
    }

    fn buffers_until(&self) -> Instant {
        self.at(self.since_ms()) + KEEP_BUFFERS
    }

    fn at(&self, ms: u64) -> Instant {
        self.epoch + Duration::from_millis(ms)
    }

    /// Records that hyper has read the head of a request.
    pub(super) fn request(&self, has_body: bool) {
        self.body_open.store(has_body, Relaxed);
        self.flushed.store(false, Relaxed);
        self.enter(ConnectionPhase::Busy);
    }

    /// Records that the answer is ready. Returns whether the connection can serve another request after it.
    pub(super) fn answered(&self) -> bool {
        let unread = self.body_open.load(Relaxed);
        self.unread.store(unread, Relaxed);
        self.enter(ConnectionPhase::Answering);
        !unread
    }

    /// Records that hyper has taken the whole answer.
    pub(super) fn taken(&self) {
        if self.phase() == ConnectionPhase::Answering {
            self.phase.store(ConnectionPhase::Idle as u8, Relaxed);
        }
    }

    /// Records that the request's body was read to its end.
    pub(super) fn body_read(&self) {
        self.body_open.store(false, Relaxed);
    }

    pub(super) fn has_body_left(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    /// Returns whether the peer may still be sending a body that nobody reads. The rest of that body must be drained
    /// before the socket is closed.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// The status of hyper's own answer to an invalid head. That answer was withheld; see `withholds`.
    pub(super) fn withheld(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.withheld.load(Relaxed)).ok()
    }

    /// Records an accepted credential, which extends the idle timeout. Returns false if the connection was already
    /// known, by an earlier credential or because it comes from a trusted proxy.
    pub(super) fn become_known(&self) -> bool {
        !self.known.load(Relaxed) && !self.known.swap(true, Relaxed)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.load(Relaxed)
    }

    pub(super) fn order(&self, order: CloseOrder) {
        self.order.fetch_or(order as u8, Relaxed);
        self.driver.wake();
    }

    pub(super) fn is_ordered(&self, order: CloseOrder) -> bool {
        self.order.load(Relaxed) & order as u8 != 0
    }

    /// Ready if an order was given. Registers this task to be woken by the next order.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Poll<()> {
        self.driver.register(cx.waker());
        if self.order.load(Relaxed) == 0 { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(super) fn enter(&self, phase: ConnectionPhase) {
        if phase != ConnectionPhase::Busy {
            let now_ms = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
            let timeout = match phase {
                ConnectionPhase::Head => self.timeouts.head,
                _ if self.is_known() => self.timeouts.idle,
                _ => self.timeouts.stranger_idle,
            };
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.since_ms.store(now_ms, Relaxed);
            self.until_ms.store(now_ms.saturating_add(timeout_ms), Relaxed);
        }
        self.phase.store(phase as u8, Relaxed);
    }

    /// Records that a read found no bytes.
    pub(super) fn has_blocked(&self) {
        self.read_blocked.store(true, Relaxed);
    }

    pub(super) fn has_read(&self) {
        self.read_blocked.store(false, Relaxed);
        if self.phase() == ConnectionPhase::Idle && !self.has_unread() {
            self.enter(ConnectionPhase::Head);
        }
    }

    /// Restarts the timeout, so that an answer does not time out while the peer takes parts of it.
    pub(super) fn has_written(&self) {
        if let phase @ (ConnectionPhase::Idle | ConnectionPhase::Answering) = self.phase() {
            self.enter(phase);
        }
    }

    /// Called when hyper has written its buffer. If hyper had already taken the whole answer (the phase is then
    /// [`ConnectionPhase::Idle`]), nothing is left to write, and this is recorded.
    pub(super) fn has_flushed(&self) {
        if self.phase() == ConnectionPhase::Idle {
            self.flushed.store(true, Relaxed);
        }
    }

    /// Returns whether to withhold these bytes from the peer. During a head, hyper writes nothing but its own error
    /// answer. That answer is withheld, and its status is recorded.
    pub(super) fn withholds(&self, bytes: &[u8]) -> bool {
        let withholds = self.phase() == ConnectionPhase::Head && self.flushed.load(Relaxed);
        if withholds && self.withheld().is_none() {
            let status = bytes.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
            self.withheld.store(status.unwrap_or(StatusCode::BAD_REQUEST).as_u16(), Relaxed);
        }
        withholds
    }
}
