//! `kind = "kafka"`: a message per event, acknowledged by every replica in sync.
//!
//! ```text
//! deliver ─▶ link ─▶ a producer; look whether the topic is there     once, and after each break
//!              │
//!              └─▶ publish ─▶ waves: sent together, reported together
//! ```
//!
//! **Order.** The key of a message is BIK's `messageId`: what belongs together is in one partition. An idempotent producer
//! keeps its order there, but gives up one message (too large, too late) and goes on with the next: hence the waves.
//!
//! **A producer that failed is not used again.** librdkafka would connect again by itself, and send what it has queued: a
//! delivery that fails leaves its producer with what is in it, and so does one that is given up half-way. What was on its
//! way may still arrive: as a repetition, since no later event of its message was sent.

mod failure;
mod link;
mod publish;
mod settings;
mod watch;

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::warn;

use super::{Delivery, Failure, Kind, OpenError, ca::Ca};
use link::Link;
pub use settings::Settings;

/// The handler.
pub struct Kafka {
    name: String,
    settings: Settings,
    link: Mutex<Option<Arc<Link>>>,
}

impl Kind for Kafka {
    const NAME: &'static str = "kafka";
    const ABOUT: &'static str = "sends each event to a topic of Kafka, acknowledged by all replicas in sync";
    const CONCURRENCY: usize = 4;
    const BATCH: usize = 500;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        let tls = if settings.tls { " (TLS)" } else { "" };
        format!("{}{tls}, topic {}", settings.brokers.0, settings.topic)
    }

    fn check(settings: &Settings) -> Result<(), String> {
        settings.check()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        if let Some(ca) = &settings.ca {
            Ca::read(ca).await.map_err(wrong)?;
        }
        if settings.shows_its_password() {
            warn!(
                handler = name,
                kind = Self::NAME,
                "the password goes over the wire in the clear: set tls = true"
            );
        }
        Ok(Self { name: name.to_owned(), settings, link: Mutex::default() })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link().await.map(drop)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let link = self.link().await?;
        let attempt = link.attempt();
        let ended = publish::publish(&link, &self.settings, events).await;
        // Only what is about the events leaves the producer as it was.
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
    /// The producer; made where there is none, or none that is sound. Whoever else needs it waits meanwhile.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| link.is_sound()) {
            return Ok(Arc::clone(link));
        }
        *held = None;
        let link = Link::connect(&self.name, &self.settings).await?;
        Ok(Arc::clone(held.insert(Arc::new(link))))
    }

    /// Does not keep a producer, so that it ends with its last delivery, and what is queued in it with it.
    fn leave(&self, link: &Arc<Link>) {
        // Who has the lock is about to do the same.
        if let Ok(mut held) = self.link.try_lock() {
            held.take_if(|held| Arc::ptr_eq(held, link));
        }
    }
}
