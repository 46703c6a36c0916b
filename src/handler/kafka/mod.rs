//! `kind = "kafka"`: sends each event as a Kafka message, acknowledged by all in-sync replicas.
//!
//! ```text
//! deliver ─▶ link ─▶ reuse the producer, or make a new one and check that the topic exists
//!              │
//!              └─▶ publish ─▶ send the Kafka messages of one wave, wait for their reports, send the next wave
//! ```
//!
//! **Order.** The key of a Kafka message is BIK's `messageId`, so all events of one BIK message are in one partition.
//! An idempotent producer keeps the order there. But it may drop one Kafka message (too large, too late) and continue
//! with the next. Therefore events are sent in waves: a wave has at most one event of each BIK message, and the next
//! wave waits until this one is acknowledged.
//!
//! **A producer that failed is not reused.** librdkafka would reconnect by itself and send its queue, and the retried
//! delivery would send the same events again. So the producer is dropped with its queue after a delivery that was
//! cancelled, or that failed with anything but a refusal ([`Failure::Refuse`]). Kafka messages in flight may still
//! arrive. They cause duplicates but no wrong order, because no later event of the same BIK message was sent.

mod failure;
mod link;
mod publish;
mod settings;
mod watch;

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::warn;

use super::{Delivery, Failure, Kind, OpenError, Wrong, ca::Ca};
use link::Link;
use settings::Mechanism;
pub(super) use settings::Settings;

/// The range of `max_bytes` that librdkafka accepts.
const MESSAGE_BYTES: std::ops::RangeInclusive<u64> = 1000..=1_000_000_000;

/// A handler that sends events to Kafka.
pub(super) struct Kafka {
    name: String,
    settings: Settings,
    link: Mutex<Option<Arc<Link>>>,
}

impl Kind for Kafka {
    const NAME: &'static str = "kafka";
    const ABOUT: &'static str = "sends each event to a Kafka topic, acknowledged by all in-sync replicas";
    const CONCURRENCY: usize = 4;
    const BATCH: usize = 500;
    const HARMLESS: &'static [&'static str] =
        &["auto_create", "body", "max_bytes", "compress", "mechanism", "ca"];
    const SECRET: &'static [&'static str] = &["password"];
    const QUIET: &'static [&'static str] = &[watch::TARGET, "rdkafka"];
    type Keys = Settings;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        let tls = if settings.tls { " (TLS)" } else { "" };
        format!("{}{tls}, topic {}", settings.brokers, settings.topic)
    }

    fn shown(settings: &Settings, delivery: &Delivery) -> String {
        settings.body.of(delivery)
    }

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        if keys.user.is_some() && keys.password.is_none() {
            return Err(Wrong::new(&[], "password: needed with `user`"));
        }
        if keys.user.is_none() && keys.password.is_some() {
            return Err(Wrong::new(&[], "user: needed with `password`"));
        }
        if keys.ca.is_some() && !keys.tls {
            return Err(Wrong::new(&["ca"], "needs TLS: add tls = true, or remove `ca`"));
        }
        if !MESSAGE_BYTES.contains(&keys.max_bytes.0) {
            return Err(Wrong::new(&["max_bytes"], "write a size from \"1KiB\" to \"900MiB\""));
        }
        Ok(keys)
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        if let Some(ca) = &settings.ca {
            Ca::read(ca).await?;
        }
        if settings.user.is_some() && !settings.tls && matches!(settings.mechanism, Mechanism::Plain) {
            warn!(handler = name, kind = Self::NAME, "password is sent in plain text: set tls = true");
        }
        Ok(Self { name: name.to_owned(), settings, link: Mutex::default() })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link().await.map(drop)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let link = self.link().await?;
        let attempt = link.given_up.attempt();
        let ended = publish::publish(&link, &self.settings, events).await;
        // The producer stays usable only if the delivery succeeded or was refused.
        if matches!(ended, Ok(()) | Err(Failure::Refuse { .. })) {
            attempt.ended();
        } else {
            drop(attempt);
        }
        if !link.is_sound() {
            self.leave(&link);
        }
        ended
    }
}

impl Kafka {
    /// Returns the link. Makes a new one if there is none that can be used; other callers wait meanwhile.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| link.is_sound()) {
            return Ok(Arc::clone(link));
        }
        *held = None;
        let link = Link::connect(&self.name, &self.settings).await?;
        Ok(Arc::clone(held.insert(Arc::new(link))))
    }

    /// Forgets the link, so that no new delivery uses it. Its producer and queue are dropped when its last delivery
    /// ends.
    fn leave(&self, link: &Arc<Link>) {
        // If the lock is taken, its holder or the next delivery replaces the link, because the link is not sound.
        if let Ok(mut held) = self.link.try_lock() {
            held.take_if(|held| Arc::ptr_eq(held, link));
        }
    }
}
