//! What a client library reaches by itself: the loop that somebody would write who knows it well and has nothing to do but
//! send. Values, payloads, headers and properties are made before the clock starts.

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

/// A private server, or a file.
pub trait Destination {
    /// The kind of handler for it.
    fn kind(&self) -> &'static str;
    /// The library that the kind and the bare run use.
    fn library(&self) -> &'static str;
    /// Makes a place for the events of one run, such as a table or a queue.
    fn make(&self, place: &str);
    /// The handler's own keys, for the events to go to that place.
    fn settings(&self, place: &str) -> String;
    /// Sends all events there without the receiver; how long that took.
    fn bare(&self, runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed>;
    /// How many events are there.
    fn count(&self, place: &str) -> u64;
    /// Takes the place away.
    fn remove(&self, place: &str);
}

/// What a bare run sends.
pub struct Load<'a> {
    /// The events.
    pub deliveries: &'a [Delivery],
    /// So many at a time.
    pub batch: usize,
    /// So many batches under way at once.
    pub concurrency: usize,
}

impl Load<'_> {
    /// The batches, each made into what is sent.
    pub fn batches<T>(&self, make: impl FnMut(&[Delivery]) -> T) -> Vec<T> {
        self.deliveries.chunks(self.batch).map(make).collect()
    }
}

/// Sends batches from as many tasks as there are senders, each its next one when it is through with one; how long all of
/// them took.
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

/// How one batch is sent and acknowledged.
pub trait AsyncSend<S, T>: Send + Sync + 'static {
    /// Ends when the destination has all of it.
    fn send(&self, sender: &mut S, batch: T) -> impl Future<Output = Result<(), Failed>> + Send;
}
