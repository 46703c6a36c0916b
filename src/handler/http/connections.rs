//! The connections to the destination: how long they are kept, and when they are replaced.
//!
//! A destination may move by DNS while its old address still answers. So after `max_connection_age` a connection takes no
//! further request. The client keeps connections by itself and knows no such age: the whole client is replaced. What is
//! under way on the one before ends there.

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

/// The client of the handler, and those that come after it.
pub(super) struct Connections {
    handler: String,
    maker: Arc<Maker>,
    max_age: Duration,
    current: RwLock<Generation>,
    /// Held by the one that makes the next client.
    replacing: Mutex<()>,
}

/// A client, with the connections that it keeps.
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

    /// Whether a connection may have been kept of an earlier request.
    pub(super) fn is_used(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// To be called when a request was answered.
    pub(super) fn answered(&self) {
        self.answered.store(true, Relaxed);
    }
}

impl Connections {
    /// # Errors
    /// Why there is no client.
    pub(super) async fn open(handler: &str, maker: Maker, max_age: Duration) -> Result<Self, String> {
        let maker = Arc::new(maker);
        let current = RwLock::new(Generation::new(make(&maker).await?, 0));
        Ok(Self { handler: handler.to_owned(), maker, max_age, current, replacing: Mutex::new(()) })
    }

    /// For the next request. Where the connections are too old, the first who asks replaces them, and is waited for by
    /// nobody.
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

    /// For a request whose connection was closed under it: none that is as old as that one.
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
                warn!(handler = self.handler, error, "the connections cannot be replaced, and are used on");
                Generation { since: Instant::now(), ..current }
            }
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
        next
    }
}

/// Reads the certificates of the system: not on a thread that others wait for.
async fn make(maker: &Arc<Maker>) -> Result<Client, String> {
    let maker = Arc::clone(maker);
    tokio::task::spawn_blocking(move || maker.make())
        .await
        .map_err(|ended| panics::why_ended(&ended).to_owned())?
}
