//! async-nats: publishes all messages of a batch to JetStream, then awaits all acknowledgements, on one connection.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{self, Context, message::PublishMessage, stream::Config},
};
use bikhook::handler::Delivery;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::{
    super::{servers::nats::NatsServer, support::run::Failed},
    AsyncSend, Destination, Load, send_all,
};

/// A server with JetStream.
pub struct Nats {
    server: NatsServer,
}

impl Nats {
    pub fn start() -> Self {
        Self { server: NatsServer::start_new() }
    }
}

impl Destination for Nats {
    fn kind(&self) -> &'static str {
        "nats"
    }

    fn library(&self) -> &'static str {
        "async-nats"
    }

    fn make(&self, place: &str) {
        self.server.make_stream(Config {
            name: place.to_owned(),
            subjects: vec![format!("{place}.>")],
            ..Config::default()
        });
    }

    fn settings(&self, place: &str) -> String {
        format!("kind = \"nats\"\nurl = {:?}\nsubject = \"{place}.{{source}}.{{event}}\"", self.server.url())
    }

    fn bare(&self, runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed> {
        let batches = load
            .batches(|batch| batch.iter().map(|delivery| Message::of(delivery, place)).collect::<Vec<_>>());
        runtime.block_on(async {
            let jetstream = jetstream::new(async_nats::connect(self.server.url()).await?);
            let senders = vec![jetstream; load.concurrency];
            send_all(batches, senders, Publish).await
        })
    }

    fn count(&self, place: &str) -> u64 {
        self.server
            .ask(async |jetstream| jetstream.get_stream(place).await.unwrap().cached_info().state.messages)
    }

    fn remove(&self, place: &str) {
        self.server.ask(async |jetstream| jetstream.delete_stream(place).await.unwrap());
    }
}

/// A message with its headers, as the kind sends it.
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Message {
    fn of(delivery: &Delivery, place: &str) -> Self {
        let event = &delivery.event;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, delivery.key().to_string());
        headers.insert("Bikhook-Seq", event.seq.to_string());
        headers.insert("Bikhook-Received-At", event.received_at.to_string());
        headers.insert("Bikhook-Source", &*event.source);
        headers.insert("Bikhook-Event", event.element.name());
        headers.insert("Bikhook-Id", event.element.id().unwrap_or_default());
        headers.insert("Bikhook-Attempt", delivery.attempt.to_string());
        let subject = format!("{place}.{}.{}", event.source, event.element.name());
        Self { subject, headers, payload: delivery.to_envelope().into() }
    }
}

#[derive(Clone)]
struct Publish;

impl AsyncSend<Context, Vec<Message>> for Publish {
    async fn send(&self, jetstream: &mut Context, messages: Vec<Message>) -> Result<(), Failed> {
        let mut acks = Vec::with_capacity(messages.len());
        for Message { subject, headers, payload } in messages {
            let message = PublishMessage::build().payload(payload).headers(headers);
            acks.push(jetstream.send_publish(subject, message).await?);
        }
        for ack in acks {
            ack.await?;
        }
        Ok(())
    }
}
