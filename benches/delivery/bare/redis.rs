//! redis: one transaction of `XADD`s (`MULTI` … `EXEC`) per batch, on one multiplexed connection. The loop builds the
//! commands from texts that were made in advance.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, Pipeline, aio::MultiplexedConnection};
use tokio::runtime::Runtime;

use super::{
    super::{servers::redis::RedisServer, support::run::Failed},
    AsyncSend, Destination, Load, send_all,
};
use bikhook::handler::Delivery;

/// A server that syncs its file before it answers.
pub struct Redis {
    server: RedisServer,
}

impl Redis {
    pub fn start() -> Self {
        Self { server: RedisServer::start_new() }
    }
}

impl Destination for Redis {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn library(&self) -> &'static str {
        "redis"
    }

    fn make(&self, _place: &str) {}

    fn settings(&self, place: &str) -> String {
        format!("kind = \"redis\"\nurl = {:?}\nstream = {place:?}", self.server.url())
    }

    fn bare(&self, runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed> {
        let batches = load.batches(|batch| batch.iter().map(Entry::of).collect::<Vec<_>>());
        let client = Client::open(self.server.url())?;
        runtime.block_on(async {
            // The library's default of half a second is too short for a slow disk.
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let senders = vec![connection; load.concurrency];
            send_all(batches, senders, Add(place.to_owned())).await
        })
    }

    fn count(&self, place: &str) -> u64 {
        self.server.ask(&["XLEN", place])
    }

    fn remove(&self, place: &str) {
        self.server.ask::<()>(&["DEL", place]);
    }
}

/// The fields of an entry, as they are sent.
struct Entry {
    key: String,
    seq: String,
    received_at: String,
    source: String,
    event_name: String,
    id: String,
    attempt: String,
    event: String,
}

impl Entry {
    fn of(delivery: &Delivery) -> Self {
        let event = &delivery.event;
        Self {
            key: delivery.key().to_string(),
            seq: event.seq.to_string(),
            received_at: event.received_at.to_string(),
            source: event.source.to_string(),
            event_name: event.element.name().to_owned(),
            id: event.element.id().unwrap_or_default().to_owned(),
            attempt: delivery.attempt.to_string(),
            event: event.element.rendered().into_owned(),
        }
    }
}

#[derive(Clone)]
struct Add(String);

impl AsyncSend<MultiplexedConnection, Vec<Entry>> for Add {
    async fn send(&self, connection: &mut MultiplexedConnection, entries: Vec<Entry>) -> Result<(), Failed> {
        let mut pipeline = Pipeline::with_capacity(entries.len());
        pipeline.atomic();
        for entry in &entries {
            pipeline.cmd("XADD").arg(&self.0).arg("*").arg("key").arg(&entry.key).arg("seq").arg(&entry.seq);
            pipeline.arg("received_at").arg(&entry.received_at).arg("source").arg(&entry.source);
            pipeline.arg("event_name").arg(&entry.event_name).arg("id").arg(&entry.id);
            pipeline.arg("attempt").arg(&entry.attempt).arg("replay").arg("0");
            pipeline.arg("event").arg(&entry.event).ignore();
        }
        pipeline.exec_async(connection).await?;
        Ok(())
    }
}
