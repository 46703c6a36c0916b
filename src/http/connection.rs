//! The accept loop, and what holds each connection to its bounds. Knows nothing of what is served: any [`Site`].
//!
//! `axum::serve` has no bounds: no timers, no cap. Here a connection is accepted only when there is a place for it, and
//! the others wait in the kernel's queue; the loop owns its connections, and nothing of them outlives it.
//!
//! A connection ends when hyper is done with it, when it was idle or in a head for too long (`pulse`), or when the loop
//! stops. An answer given while the peer is still sending must reach it: a socket closed with bytes unread is reset, and
//! the peer may never see what it was told. So what remains is read and dropped for a while first.

use std::{convert::Infallible, io, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderValue, Request, Response, StatusCode,
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
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    limits::Quiet,
    problem::{Problem, RequestId},
    pulse::{Phase, Pulse, Socket, Tracked},
    settings::Settings,
};

/// How long, and how much, is read from a peer that was answered early, before its connection is closed.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// The least that hyper takes as the bound of its buffer; also what a body is read by.
const BUFFER: usize = 64 * 1024;

/// Linux allows no more, unless told to (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// What is served: requests in, answers out. Clones are the same site.
pub trait Site: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: HttpBody<Data = Bytes, Error: Into<tower::BoxError>> + Send + 'static;

    /// Answers a request. Its extensions hold the [`Peer`].
    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Hears of an answer that the connection gives by itself, to what is no whole request; may name it.
    fn refused(&self, status: StatusCode, peer: SocketAddr) -> Option<RequestId>;

    /// Hears of a connection that was accepted.
    fn opened(&self) {}

    /// Hears that it is closed.
    fn closed(&self) {}
}

impl Site for Router {
    type Body = Body;

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let answered = tower::ServiceExt::oneshot(self.clone(), request).await;
        answered.unwrap_or_else(|never: Infallible| match never {})
    }

    fn refused(&self, _status: StatusCode, _peer: SocketAddr) -> Option<RequestId> {
        None
    }
}

/// Who is at the other end of the connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The bounds of a listener and of each of its connections.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections open at once.
    pub connections: usize,
    /// The largest head of a request, in bytes.
    pub header_limit: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// From an answer to the next byte.
    pub idle_timeout: Duration,
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Self {
        Self {
            connections: settings.connections,
            header_limit: settings.header_limit.as_usize(),
            header_timeout: *settings.header_timeout,
            idle_timeout: *settings.idle_timeout,
        }
    }
}

/// How a listener came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still at work when time was up, and were cut.
    pub cut: usize,
}

/// Listens, with as long a queue of connections that wait to be accepted as the system allows: with the usual 128 a
/// burst of connections is turned away, and each tries again only after a second.
///
/// # Errors
/// Those of binding, such as an address in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?; // or a restart would find its own old connections in the way
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` resolves, to the time at which to give up: from then on nothing more is accepted, idle
/// connections close at once, and requests under way are finished until that time.
pub async fn serve<S: Site>(
    listener: TcpListener,
    site: S,
    bounds: Bounds,
    stop: impl Future<Output = Instant>,
) -> Stopped {
    let (stopping, told) = watch::channel(false);
    let mut acceptor = Acceptor::new(listener, bounds.connections);
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let give_up = loop {
        tokio::select! {
            give_up = &mut stop => break give_up,
            Some(ended) = open.join_next() => report(ended),
            (stream, peer, slot) = acceptor.next() => {
                let (site, told) = (site.clone(), told.clone());
                open.spawn(async move {
                    attend(stream, peer, site, bounds, told).await;
                    drop(slot);
                });
            }
        }
    };
    drop(acceptor);
    stopping.send_replace(true);
    let all = async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    };
    let in_time = timeout_at(give_up, all).await;
    let cut = in_time.map_or(open.len(), |()| 0);
    open.shutdown().await;
    Stopped { cut }
}

fn report(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection's task panicked");
    }
}

/// Accepts, whatever happens: no error of accept is the end of the listener.
struct Acceptor {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    not_before: Instant,
    pause: Duration,
    log: Quiet,
}

impl Acceptor {
    const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    fn new(listener: TcpListener, connections: usize) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            not_before: Instant::now(),
            pause: Self::SHORTEST_PAUSE,
            log: Quiet::new(),
        }
    }

    /// The next connection, and its place among the open ones. Can be dropped and called again.
    async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                // Nobody closes the semaphore; if it were closed there would be no place, ever.
                std::future::pending::<Infallible>().await;
                continue;
            };
            if self.pause > Self::SHORTEST_PAUSE {
                sleep_until(self.not_before).await;
            }
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = Self::SHORTEST_PAUSE;
                    return (stream, peer, slot);
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// A peer that left before it was accepted is nothing; anything else (no file descriptors left) may pass.
    fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
        self.not_before = Instant::now() + self.pause;
        if let Some(unsaid) = self.log.say() {
            let more_before = (unsaid > 0).then_some(unsaid);
            tracing::error!(%error, more_before, "cannot accept connections; trying again");
        }
    }
}

/// A connection from its first byte to its last.
async fn attend<S: Site>(
    stream: TcpStream,
    peer: SocketAddr,
    site: S,
    bounds: Bounds,
    told: watch::Receiver<bool>,
) {
    let _open = Open::new(site.clone());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a peer was gone before its connection was attended to");
        return;
    }
    let pulse = Arc::new(Pulse::new(bounds.header_timeout, bounds.idle_timeout));
    let service = service_fn(|request| answer(&site, &pulse, peer, request));
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&pulse)));
    let mut connection = http1::Builder::new()
        .half_close(true) // whoever sends a request and then its end still waits for the answer
        .header_read_timeout(None)
        .max_header_size(bounds.header_limit)
        .max_buf_size(bounds.header_limit.max(BUFFER))
        .serve_connection(socket, service);

    let ended = drive(&mut connection, &pulse, told).await;
    let stream = connection.into_parts().io.into_inner().into_inner();
    let closed = match ended {
        Ended::TooSlow => refuse(stream, StatusCode::REQUEST_TIMEOUT, peer, &site).await,
        Ended::Idle => Ok(()),
        Ended::ByHyper => match pulse.unparsed() {
            Some(status) => refuse(stream, status, peer, &site).await,
            None if pulse.has_unread() => linger(stream).await,
            None => Ok(()),
        },
    };
    if let Err(error) = closed {
        tracing::debug!(%error, "a peer was gone before its connection was closed");
    }
}

/// Counts a connection as open for as long as it lives.
struct Open<S: Site>(S);

impl<S: Site> Open<S> {
    fn new(site: S) -> Self {
        site.opened();
        Self(site)
    }
}

impl<S: Site> Drop for Open<S> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

async fn answer<S: Site>(
    site: &S,
    pulse: &Arc<Pulse>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<S::Body>, Infallible> {
    let waits = request.headers().contains_key(EXPECT);
    let has_body = !request.body().is_end_stream();
    pulse.request(has_body);
    let mut request = request.map(|body| {
        if has_body { Body::new(Tracked::new(body, waits, Arc::clone(pulse))) } else { Body::empty() }
    });
    request.extensions_mut().insert(Peer(peer));
    let mut response = site.answer(request).await;
    if !pulse.answered() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Why a connection ends.
enum Ended {
    ByHyper,
    Idle,
    TooSlow,
}

type Connection<S, I> = http1::Connection<I, S>;

/// Drives a connection to its end: hyper's, its deadline's, or that of the loop.
async fn drive<I, F, B>(
    connection: &mut Connection<F, I>,
    pulse: &Pulse,
    mut told: watch::Receiver<bool>,
) -> Ended
where
    Connection<F, I>: Future<Output = hyper::Result<()>> + Unpin,
    F: hyper::service::HttpService<Incoming, ResBody = B>,
    F::Error: Into<tower::BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: HttpBody + 'static,
    B::Error: Into<tower::BoxError>,
{
    // Whether it is told to stop or the loop is gone does not matter.
    let mut stop = std::pin::pin!(async move { told.wait_for(|told| *told).await.is_ok() });
    let mut stopping = false;
    let mut alarm = std::pin::pin!(sleep_until(pulse.deadline().unwrap_or_else(Instant::now)));
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
                return Poll::Ready(Ended::ByHyper);
            }
            if stopping || stop.as_mut().poll(cx).is_pending() {
                break;
            }
            stopping = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
        // The alarm is left as it is while it is early enough: it is set anew about once an idle time-out, not at
        // every request.
        while let Some(deadline) = pulse.deadline() {
            if alarm.is_elapsed() || deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            std::task::ready!(alarm.as_mut().poll(cx));
            if deadline <= Instant::now() {
                let ended = if pulse.phase() == Phase::Head { Ended::TooSlow } else { Ended::Idle };
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

/// Answers what is no whole request, and closes.
async fn refuse<S: Site>(
    mut stream: TcpStream,
    status: StatusCode,
    peer: SocketAddr,
    site: &S,
) -> io::Result<()> {
    let detail = match status {
        StatusCode::REQUEST_TIMEOUT => "the head of the request did not arrive in time",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of the request is too large",
        StatusCode::URI_TOO_LONG => "the URL is too long",
        _ => "this is no request of HTTP/1.1",
    };
    let answer = Problem::new(status, detail).into_bytes(site.refused(status, peer));
    timeout(LINGER, stream.write_all(&answer)).await??;
    linger(stream).await
}

/// Says that there is no more to come, then reads and drops what the peer still sends, up to a bound, so that it finds
/// the last answer instead of a reset.
async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut left = LINGER_BYTES;
    let mut dropped = vec![0; BUFFER];
    let read_off = async {
        while left > 0 {
            match stream.read(&mut dropped).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        Ok(())
    };
    // Time up is a bound like the other one, not an error.
    timeout(LINGER, read_off).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accept_that_fails_is_tried_again_after_a_bounded_pause() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut acceptor = Acceptor::new(listener, 1);
        acceptor.failed(&io::ErrorKind::ConnectionAborted.into());
        assert_eq!(acceptor.pause, Acceptor::SHORTEST_PAUSE, "a peer that left is no reason to wait");
        for _ in 0..10 {
            acceptor.failed(&io::Error::other("no file descriptors left"));
        }
        assert_eq!(acceptor.pause, Acceptor::LONGEST_PAUSE);
        acceptor.not_before = Instant::now();
        let connecting = TcpStream::connect(address);
        let (connected, (_stream, peer, _slot)) = tokio::join!(connecting, acceptor.next());
        assert_eq!(connected.unwrap().local_addr().unwrap(), peer);
        assert_eq!(acceptor.pause, Acceptor::SHORTEST_PAUSE);
    }
}
