//! `kind = "rabbitmq"`: a persistent message an event, confirmed by the broker before the event counts as delivered.
//!
//! ```text
//! deliver ─▶ message   each event as a message
//!         ─▶ link      one connection, on it a channel for each delivery under way
//!         ─▶ publish   as many as may be under way together, then every confirm
//! ```
//! A repetition has the same `message_id`: by it a consumer has each event once.

mod address;
mod failure;
mod link;
mod message;
mod publish;
mod settings;

use super::{Delivery, Failure, Kind, OpenError, ca::Ca, waves::waves};
use link::Link;
use message::{Form, Message};
use settings::Settings;

/// The handler.
pub struct RabbitMq {
    link: Link,
    form: Form,
}

impl Kind for RabbitMq {
    const NAME: &'static str = "rabbitmq";
    const ABOUT: &'static str =
        "publishes each event to a RabbitMQ exchange or queue, persistent and confirmed";
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 500;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        settings.destination()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        let Settings { mut address, ca, target, form } = settings;
        if let Some(ca) = ca {
            address.trust(&Ca::read(&ca).await.map_err(wrong)?);
        }
        Ok(Self { link: Link::new(name, address, target), form })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link.channel().await.map(|channel| self.link.give_back(channel))
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let messages: Vec<Message> =
            events.iter().map(|delivery| self.form.message(delivery)).collect::<Result<_, _>>()?;
        let attempt = self.link.attempt();
        let published = self.publish(events, messages).await;
        attempt.ended();
        published
    }
}

impl RabbitMq {
    /// A broker may turn one message away and take the next: so an event follows one of its message only once that is
    /// confirmed.
    async fn publish(&self, events: &[Delivery], messages: Vec<Message>) -> Result<(), Failure> {
        // Unless all went well it is dropped: what is still under way on it must not be taken for the next delivery's.
        let channel = self.link.channel().await?;
        let mut messages = messages.into_iter();
        for wave in waves(events) {
            let wave = messages.by_ref().take(wave.len()).collect();
            tokio::select! {
                published = publish::all(&channel, wave) => published?,
                () = self.link.blocked() => return Err(failure::blocked()),
            }
        }
        self.link.give_back(channel);
        Ok(())
    }
}
