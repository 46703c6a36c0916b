//! A connection from its first byte to its last. It serves any [`Site`] and does not know what requests mean.
//!
//! Between requests a connection holds only its socket and the bytes of an unfinished head ([`Head`]). hyper and its
//! buffers exist from the end of a head until one second after the answer. They are dropped earlier if only a part of
//! the next head arrives. So thousands of idle or slow connections cost little memory.
//!
//! A connection ends when the peer or hyper closes it, when a timeout passes (`pulse`), when it is closed in favour of
//! another one (`table`), or when the listener stops. If the answer is ready while the peer is still sending, the rest
//! is drained so that the answer reaches the peer (`closing`).

use std::{convert::Infallible, future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
        header::{CONNECTION, EXPECT},
    },
};
use bytes::Bytes;
use hyper::{
    body::{Body as HttpBody, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{
    closing::{linger, refuse},
    head::{Head, HeadProgress},
    problem::RequestId,
    pulse::{CloseOrder, ConnectionPhase, Pulse},
    settings::Settings,
    socket::{RequestBody, ResponseBody, Socket},
    table::{Member, Membership},
};

/// The maximum size of hyper's read buffer in bytes, unless the header limit is higher. hyper reads a body in pieces of
/// at most the size of that buffer.
const BUFFER: usize = 64 * 1024;

/// Announces for how many seconds the connection may be idle, so that the peer sends no request while the connection is
/// being closed.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A service for HTTP requests. Clones share the same state.
pub trait Site: Clone + Send + Sync + 'static {
    /// The type of the response body.
    type Body: HttpBody<Data = Bytes, Error: Into<tower::BoxError>> + Unpin + Send + 'static;

    /// Answers a request of that peer.
    fn answer(
        &self,
        request: Request<RequestBody>,
        peer: &Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Called when the connection itself answers an incomplete or invalid request. Returns the request id of the
    /// answer; `None` if the site's answers have no ids.
    fn refused(&self, status: StatusCode, peer: SocketAddr) -> Option<RequestId>;

    /// Called when a connection is accepted.
    fn opened(&self) {}

    /// Called when a connection is closed.
    fn closed(&self) {}
}

/// Answers with the routes of the router. A route finds the [`Peer`] in the extensions of its request.
impl Site for Router {
    type Body = Body;

    async fn answer(&self, mut request: Request<RequestBody>, peer: &Peer) -> Response<Body> {
        request.extensions_mut().insert(peer.clone());
        let answered = tower::ServiceExt::oneshot(self.clone(), request.map(Body::new)).await;
        answered.unwrap_or_else(|never: Infallible| match never {})
    }

    fn refused(&self, _status: StatusCode, _peer: SocketAddr) -> Option<RequestId> {
        None
    }
}

/// The remote end of the connection on which a request arrived.
#[derive(Clone)]
pub struct Peer {
    address: SocketAddr,
    member: Arc<Member>,
}

impl Peer {
    /// The remote address and port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Records that the connection has sent an accepted credential. Its idle timeout is longer from now on, and it no
    /// longer counts against the limit on connections per address.
    pub fn authenticated(&self) {
        self.member.become_known();
    }
}

/// Runs a connection until it is closed.
pub(super) async fn run_connection<S: Site>(
    mut stream: TcpStream,
    peer: SocketAddr,
    membership: Membership,
    site: S,
    settings: Arc<Settings>,
) {
    let _open = OpenGuard::new(site.clone());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection failed before its first request");
        return;
    }
    let member = Arc::clone(&membership.0);
    let pulse = member.pulse();
    let peer = Peer { address: peer, member: Arc::clone(&member) };
    let mut head = Head::new(settings.header_limit.as_usize());
    let ended = loop {
        let ended = await_head(&stream, &mut head, &member).await;
        if ended != ConnectionEnd::HeadReady {
            break ended;
        }
        let bytes = head.take();
        let ended;
        // This future is boxed, so that an idle connection does not reserve the memory of a request.
        (stream, ended) = Box::pin(serve_requests(stream, bytes, &mut head, &site, &peer, &settings)).await;
        if ended != ConnectionEnd::Detached {
            break ended;
        }
    };
    drop(head);
    member.begin_closing();
    let late = StatusCode::REQUEST_TIMEOUT;
    let answer = match ended {
        ConnectionEnd::TooSlow => Some((late, None)),
        ConnectionEnd::HeadDropped => {
            Some((late, Some("too many request heads are unfinished: send a head without pauses")))
        }
        ConnectionEnd::ByHyper => pulse.withheld().map(|status| (status, None)),
        ConnectionEnd::Idle | ConnectionEnd::ByPeer | ConnectionEnd::HeadReady | ConnectionEnd::Detached => {
            None
        }
    };
    let closing = async {
        match answer {
            Some((status, detail)) => {
                refuse(stream, status, detail, site.refused(status, peer.address)).await
            }
            None if ended == ConnectionEnd::ByHyper && pulse.has_unread() => linger(stream).await,
            None => Ok(()),
        }
    };
    tokio::select! {
        biased; // an answer that can be sent at once is sent, even if a new connection waits for the slot
        closed = closing => if let Err(error) = closed {
            tracing::debug!(%error, "connection failed while closing");
        },
        () = place_is_needed(pulse) => {}
    }
}

/// Resolves on [`CloseOrder::Leave`]: a new connection waits for the slot of this one.
async fn place_is_needed(pulse: &Pulse) {
    poll_fn(|cx| match pulse.poll_order(cx) {
        Poll::Ready(()) if pulse.is_ordered(CloseOrder::Leave) => Poll::Ready(()),
        _ => Poll::Pending,
    })
    .await;
}

/// Reports a connection to the site as opened, and as closed when the guard is dropped.
struct OpenGuard<S: Site>(S);

impl<S: Site> OpenGuard<S> {
    fn new(site: S) -> Self {
        site.opened();
        Self(site)
    }
}

impl<S: Site> Drop for OpenGuard<S> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Why a connection, or one stage of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionEnd {
    /// The head is complete, too large or invalid. It goes to hyper, which serves or rejects the request.
    HeadReady,
    /// The connection stays open without hyper and its buffers: it has been idle for a while, or its next head is
    /// unfinished.
    Detached,
    ByHyper,
    ByPeer,
    Idle,
    TooSlow,
    HeadDropped,
}

/// Waits, without hyper, until a head is ready for hyper or the connection ends.
async fn await_head(stream: &TcpStream, head: &mut Head, member: &Member) -> ConnectionEnd {
    let pulse = member.pulse();
    loop {
        if !head.is_empty() {
            pulse.has_read(); // starts the head timeout, also for bytes that hyper read with the last request
            member.hold_head(head.capacity());
        }
        let deadline = pulse.deadline().unwrap_or_else(Instant::now);
        let ordered = poll_fn(|cx| {
            pulse
                .poll_order(cx)
                .is_ready()
                .then(|| end_by_order(pulse))
                .flatten()
                .map_or(Poll::Pending, Poll::Ready)
        });
        let ended = tokio::select! {
            biased; // a complete request is served, even if an order was given
            readable = stream.readable() => match readable.and_then(|()| head.read(stream)) {
                Ok(HeadProgress::Ready) => ConnectionEnd::HeadReady,
                Ok(HeadProgress::Partial) => continue,
                Ok(HeadProgress::Closed) => ConnectionEnd::ByPeer,
                Err(error) => {
                    tracing::debug!(%error, "connection failed");
                    ConnectionEnd::ByPeer
                }
            },
            ended = ordered => ended,
            () = sleep_until(deadline) => if head.is_empty() { ConnectionEnd::Idle } else { ConnectionEnd::TooSlow },
        };
        member.end_head();
        return ended;
    }
}

/// How a connection that waits for a head ends after a [`CloseOrder`]. `None` if the order does not end it yet.
fn end_by_order(pulse: &Pulse) -> Option<ConnectionEnd> {
    match pulse.phase() {
        ConnectionPhase::Head if pulse.is_ordered(CloseOrder::DropHead) => Some(ConnectionEnd::HeadDropped),
        ConnectionPhase::Idle => Some(ConnectionEnd::Idle),
        _ => None,
    }
}

/// Serves consecutive requests with hyper, until the connection ends or no longer needs hyper
/// ([`ConnectionEnd::Detached`]).
async fn serve_requests<S: Site>(
    stream: TcpStream,
    bytes: Vec<u8>,
    head: &mut Head,
    site: &S,
    peer: &Peer,
    settings: &Settings,
) -> (TcpStream, ConnectionEnd) {
    let pulse = peer.member.pulse();
    let header_limit = settings.header_limit.as_usize();
    let service = service_fn(|request| answer(site, peer, request));
    let socket = TokioIo::new(Socket { stream, before: bytes.into(), pulse: Arc::clone(pulse) });
    let mut connection = http1::Builder::new()
        .half_close(true) // a peer that shuts down its sending side still gets its answer
        .header_read_timeout(None)
        .max_header_size(header_limit)
        .max_buf_size(header_limit.max(BUFFER))
        .serve_connection(socket, service);
    let ended = drive(&mut connection, pulse).await;
    let parts = connection.into_parts();
    let Socket { stream, before: unread, .. } = parts.io.into_inner();
    if ended == ConnectionEnd::Detached {
        head.put_back([&parts.read_buf[..], &unread].concat());
    }
    (stream, ended)
}

async fn answer<S: Site>(
    site: &S,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody<S::Body>>, Infallible> {
    let pulse = peer.member.pulse();
    let waits = request.headers().contains_key(EXPECT);
    let has_body = !request.body().is_end_stream();
    pulse.request(has_body);
    let asks_to_keep = request.version() == Version::HTTP_11 && !asks_to_close(request.headers());
    let request = request.map(|body| RequestBody { body, waits, pulse: Arc::clone(pulse) });
    let mut response = site.answer(request, peer).await;
    if !pulse.answered() || pulse.is_ordered(CloseOrder::Close) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    } else if asks_to_keep
        && let Some(keep_alive) = peer.member.keep_alive()
        && !response.headers().contains_key(CONNECTION)
    {
        // Neither side has asked to close the connection after this answer.
        let headers = response.headers_mut();
        headers.insert(KEEP_ALIVE, keep_alive.clone());
        // `Connection` must list `Keep-Alive`, because that header is only about this connection (RFC 9110, section
        // 7.6.1).
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    Ok(response.map(|body| ResponseBody { body, pulse: Arc::clone(pulse) }))
}

/// Returns whether the headers of a request ask to close the connection after the answer.
fn asks_to_close(headers: &HeaderMap) -> bool {
    let options =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.into_iter().any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

type Connection<S, I> = http1::Connection<I, S>;

/// Polls hyper until hyper ends the connection, hyper is no longer needed, the deadline passes, or a [`CloseOrder`]
/// closes the connection.
async fn drive<I, F, B>(connection: &mut Connection<F, I>, pulse: &Pulse) -> ConnectionEnd
where
    Connection<F, I>: Future<Output = hyper::Result<()>> + Unpin,
    F: hyper::service::HttpService<Incoming, ResBody = B>,
    F::Error: Into<tower::BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: HttpBody + 'static,
    B::Error: Into<tower::BoxError>,
{
    let mut stopping = false;
    let mut alarm = std::pin::pin!(sleep_until(pulse.next_check().unwrap_or_else(Instant::now)));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                }
                return Poll::Ready(ConnectionEnd::ByHyper);
            }
            if pulse.phase() == ConnectionPhase::Head && pulse.is_detachable() {
                return Poll::Ready(ConnectionEnd::Detached);
            }
            if stopping || pulse.poll_order(cx).is_pending() {
                break;
            }
            if pulse.phase() == ConnectionPhase::Idle && pulse.is_detachable() {
                return Poll::Ready(ConnectionEnd::Idle);
            }
            stopping = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
        // Requests move the next check to a later time, but do not reset the alarm. So the alarm may fire too early; it
        // is reset then. If the next check moves to an earlier time, the alarm is reset at once. So it never fires
        // late.
        while let Some(next_check) = pulse.next_check() {
            if alarm.is_elapsed() || next_check < alarm.deadline() {
                alarm.as_mut().reset(next_check);
            }
            std::task::ready!(alarm.as_mut().poll(cx));
            let is_late = pulse.deadline().is_some_and(|deadline| deadline <= Instant::now());
            if is_late {
                let ended = if pulse.phase() == ConnectionPhase::Head {
                    ConnectionEnd::TooSlow
                } else {
                    ConnectionEnd::Idle
                };
                return Poll::Ready(ended);
            }
            if pulse.is_detachable() && pulse.is_resting() {
                return Poll::Ready(ConnectionEnd::Detached);
            }
        }
        Poll::Pending
    })
    .await
}
