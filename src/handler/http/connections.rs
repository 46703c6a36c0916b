//! The connections to the destination: how long they are kept, and when they are replaced.
//!
//! The DNS entry of a destination may change to another address while the old address still answers. So a connection
//! takes no more requests after `max_connection_age`. The client pools connections itself and has no such limit, so the
//! whole client is replaced. Requests in flight finish on the old client.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use tokio::sync::Mutex;
use tracing::warn;

use super::client::Maker;
use crate::panics;

/// The current client of the handler. The client is replaced when it is too old, or when a reused connection is closed
/// during a request.
pub(super) struct Connections {
    handler: String,
    maker: Arc<Maker>,
    max_age: Duration,
    current: RwLock<Generation>,
    /// Held while the next client is made.
    replacing: Mutex<()>,
}

/// A client and its pool of connections.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) client: Client,
    number: u64,
    since: Instant,
    answered: Arc<AtomicBool>,
}

impl Generation {
    fn new(client: Client, number: u64) -> Self {
        Self { client, number, since: Instant::now(), answered: Arc::default() }
    }

    /// Returns whether a request on this client was answered. If so, the client's pool may hold an idle connection.
    pub(super) fn is_used(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Records that a request was answered.
    pub(super) fn answered(&self) {
        self.answered.store(true, Relaxed);
    }
}

impl Connections {
    /// Makes the first client.
    ///
    /// # Errors
    /// Returns why the client cannot be made.
    pub(super) async fn open(handler: &str, maker: Maker, max_age: Duration) -> Result<Self, String> {
        let maker = Arc::new(maker);
        let current = RwLock::new(Generation::new(make(&maker).await?, 0));
        Ok(Self { handler: handler.to_owned(), maker, max_age, current, replacing: Mutex::new(()) })
    }

    /// Returns the client for the next request. If the client is too old, the first caller replaces it; other callers
    /// use the old client meanwhile and do not wait.
    pub(super) async fn current(&self) -> Generation {
        let current = self.read();
        if current.since.elapsed() < self.max_age {
            return current;
        }
        match self.replacing.try_lock() {
            Ok(_replacing) if self.read().number == current.number => self.replace(current).await,
            _ => self.read(),
        }
    }

    /// Returns the client for a retry after a connection of `broken` was closed. If no new client can be made, the old
    /// one is returned.
    pub(super) async fn after(&self, broken: &Generation) -> Generation {
        let _replacing = self.replacing.lock().await;
        let current = self.read();
        if current.number == broken.number { self.replace(current).await } else { current }
    }

    fn read(&self) -> Generation {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn replace(&self, current: Generation) -> Generation {
        let next = match make(&self.maker).await {
            Ok(client) => Generation::new(client, current.number + 1),
            Err(error) => {
                warn!(
                    handler = self.handler,
                    error, "connections cannot be replaced: the old ones stay in use"
                );
                Generation { since: Instant::now(), ..current }
            }
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
        next
    }
}

/// Makes a client on a blocking thread, because this reads the system's certificates from disk.
async fn make(maker: &Arc<Maker>) -> Result<Client, String> {
    let maker = Arc::clone(maker);
    tokio::task::spawn_blocking(move || maker.make())
        .await
        .map_err(|ended| panics::why_ended(&ended).to_owned())?
}
