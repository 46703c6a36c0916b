//! `kind = "nats"`: a message per event, published to a subject that a JetStream stream keeps, and acknowledged by it.
//!
//! ```text
//! deliver ─▶ link ─▶ connect, check that a stream captures the subject     once, and after each break
//!              │
//!              └─▶ publish ─▶ waves: sent together, acknowledged together
//! ```
//!
//! **Order.** JetStream stores what one connection publishes in its order, but may refuse one message and take the next:
//! hence the waves.
//!
//! **A broken connection is not mended.** async-nats would connect again by itself and send what it had buffered: this
//! kind drops the client with what is in it, and the next delivery makes another. So it does where a delivery was given up
//! half-way: of a stream that hangs, each try would leave one more copy in the client.

mod error;
mod link;
mod publish;
mod settings;
mod stream;

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::warn;

use super::{Delivery, Failure, Kind, OpenError, ca::Ca};
use link::Link;
pub use settings::Settings;

/// Where JetStream is asked about streams.
const API: &str = "$JS.API.";

/// The handler.
pub struct Nats {
    name: String,
    settings: Settings,
    kept: Mutex<Kept>,
}

/// What one delivery leaves to the next.
#[derive(Default)]
struct Kept {
    link: Option<Arc<Link>>,
    /// Which of the servers is tried first; counted on beyond their number.
    turn: usize,
    /// The user may publish, but not ask about streams: acknowledgements tell instead.
    unchecked: bool,
}

impl Kind for Nats {
    const NAME: &'static str = "nats";
    const ABOUT: &'static str = "publishes each event to NATS JetStream, acknowledged by the stream";
    const CONCURRENCY: usize = 4;
    const BATCH: usize = 250;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        let servers = settings.url.0.iter();
        let servers: Vec<String> = servers
            .map(|server| format!("{}://{}:{}", server.scheme(), server.host(), server.port()))
            .collect();
        let stream =
            settings.stream.as_ref().map(|stream| format!(", stream {}", stream.0)).unwrap_or_default();
        format!("{}, subject {}{stream}", servers.join(" or "), settings.subject.0)
    }

    fn check(settings: &Settings) -> Result<(), String> {
        settings.check()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        if let Some(ca) = &settings.ca {
            Ca::read(ca).await.map_err(wrong)?;
        }
        Ok(Self { name: name.to_owned(), settings, kept: Mutex::default() })
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
        let mut published = publish::publish(&link, &self.settings, &self.name, events).await;
        if self.settings.create_stream && published.as_ref().is_err_and(error::is_no_stream) {
            // Deleted while this runs: it is made again, as at the start.
            published = match stream::check(&link, &self.settings).await {
                Ok(()) => publish::publish(&link, &self.settings, &self.name, events).await,
                Err(trouble) => Err(trouble),
            };
        }
        attempt.ended();
        published
    }
}

impl Nats {
    /// The connection; made where there is none, or none that is sound. Whoever else needs it waits meanwhile.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        let mut kept = self.kept.lock().await;
        if let Some(link) = kept.link.as_ref().filter(|link| link.is_sound()) {
            return Ok(Arc::clone(link));
        }
        kept.link = None;
        let mut link = Arc::new(Link::connect(&self.settings, &mut kept.turn).await?);
        if kept.unchecked {
            return Ok(Arc::clone(kept.link.insert(link)));
        }
        match stream::check(&link, &self.settings).await {
            Ok(()) => Ok(Arc::clone(kept.link.insert(link))),
            Err(Failure::Misconfigured { class, error, .. })
                if class == "permission" && error.contains(API) =>
            {
                warn!(kind = Self::NAME, "{error}: whether a stream captures the subject is not checked");
                kept.unchecked = true;
                link = Arc::new(Link::connect(&self.settings, &mut kept.turn).await?);
                Ok(Arc::clone(kept.link.insert(link)))
            }
            Err(trouble) => Err(trouble),
        }
    }
}
