//! `kind = "rabbitmq"`: publishes each event as a persistent message. The event counts as delivered when the broker has
//! confirmed it.
//!
//! ```text
//! deliver ─▶ message   each event as a message
//!         ─▶ link      one connection, with one channel for each delivery in flight
//!         ─▶ publish   all messages that may be in flight together, then every confirm
//! ```
//!
//! A duplicate has the same `message_id`, so a consumer can process each event once.

mod address;
mod failure;
mod link;
mod message;
mod publish;
mod settings;

use super::{Delivery, Failure, Kind, OpenError, Wrong, ca::Ca, waves::waves};
use link::Link;
use message::{Form, Message};
use settings::{Keys, Settings};

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
        keys.check()
    }

    fn destination(settings: &Settings) -> String {
        settings.destination()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let Settings { mut address, ca, target, form } = settings;
        if let Some(ca) = ca {
            address.trust(&Ca::read(&ca).await?);
        }
        Ok(Self { link: Link::new(name, address, target), form })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link.channel().await.map(|channel| self.link.give_back(channel))
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let messages: Vec<Message> =
            events.iter().map(|delivery| self.form.message(delivery)).collect::<Result<_, _>>()?;
        let attempt = self.link.attempt();
        let published = self.publish(events, messages).await;
        attempt.ended();
        published
    }
}

impl RabbitMq {
    /// Publishes the messages in waves, and marks the events that are confirmed. The broker may refuse one message and
    /// accept the next, so an event is sent only after the previous event of the same message is confirmed.
    async fn publish(&self, events: &[Delivery], messages: Vec<Message>) -> Result<(), Failure> {
        // After a failure the channel is dropped, because late confirms must not be taken for those of the next
        // delivery.
        let channel = self.link.channel().await?;
        let mut messages = messages.into_iter();
        for wave in waves(events) {
            let together = messages.by_ref().take(wave.len()).collect();
            tokio::select! {
                published = publish::all(&channel, wave, together) => published?,
                () = self.link.blocked() => return Err(failure::blocked()),
            }
        }
        self.link.give_back(channel);
        Ok(())
    }
}
