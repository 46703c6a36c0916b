//! lapin: publishes all messages of a batch, persistent, then awaits all confirms; one channel per batch in flight, on one
//! connection.

use std::time::Duration;

use bikhook::handler::Delivery;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::runtime::Runtime;

use super::{
    super::{
        servers::rabbitmq::{RabbitMq as Broker, short},
        support::run::Failed,
    },
    AsyncSend, Destination, Load, send_all,
};

/// A broker.
pub struct RabbitMq {
    broker: Broker,
}

impl RabbitMq {
    pub fn start() -> Self {
        Self { broker: Broker::start_new() }
    }
}

impl Destination for RabbitMq {
    fn kind(&self) -> &'static str {
        "rabbitmq"
    }

    fn library(&self) -> &'static str {
        "lapin"
    }

    fn make(&self, place: &str) {
        self.broker.make_queue(place, FieldTable::default());
    }

    fn settings(&self, place: &str) -> String {
        format!("kind = \"rabbitmq\"\nurl = {:?}\nrouting_key = {place:?}", self.broker.url())
    }

    fn bare(&self, runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed> {
        let batches = load.batches(|batch| batch.iter().map(Message::of).collect::<Vec<_>>());
        runtime.block_on(async {
            let connection = Connection::connect(&self.broker.url(), ConnectionProperties::default()).await?;
            let mut senders = Vec::new();
            for _ in 0..load.concurrency {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                senders.push(channel);
            }
            send_all(batches, senders, Publish(short(place))).await
        })
    }

    fn count(&self, place: &str) -> u64 {
        self.broker.on_a_channel(async |channel| {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let declared = channel.queue_declare(short(place), options, FieldTable::default()).await?;
            Ok(declared.message_count().into())
        })
    }

    fn remove(&self, place: &str) {
        self.broker.delete_queue(place);
    }
}

/// A message with its properties, as the kind sends it.
struct Message {
    properties: BasicProperties,
    body: Vec<u8>,
}

impl Message {
    fn of(delivery: &Delivery) -> Self {
        let event = &delivery.event;
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        headers.insert(short("seq"), AMQPValue::LongLongInt(event.seq.cast_signed()));
        headers.insert(short("source"), text(&event.source));
        headers.insert(short("received_at"), text(&event.received_at.to_string()));
        headers.insert(short("id"), text(event.element.id().unwrap_or_default()));
        headers.insert(short("attempt"), AMQPValue::LongLongInt(delivery.attempt.into()));
        headers.insert(short("replay"), AMQPValue::Boolean(delivery.replay));
        let properties = BasicProperties::default()
            .with_message_id(short(&delivery.key().to_string()))
            .with_app_id(short("bikhook"))
            .with_content_type(short("application/json"))
            .with_delivery_mode(2)
            .with_timestamp((event.received_at.as_ms() / 1_000).cast_unsigned())
            .with_type(short(event.element.name()))
            .with_headers(headers);
        Self { properties, body: delivery.to_envelope().into_bytes() }
    }
}

#[derive(Clone)]
struct Publish(ShortString);

impl AsyncSend<Channel, Vec<Message>> for Publish {
    async fn send(&self, channel: &mut Channel, messages: Vec<Message>) -> Result<(), Failed> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut confirms = Vec::with_capacity(messages.len());
        for Message { properties, body } in messages {
            let queue = self.0.clone();
            confirms.push(channel.basic_publish(short(""), queue, options, &body, properties).await?);
        }
        for confirm in confirms {
            if !matches!(confirm.await?, Confirmation::Ack(None)) {
                return Err("the broker did not confirm a message".into());
            }
        }
        Ok(())
    }
}
