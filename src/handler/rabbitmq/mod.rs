//! `kind = "rabbitmq"`: publishes each event as a persistent AMQP message. The event counts as delivered when the
//! broker has confirmed the message and has not returned it as unroutable.
//!
//! ```text
//! deliver ─▶ message   each event as an AMQP message
//!         ─▶ link      one connection, with one channel for each delivery in flight
//!         ─▶ publish   sends the messages of one wave and waits for their confirms, then sends the next wave
//! ```
//!
//! A duplicate has the same AMQP property `message_id` (the event's key), so a consumer can process each event once.

mod address;
mod failure;
mod link;
mod message;
mod publish;
mod settings;

use super::{Delivery, Failure, Kind, OpenError, Template, Wrong, ca::Ca, waves::waves};
use link::{LentChannel, Link, Target};
use message::{Form, Message};
use settings::{Keys, Settings, literal};

/// A handler that publishes events to RabbitMQ.
pub(super) struct RabbitMq {
    link: Link,
    form: Form,
}

impl Kind for RabbitMq {
    const NAME: &'static str = "rabbitmq";
    const ABOUT: &'static str =
        "publishes each event to a RabbitMQ exchange or queue, persistent and confirmed";
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 500;
    const HARMLESS: &'static [&'static str] = &["ca", "exchange", "routing_key", "body"];
    const SECRET: &'static [&'static str] = &["url"];
    const QUIET: &'static [&'static str] = &["lapin"];
    type Keys = Keys;
    type Settings = Settings;

    fn check(keys: Keys) -> Result<Settings, Wrong> {
        let Keys { url, ca, exchange, routing_key, declare, mandatory, body } = keys;
        if ca.is_some() && !url.is_tls() {
            return Err(Wrong::new(&["ca"], "needs TLS: write `url` with amqps://, or remove `ca`"));
        }
        let is_default = exchange.as_str().is_empty();
        let routing_key = match routing_key {
            Some(template) => template,
            None if is_default => {
                return Err(Wrong::new(&[], "set `exchange`, or set `routing_key` to the name of a queue"));
            }
            None => Template::by_source_and_event(),
        };
        let target = if !is_default {
            Target::Exchange { name: exchange.clone(), declare }
        } else if let Some(name) = literal(&routing_key)? {
            Target::Queue { name, declare }
        } else if declare {
            return Err(Wrong::new(
                &[],
                "`declare` creates one queue: set `routing_key` to its name, without placeholders, or set `exchange`",
            ));
        } else {
            Target::Queues
        };
        let form = Form { exchange, routing_key, mandatory, body };
        Ok(Settings { address: url, ca, target, form })
    }

    fn destination(settings: &Settings) -> String {
        let Settings { address, target, form, .. } = settings;
        let to = match target {
            Target::Exchange { name, .. } => format!("exchange {name}, routing key {}", form.routing_key),
            Target::Queue { .. } | Target::Queues => format!("queue {}", form.routing_key),
        };
        format!("{}, vhost {}, {to}", address.place(), address.vhost())
    }

    fn shown(settings: &Settings, delivery: &Delivery) -> String {
        settings.form.body.of(delivery)
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let Settings { mut address, ca, target, form } = settings;
        if let Some(ca) = ca {
            address.trust(&Ca::read(&ca).await?);
        }
        Ok(Self { link: Link::new(name, address, target), form })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link.channel().await.map(LentChannel::give_back)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let messages: Vec<Message> =
            events.iter().map(|delivery| self.form.message(delivery)).collect::<Result<_, _>>()?;
        let attempt = self.link.given_up.attempt();
        let published = self.publish(events, messages).await;
        attempt.ended();
        published
    }
}

impl RabbitMq {
    /// Publishes the messages in waves, and marks the events that are confirmed. The broker may refuse one AMQP message
    /// and accept the next. So an event waits until the earlier event with the same BIK `messageId` is confirmed.
    async fn publish(&self, events: &[Delivery], messages: Vec<Message>) -> Result<(), Failure> {
        // After a failure the channel is dropped, because late confirms must not be taken for those of the next
        // delivery.
        let lent = self.link.channel().await?;
        let mut messages = messages.into_iter();
        for wave in waves(events) {
            let together = messages.by_ref().take(wave.len()).collect();
            tokio::select! {
                published = publish::all(&lent.channel, wave, together) => published?,
                () = lent.blocked() => return Err(failure::blocked()),
            }
        }
        lent.give_back();
        Ok(())
    }
}
