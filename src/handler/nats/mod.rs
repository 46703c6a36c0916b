//! `kind = "nats"`: publishes each event as a NATS message to a JetStream subject, acknowledged by the stream.
//!
//! ```text
//! deliver ─▶ link ─▶ reuse the connection, or make a new one and check that a stream captures the subject
//!              │
//!              └─▶ publish ─▶ send the NATS messages of one wave, wait for their acknowledgements, send the next wave
//! ```
//!
//! **Order.** JetStream stores the NATS messages of one connection in order, but it may refuse one and accept the next.
//! Therefore events are sent in waves: a wave has at most one event of each BIK message, and the next wave waits until
//! this one is acknowledged.
//!
//! **A broken connection is not reused.** async-nats would reconnect by itself and send its buffer. Instead, the client
//! is dropped with its buffer, and the next delivery makes a new client. The client is also dropped after a cancelled
//! delivery. Otherwise, while a stream hangs, each attempt would add another copy of the events to the buffer.

mod error;
mod link;
mod publish;
mod settings;
mod stream;

use std::sync::Arc;

use async_nats::ServerAddr;
use tokio::sync::Mutex;
use tracing::warn;

use super::{Delivery, Failure, Kind, OpenError, Wrong, ca::Ca};
use error::NatsFailure;
use link::Link;
pub(super) use settings::Settings;

/// A handler that publishes events to NATS JetStream.
pub(super) struct Nats {
    name: String,
    settings: Settings,
    kept: Mutex<Kept>,
}

/// State that deliveries share.
#[derive(Default)]
struct Kept {
    link: Option<Arc<Link>>,
    /// Index in `url` of the server to try first, modulo the number of servers.
    turn: usize,
    /// True if the server does not let the user ask about streams. Then only acknowledgements show whether a stream
    /// exists.
    unchecked: bool,
}

impl Kind for Nats {
    const NAME: &'static str = "nats";
    const ABOUT: &'static str = "publishes each event to NATS JetStream, acknowledged by the stream";
    const CONCURRENCY: usize = 4;
    const BATCH: usize = 250;
    const HARMLESS: &'static [&'static str] = &["subject", "stream", "create_stream", "body", "ca"];
    const SECRET: &'static [&'static str] = &["password", "token", "nkey", "credentials"];
    const QUIET: &'static [&'static str] = &["async_nats"];
    type Keys = Settings;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        let place =
            |server: &ServerAddr| format!("{}://{}:{}", server.scheme(), server.host(), server.port());
        let servers: Vec<String> = settings.url.iter().map(place).collect();
        let stream = settings.stream.as_ref().map(|stream| format!(", stream {stream}")).unwrap_or_default();
        format!("{}, subject {}{stream}", servers.join(" or "), settings.subject)
    }

    fn shown(settings: &Settings, delivery: &Delivery) -> String {
        settings.body.of(delivery)
    }

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        if keys.create_stream && keys.stream.is_none() {
            let what = "needs the name of the stream: add stream = \"BIK\"";
            return Err(Wrong::new(&["create_stream"], what));
        }
        if keys.user.is_some() != keys.password.is_some() {
            return Err(Wrong::new(&[], "user and password must be set together: one of them is missing"));
        }
        let ways =
            [keys.user.is_some(), keys.token.is_some(), keys.nkey.is_some(), keys.credentials.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(Wrong::new(&[], "only one of user, token, nkey and credentials can be set"));
        }
        Ok(keys)
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        if let Some(ca) = &settings.ca {
            Ca::read(ca).await?;
        }
        Ok(Self { name: name.to_owned(), settings, kept: Mutex::default() })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link().await.map(drop)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let link = self.link().await?;
        let attempt = link.given_up.attempt();
        let mut published = publish::publish(&link, &self.settings, &self.name, events).await;
        if self.settings.create_stream && matches!(published, Err(NatsFailure::NoStream(_))) {
            // The stream may have been deleted since the connection was made, so `stream::check` creates it again.
            let left: Vec<Delivery> =
                events.iter().filter(|delivery| !delivery.is_accepted()).cloned().collect();
            published = match stream::check(&link, &self.settings).await {
                Ok(()) => publish::publish(&link, &self.settings, &self.name, &left).await,
                Err(trouble) => Err(trouble),
            };
        }
        attempt.ended();
        Ok(published?)
    }
}

impl Nats {
    /// Returns the connection. Makes a new one if there is none that can be used; other callers wait meanwhile.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        let mut kept = self.kept.lock().await;
        if let Some(link) = kept.link.as_ref().filter(|link| link.is_sound()) {
            return Ok(Arc::clone(link));
        }
        kept.link = None;
        let mut link = Link::connect(&self.settings, &mut kept.turn).await?;
        let checked = if kept.unchecked { Ok(()) } else { stream::check(&link, &self.settings).await };
        if let Err(NatsFailure::NoApi(failure)) = checked {
            warn!(kind = Self::NAME, "stream check skipped, the user may not ask about streams: {failure}");
            kept.unchecked = true;
            link = Link::connect(&self.settings, &mut kept.turn).await?;
        } else {
            checked?;
        }
        Ok(Arc::clone(kept.link.insert(Arc::new(link))))
    }
}
