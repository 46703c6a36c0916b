//! Cancellation of what a delivery left behind that was given up.
//!
//! A delivery that takes too long is dropped where it stands, and the server goes on with its statement: each try would
//! leave one more behind, until the database has no connection left. So the dropped session has the server cancel it.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet, time::timeout};

use super::{address::Address, cancel_request, session::Session};

/// How often a request is sent: it has no effect when it arrives between two statements.
const REQUESTS: usize = 5;
/// How long a cancelled statement has to end before the request is sent again.
const ENDED: Duration = Duration::from_secs(1);

/// Cancels statements in the background, for as long as the handler lives.
pub struct Canceller {
    address: Arc<Address>,
    runtime: Handle,
    running: Mutex<JoinSet<()>>,
}

/// A session with a statement under way. Dropped with the session still in it, it has the statement cancelled.
pub struct Busy<'a> {
    pub session: Option<Session>,
    canceller: &'a Canceller,
}

impl Canceller {
    /// To be called within the runtime in which deliveries run.
    pub fn new(address: Arc<Address>) -> Self {
        Self { address, runtime: Handle::current(), running: Mutex::default() }
    }

    /// A place for the session of a delivery.
    pub const fn busy(&self) -> Busy<'_> {
        Busy { session: None, canceller: self }
    }

    fn cancel(&self, session: Session) {
        let address = Arc::clone(&self.address);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended are let out: each holds some memory until then.
        while running.try_join_next().is_some() {}
        running.spawn_on(async move { cancel(session, &address).await }, &self.runtime);
    }
}

/// Asks the server to cancel the statement under way, until it has ended.
async fn cancel(session: Session, address: &Address) {
    let (token, ended) = session.into_cancellation();
    let mut ended = pin!(ended);
    for _ in 0..REQUESTS {
        cancel_request::send(&token, address).await;
        if timeout(ENDED, &mut ended).await.is_ok() {
            return;
        }
    }
    tracing::debug!(
        "a statement that was given up cannot be cancelled: the database ends it at its time limit"
    );
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.canceller.cancel(session);
        }
    }
}
