//! A handler that is opened while the receiver runs, so intake never waits for a destination. A failed opening is
//! retried.
//!
//! Both lanes of a handler and its replays share one `Deferred`. Only one opening attempt runs at a time; callers that
//! arrive during an attempt get its result. Opening has a timeout. [`Handler::look`] then checks the destination, with
//! a timeout of its own. An opening that timed out may still run in a thread that cannot be interrupted. The next
//! attempt waits for that opening instead of starting another.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::timeout};

use super::{
    Delivery, Failure, Handler, Opener, Readiness,
    table::{BoxFuture, Opening},
};

/// Error class of the failure to open a handler.
const NOT_OPENED: &str = "cannot be opened";

/// A handler that is opened when it is first needed. Opening is retried after each failure.
pub struct Deferred {
    handler: Arc<str>,
    kind: &'static str,
    destination: Arc<str>,
    opener: Opener,
    timeout: Duration,
    opened: OnceLock<Box<dyn Handler>>,
    ready: AtomicBool,
    /// Number of opening attempts that have ended.
    attempts: AtomicU64,
    attempt: Mutex<Attempt>,
}

#[derive(Default)]
struct Attempt {
    /// An opening that timed out and still runs.
    unfinished: Option<Opening>,
    /// The failure of the last attempt.
    failure: Option<Failure>,
    /// Number of failed attempts. It is not reset, because no attempt follows a success.
    failures: u32,
}

impl Deferred {
    /// Creates a handler that is not open yet. `timeout` applies separately to opening it and to [`Handler::look`].
    pub fn new(
        handler: Arc<str>,
        kind: &'static str,
        destination: Arc<str>,
        opener: Opener,
        timeout: Duration,
    ) -> Self {
        Self {
            handler,
            kind,
            destination,
            opener,
            timeout,
            opened: OnceLock::new(),
            ready: AtomicBool::new(false),
            attempts: AtomicU64::new(0),
            attempt: Mutex::default(),
        }
    }

    async fn attempt(&self) -> Result<(), Failure> {
        let before = self.attempts.load(SeqCst);
        let mut attempt = self.attempt.lock().await;
        if self.ready.load(SeqCst) {
            return Ok(());
        }
        if self.attempts.load(SeqCst) != before {
            return attempt.failure.clone().map_or(Ok(()), Err);
        }
        let result = self.open_and_look(&mut attempt.unfinished).await;
        self.attempts.fetch_add(1, SeqCst);
        match &result {
            Ok(()) => self.succeeded(),
            Err(failure) => {
                let news = attempt.failure.as_ref() != Some(failure);
                attempt.failures += 1;
                if news || attempt.failures.is_power_of_two() {
                    self.log(failure, attempt.failures);
                }
            }
        }
        attempt.failure = result.clone().err();
        result
    }

    async fn open_and_look(&self, unfinished: &mut Option<Opening>) -> Result<(), Failure> {
        let handler = self.open(unfinished).await?;
        timeout(self.timeout, handler.look()).await.unwrap_or_else(|_elapsed| Err(self.late()))
    }

    async fn open(&self, unfinished: &mut Option<Opening>) -> Result<&dyn Handler, Failure> {
        if let Some(handler) = self.opened.get() {
            return Ok(&**handler);
        }
        let mut opening = unfinished.take().unwrap_or_else(|| (self.opener)(self.handler.to_string()));
        match timeout(self.timeout, &mut opening).await {
            Ok(Ok(handler)) => Ok(&**self.opened.get_or_init(|| handler)),
            Ok(Err(error)) => Err(Failure::misconfigured(NOT_OPENED, error.what)),
            Err(_elapsed) => {
                *unfinished = Some(opening);
                Err(self.late())
            }
        }
    }

    fn late(&self) -> Failure {
        Failure::retry("timeout", format!("no answer within {} s", self.timeout.as_secs_f64()))
    }

    fn succeeded(&self) {
        if !self.ready.swap(true, SeqCst) {
            tracing::info!(
                handler = &*self.handler,
                kind = self.kind,
                destination = &*self.destination,
                "handler opened"
            );
        }
    }

    fn log(&self, failure: &Failure, failures: u32) {
        let (handler, kind, destination) = (&*self.handler, self.kind, &*self.destination);
        if let Failure::Retry { error, .. } = failure {
            let error = error.whole();
            tracing::warn!(
                handler,
                kind,
                destination,
                failures,
                error,
                "the destination is unwell: opening is retried, and events wait"
            );
        } else {
            tracing::error!(
                handler,
                kind,
                destination,
                failures,
                error = %failure,
                "cannot open the handler, or its destination rejects it: check its settings; opening is retried, \
                 and events wait"
            );
        }
    }

    async fn deliver_at_last(&self, events: &[Delivery]) -> Result<(), Failure> {
        if self.opened.get().is_none() {
            self.attempt().await?;
        }
        let Some(handler) = self.opened.get() else {
            return Err(Failure::retry(NOT_OPENED, "the handler is not open"));
        };
        let delivered = handler.deliver(events).await;
        let has_answered = matches!(delivered, Ok(()) | Err(Failure::Refuse { .. }));
        if has_answered || events.iter().any(Delivery::is_accepted) {
            self.succeeded();
        }
        delivered
    }
}

impl Handler for Deferred {
    fn deliver<'a>(&'a self, events: &'a [Delivery]) -> BoxFuture<'a, Result<(), Failure>> {
        match self.opened.get() {
            Some(handler) if self.ready.load(SeqCst) => handler.deliver(events),
            _ => Box::pin(self.deliver_at_last(events)),
        }
    }

    fn look(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.attempt())
    }

    fn readiness(&self) -> Readiness {
        match self.opened.get() {
            None => Readiness::Closed,
            Some(_) if self.ready.load(SeqCst) => Readiness::Ready,
            Some(_) => Readiness::Unchecked,
        }
    }
}
