//! Cancels statements of cancelled deliveries.
//!
//! A delivery that times out is dropped, but the server continues its statement. Each retry would leave another
//! statement running, until the database has no connection left. So when a delivery is dropped, the server is asked to
//! cancel the statement.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet, time::timeout};

use super::{address::Address, cancel_request, session::Session};

/// Maximum number of cancel requests for a dropped delivery, which may have sent several statements at once. One
/// request may not be enough, because a request that arrives between two statements has no effect.
const REQUESTS: usize = 5;
/// How long to wait for the statement to end before the request is repeated.
const ENDED: Duration = Duration::from_secs(1);

/// Cancels statements in the background. The background tasks end when the handler is dropped.
pub(super) struct Canceller {
    address: Arc<Address>,
    runtime: Handle,
    running: Mutex<JoinSet<()>>,
}

/// Holds the session while a statement runs. If a `Busy` is dropped while it holds a session, the statement is
/// cancelled.
pub(super) struct Busy<'a> {
    pub session: Option<Session>,
    canceller: &'a Canceller,
}

impl Canceller {
    /// Makes a canceller. Must be called in the runtime in which deliveries run.
    pub(super) fn new(address: Arc<Address>) -> Self {
        Self { address, runtime: Handle::current(), running: Mutex::default() }
    }

    /// Returns an empty holder for the session of a delivery.
    pub(super) const fn busy(&self) -> Busy<'_> {
        Busy { session: None, canceller: self }
    }

    fn cancel(&self, session: Session) {
        let address = Arc::clone(&self.address);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Removes finished tasks, which use memory until then.
        while running.try_join_next().is_some() {}
        running.spawn_on(async move { cancel(session, &address).await }, &self.runtime);
    }
}

/// Asks the server to cancel the running statement, up to [`REQUESTS`] times, until the statement has ended.
async fn cancel(session: Session, address: &Address) {
    let (token, ended) = session.into_cancellation();
    let mut ended = pin!(ended);
    for _ in 0..REQUESTS {
        cancel_request::send(&token, address).await;
        if timeout(ENDED, &mut ended).await.is_ok() {
            return;
        }
    }
    tracing::debug!("statement could not be cancelled: the database ends it at its time limit");
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.canceller.cancel(session);
        }
    }
}
