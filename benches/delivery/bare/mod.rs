//! The throughput of a client library alone: a loop that follows the library's best practice and only sends. Values,
//! payloads, headers and properties are built before the measurement starts.

#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod row;
pub mod sqlite;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bikhook::handler::Delivery;
use tokio::{runtime::Runtime, task::JoinSet};

use super::support::run::Failed;

/// A private server or a file.
pub trait Destination {
    /// The handler kind that delivers to it.
    fn kind(&self) -> &'static str;
    /// The library that the kind and the bare run use.
    fn library(&self) -> &'static str;
    /// Creates a target for the events of one run, such as a table or a queue.
    fn make(&self, place: &str);
    /// The settings of a handler that delivers to that target.
    fn settings(&self, place: &str) -> String;
    /// Sends all events to the target without the receiver, and returns the time taken.
    fn bare(&self, runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed>;
    /// The number of events in the target.
    fn count(&self, place: &str) -> u64;
    /// Deletes the target.
    fn remove(&self, place: &str);
}

/// The load of a bare run.
pub struct Load<'a> {
    /// The events.
    pub deliveries: &'a [Delivery],
    /// Events in each batch.
    pub batch: usize,
    /// Batches in flight at once.
    pub concurrency: usize,
}

impl Load<'_> {
    /// Splits the events into batches and converts each with `make`.
    pub fn batches<T>(&self, make: impl FnMut(&[Delivery]) -> T) -> Vec<T> {
        self.deliveries.chunks(self.batch).map(make).collect()
    }
}

/// Sends batches from one task per sender; each task sends its next batch after the previous one. Returns the total
/// time.
pub async fn send_all<T, S>(
    batches: Vec<T>,
    senders: Vec<S>,
    send: impl AsyncSend<S, T> + Clone,
) -> Result<Duration, Failed>
where
    T: Send + 'static,
    S: Send + 'static,
{
    let batches = Arc::new(Mutex::new(batches.into_iter()));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for mut sender in senders {
        let (batches, send) = (Arc::clone(&batches), send.clone());
        tasks.spawn(async move {
            loop {
                let next = batches.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(batch) = next else { return Ok::<_, Failed>(()) };
                send.send(&mut sender, batch).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(began.elapsed())
}

/// Sends one batch and waits for its acknowledgement.
pub trait AsyncSend<S, T>: Send + Sync + 'static {
    /// Resolves when the destination has acknowledged the whole batch.
    fn send(&self, sender: &mut S, batch: T) -> impl Future<Output = Result<(), Failed>> + Send;
}
