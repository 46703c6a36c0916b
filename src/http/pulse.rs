//! The state of a connection, and its deadline: shared by the socket, which sees bytes, the service, which sees requests,
//! the driver, which ends what takes too long, and the table, which chooses who gives way.
//!
//! hyper has one time-out for the whole wait for a head, the quiet before its first byte included, so its own is left
//! off. Here a connection is *idle* from the end of an answer to the next byte, in a *head* from that byte until hyper
//! hands over the request, *busy* until there is an answer, and *answering* until hyper has taken all of it. At the end it
//! may be *closing*: what the peer still sends is read and dropped. (Bytes of a next head that came in the same read as the
//! end of a request are noticed a second later.)

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::StatusCode;
use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long an idle connection keeps hyper's state and buffers, which are worth it only for the next request.
const KEEP_BUFFERS: Duration = Duration::from_secs(1);

/// The time-outs of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// From an answer to the next byte, and for each part of an answer that the peer takes.
    pub(super) idle: Duration,
    /// The same, before the connection has brought an accepted credential.
    pub(super) stranger_idle: Duration,
}

/// The state of a connection. Its own task changes it, but for the order: the atomics only have to be shared, not ordered.
pub(super) struct Pulse {
    /// The same for all connections of a listener, so that their times compare.
    epoch: Instant,
    timeouts: Timeouts,
    phase: AtomicU8,
    since_ms: AtomicU64,
    until_ms: AtomicU64,
    body_open: AtomicBool,
    unread: AtomicBool,
    unparsed: AtomicU16,
    flushed: AtomicBool,
    read_blocked: AtomicBool,
    known: AtomicBool,
    order: AtomicU8,
    driver: AtomicWaker,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    Idle,
    Head,
    Busy,
    Answering,
    Closing,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Idle, Self::Head, Self::Busy, Self::Answering, Self::Closing];
}

/// An order to a connection from outside, which stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// Close once idle: the listener stops, or a newcomer needs the place.
    Close = 1,
    /// Give up the unfinished head, with 408.
    DropHead = 2,
    /// Do not wait for the peer to take the last answer: a newcomer needs the place of a connection that is closing.
    Leave = 4,
}

impl Pulse {
    pub(super) fn new(epoch: Instant, timeouts: Timeouts, known: bool) -> Self {
        let pulse = Self {
            epoch,
            timeouts,
            phase: AtomicU8::new(Phase::Idle as u8),
            since_ms: AtomicU64::new(0),
            until_ms: AtomicU64::new(0),
            body_open: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            unparsed: AtomicU16::new(0),
            flushed: AtomicBool::new(true),
            read_blocked: AtomicBool::new(false),
            known: AtomicBool::new(known),
            order: AtomicU8::new(0),
            driver: AtomicWaker::new(),
        };
        pulse.enter(Phase::Idle);
        pulse
    }

    pub(super) fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Closing)
    }

    /// When it entered its phase, or last wrote, in milliseconds.
    pub(super) fn since_ms(&self) -> u64 {
        self.since_ms.load(Relaxed)
    }

    /// When it has taken too long; a request that is being answered has bounds of its own.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timed = matches!(self.phase(), Phase::Idle | Phase::Head | Phase::Answering);
        timed.then(|| self.at(self.until_ms.load(Relaxed)))
    }

    /// When hyper has to do something with it at the latest, or is no longer needed.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let deadline = self.deadline()?;
        Some(if self.is_separable() { deadline.min(self.buffers_until()) } else { deadline })
    }

    /// Whether hyper can be taken from the connection: nothing is left to be written, and it waits for bytes of the peer.
    /// After many requests in a row it also yields with a whole head in its buffer.
    pub(super) fn is_separable(&self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Head)
            && self.flushed.load(Relaxed)
            && self.read_blocked.load(Relaxed)
            && !self.has_unread()
    }

    /// Whether it was idle for so long that hyper's buffers are not worth keeping.
    pub(super) fn is_resting(&self) -> bool {
        self.buffers_until() <= Instant::now()
    }

    fn buffers_until(&self) -> Instant {
        self.at(self.since_ms()) + KEEP_BUFFERS
    }

    fn at(&self, ms: u64) -> Instant {
        self.epoch + Duration::from_millis(ms)
    }

    /// A request was read, with a body or without.
    pub(super) fn request(&self, has_body: bool) {
        self.body_open.store(has_body, Relaxed);
        self.flushed.store(false, Relaxed);
        self.enter(Phase::Busy);
    }

    /// Its answer is there; says whether the connection can take another request after it.
    pub(super) fn answered(&self) -> bool {
        let unread = self.body_open.load(Relaxed);
        self.unread.store(unread, Relaxed);
        self.enter(Phase::Answering);
        !unread
    }

    /// hyper has taken the whole answer.
    pub(super) fn taken(&self) {
        if self.phase() == Phase::Answering {
            self.phase.store(Phase::Idle as u8, Relaxed);
        }
    }

    /// The request's body was read to its end.
    pub(super) fn body_read(&self) {
        self.body_open.store(false, Relaxed);
    }

    pub(super) fn has_body_left(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    /// The peer may still be sending what nobody will read: it has to be read off before the socket is closed.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// The status of the answer that hyper gave to what it could not read, and that was kept back.
    pub(super) fn unparsed(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.unparsed.load(Relaxed)).ok()
    }

    /// It has brought an accepted credential: from now on it may be idle for longer. Says whether that is new.
    pub(super) fn become_known(&self) -> bool {
        !self.known.load(Relaxed) && !self.known.swap(true, Relaxed)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.load(Relaxed)
    }

    pub(super) fn order(&self, order: Order) {
        self.order.fetch_or(order as u8, Relaxed);
        self.driver.wake();
    }

    pub(super) fn is_ordered(&self, order: Order) -> bool {
        self.order.load(Relaxed) & order as u8 != 0
    }

    /// Whether there is any order; wakes this task at the next one.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Poll<()> {
        self.driver.register(cx.waker());
        if self.order.load(Relaxed) == 0 { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(super) fn enter(&self, phase: Phase) {
        if phase != Phase::Busy {
            let now_ms = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
            let timeout = match phase {
                Phase::Head => self.timeouts.head,
                _ if self.is_known() => self.timeouts.idle,
                _ => self.timeouts.stranger_idle,
            };
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.since_ms.store(now_ms, Relaxed);
            self.until_ms.store(now_ms.saturating_add(timeout_ms), Relaxed);
        }
        self.phase.store(phase as u8, Relaxed);
    }

    /// There is nothing to read.
    pub(super) fn has_blocked(&self) {
        self.read_blocked.store(true, Relaxed);
    }

    pub(super) fn has_read(&self) {
        self.read_blocked.store(false, Relaxed);
        if self.phase() == Phase::Idle && !self.has_unread() {
            self.enter(Phase::Head);
        }
    }

    /// A long answer is not idle while the peer takes it.
    pub(super) fn has_written(&self) {
        if let phase @ (Phase::Idle | Phase::Answering) = self.phase() {
            self.enter(phase);
        }
    }

    /// hyper has written all that it had; once the answer is taken, that is all of it.
    pub(super) fn has_flushed(&self) {
        if self.phase() == Phase::Idle {
            self.flushed.store(true, Relaxed);
        }
    }

    /// Within a head nothing is written but hyper's own answer to it.
    pub(super) fn keeps_back(&self, bytes: &[u8]) -> bool {
        let keeps = self.phase() == Phase::Head && self.flushed.load(Relaxed);
        if keeps && self.unparsed().is_none() {
            let status = bytes.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
            self.unparsed.store(status.unwrap_or(StatusCode::BAD_REQUEST).as_u16(), Relaxed);
        }
        keeps
    }
}
