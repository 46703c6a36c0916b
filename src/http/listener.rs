//! The accept loop. `axum::serve` has neither timeouts nor a limit on connections. Here each connection has timeouts
//! (`pulse`), and a table enforces limits on all connections together (`table`). The tasks of all connections end
//! before [`serve`] returns.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    connection::{Site, run_connection},
    limits::LogLimiter,
    settings::Settings,
    table::ConnectionTable,
};

/// The length of the accept queue: the default maximum of Linux (`net.core.somaxconn`). A higher value has no effect
/// unless that maximum is raised.
const BACKLOG: u32 = 4096;

/// The result of [`serve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The number of connections that were aborted, because they were still open when the time limit (the result of
    /// `stop`) was reached. A request may have been in flight on them.
    pub cut: usize,
}

/// Listens with an accept queue of `BACKLOG` connections, or as many as the system allows if that is less. A burst of
/// connections would overflow a queue of 128, a common length, and each dropped peer would retry only after a second.
///
/// # Errors
/// Returns an error if the address cannot be bound, for example because it is in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?; // otherwise a restart fails while old connections are in TIME_WAIT
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` resolves. From then on, no connection is accepted, and idle connections close at once. Requests
/// in flight may finish until a time limit, which is the result of `stop`. `serve` uses only those `settings` that
/// concern connections and heads.
pub async fn serve<S: Site>(
    listener: TcpListener,
    site: S,
    settings: Settings,
    stop: impl Future<Output = Instant>,
) -> Stopped {
    let settings = Arc::new(settings);
    let table = ConnectionTable::new(Arc::clone(&settings));
    let mut acceptor = Acceptor::new(listener, Arc::clone(&table), settings.connections);
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let give_up = loop {
        tokio::select! {
            give_up = &mut stop => break give_up,
            Some(ended) = open.join_next() => log_panic(ended),
            (stream, peer, slot) = acceptor.next() => {
                let membership = table.enter(peer.ip());
                let (site, settings) = (site.clone(), Arc::clone(&settings));
                open.spawn(async move {
                    run_connection(stream, peer, membership, site, settings).await;
                    drop(slot);
                });
            }
        }
    };
    drop(acceptor);
    table.close_all();
    let all = async {
        while let Some(ended) = open.join_next().await {
            log_panic(ended);
        }
    };
    let in_time = timeout_at(give_up, all).await;
    let cut = in_time.map_or(open.len(), |()| 0);
    open.shutdown().await;
    Stopped { cut }
}

fn log_panic(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("connection task panicked");
    }
}

/// Accepts connections. An error of accept never ends the listener: accept is retried, at once if only the peer failed,
/// else after a pause.
struct Acceptor {
    listener: TcpListener,
    table: Arc<ConnectionTable>,
    /// One permit (a *slot*) for each connection that may be open.
    slots: Arc<Semaphore>,
    /// Accepted, but without a slot yet.
    newcomer: Option<(TcpStream, SocketAddr)>,
    not_before: Instant,
    pause: Duration,
    log: LogLimiter,
}

impl Acceptor {
    const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    /// The interval at which to look for a connection that can be closed, while no slot is free.
    const ROOM_INTERVAL: Duration = Duration::from_millis(20);

    fn new(listener: TcpListener, table: Arc<ConnectionTable>, connections: usize) -> Self {
        Self {
            listener,
            table,
            slots: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            newcomer: None,
            not_before: Instant::now(),
            pause: Self::SHORTEST_PAUSE,
            log: LogLimiter::default(),
        }
    }

    /// Returns the next connection and its slot. Cancel safe: a connection that was accepted is kept for the next call.
    async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            if self.newcomer.is_none() {
                self.newcomer = Some(self.accept().await);
            }
            let slot = self.slot().await;
            if let Some((stream, peer)) = self.newcomer.take() {
                return (stream, peer, slot);
            }
        }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if self.pause > Self::SHORTEST_PAUSE {
                sleep_until(self.not_before).await;
            }
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = Self::SHORTEST_PAUSE;
                    return accepted;
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Waits for a slot. If none is free, an idle connection, or one with an unfinished head, is closed for its slot.
    async fn slot(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return slot;
            }
            self.table.make_room();
            match timeout(Self::ROOM_INTERVAL, Arc::clone(&self.slots).acquire_owned()).await {
                Ok(Ok(slot)) => return slot,
                // Unreachable: the semaphore is never closed. If it were, no slot would ever become free.
                Ok(Err(_closed)) => drop(std::future::pending::<Infallible>().await),
                Err(_all_are_busy) => {}
            }
        }
    }

    /// Handles an error of accept. If the peer left before it was accepted, the next attempt follows at once. Any other
    /// error (such as no file descriptors left) may be temporary, so the next attempt waits; the pause doubles up to
    /// [`Self::LONGEST_PAUSE`].
    fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
        self.not_before = Instant::now() + self.pause;
        if let Some(more_before) = self.log.allow() {
            tracing::error!(%error, more_before, "accept failed and is retried");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_accept_is_retried_after_a_bounded_pause() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let table = ConnectionTable::new(Arc::new(Settings::default()));
        let mut acceptor = Acceptor::new(listener, table, 1);
        acceptor.failed(&io::ErrorKind::ConnectionAborted.into());
        assert_eq!(acceptor.pause, Acceptor::SHORTEST_PAUSE, "no pause if the peer has left");
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
