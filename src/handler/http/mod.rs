//! `kind = "http"`: a POST of each event, or of a batch; the answer's status decides how the delivery ended.
//!
//! ```text
//! deliver ─▶ body ─▶ signature ─▶ POST ─▶ answer     no redirects, no proxy, TLS always verified
//!                                  │
//!                             connections              replaced when they are old, or closed under a request
//!                                  │
//!                               address                never a cloud's metadata service, by whatever name
//! ```

mod address;
mod answer;
mod body;
mod client;
mod connections;
mod retry_after;
mod signature;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use reqwest::{
    Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;

use super::{About, Delivery, Failure, Kind, OpenError};
use crate::{clock, secret::Secret, settings::Period, trace};
use body::{Body, Mode, Request, Shape};
use client::Maker;
use connections::{Connections, Generation};
use signature::SigningKey;

/// How long a look at the destination may take.
const LOOK: Duration = Duration::from_secs(5);

/// A client that is replaced for each request would keep no connection.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// By which the destination's spans join ours (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The handler.
pub struct Http {
    connections: Connections,
    url: Url,
    headers: HeaderMap,
    signing_keys: Vec<SigningKey>,
    shape: Shape,
    /// What status 409 is about.
    conflict: About,
}

/// Its own keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where events are posted to; a path or query may hold a token, so it may be given as a secret.
    #[serde(deserialize_with = "address::url")]
    pub url: Url,
    /// What a request has in it.
    #[serde(default)]
    pub body: Body,
    /// How a CloudEvent is carried; for `body = "cloudevents"` alone.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Further headers of every request, by their names.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Keys of Standard Webhooks signatures, `whsec_…`: a signature for each.
    #[serde(default)]
    pub signing_keys: Vec<Secret>,
    /// A PEM file with certificates that are trusted besides those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// After so long a connection takes no further request: the name of the destination is looked up again.
    #[serde(default = "default_max_connection_age")]
    pub max_connection_age: Period,
    /// Status 409 says that the destination has the event: it counts as delivered where an earlier attempt had no answer,
    /// once a second try is answered by 409, too.
    #[serde(default)]
    pub conflict_is_delivered: bool,
}

const fn default_max_connection_age() -> Period {
    Period::secs(60)
}

impl Kind for Http {
    const NAME: &'static str = "http";
    const ABOUT: &'static str = "posts each event, or a batch, to a URL; signed, as JSON or as CloudEvents";
    const CONCURRENCY: usize = 8;
    const BATCH: usize = 1;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        format!("POST {}", address::place(&settings.url))
    }

    fn check(settings: &Settings) -> Result<(), String> {
        Shape::of(settings.body, settings.mode)?;
        client::headers(&settings.headers)?;
        if settings.ca.is_some() && settings.url.scheme() == "http" {
            return Err("ca: it is for TLS: write `url` with https://, or leave `ca` out".to_owned());
        }
        if *settings.max_connection_age < LEAST_AGE {
            return Err("max_connection_age: it must be at least \"1s\"".to_owned());
        }
        signing_keys(&settings.signing_keys).map(drop)
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        let shape = Shape::of(settings.body, settings.mode).map_err(wrong)?;
        let headers = client::headers(&settings.headers).map_err(wrong)?;
        let signing_keys = signing_keys(&settings.signing_keys).map_err(wrong)?;
        let maker = Maker::of(&settings.url, settings.ca.as_deref()).await.map_err(wrong)?;
        let connections =
            Connections::open(name, maker, *settings.max_connection_age).await.map_err(wrong)?;
        let conflict = if settings.conflict_is_delivered { About::Repetition } else { About::Event };
        Ok(Self { connections, url: settings.url, headers, signing_keys, shape, conflict })
    }

    /// Whether somebody is there whom TLS may trust. OPTIONS changes nothing (RFC 9110, section 9.2.1); its answer does
    /// not matter.
    async fn look(&self) -> Result<(), Failure> {
        let connections = self.connections.current().await;
        let options = connections.client.request(reqwest::Method::OPTIONS, self.url.clone());
        let asked = options.timeout(LOOK).send().await;
        if asked.is_ok() {
            connections.answered();
        }
        match asked.map_err(client::failure) {
            // The whole story may name a secret URL.
            Err(Failure::Retry { class, after, about, .. }) => {
                let error = format!("the destination does not answer ({class})");
                Err(Failure::Retry { class, error, after, about })
            }
            looked => looked.map(drop).map_err(|failure| failure.retold(|error| format!("url: {error}"))),
        }
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        for events in self.shape.requests(events) {
            self.post(events).await?;
        }
        Ok(())
    }
}

fn signing_keys(keys: &[Secret]) -> Result<Vec<SigningKey>, String> {
    let read = |(at, key)| SigningKey::read(key).map_err(|what| format!("signing_keys[{at}]: {what}"));
    keys.iter().enumerate().map(read).collect()
}

impl Http {
    /// A request with these events. One whose connection was kept of an earlier request and is closed under it, as by a
    /// server that ends idle connections, is sent once more at once, on a new connection.
    async fn post(&self, events: &[Delivery]) -> Result<(), Failure> {
        let connections = self.connections.current().await;
        let is_used = connections.is_used();
        let mut conflict = self.conflict;
        let sent = match self.send(&connections, self.shape.request(events)).await {
            Err(error) if is_used && client::is_closed_under_request(&error) => {
                let connections = self.connections.after(&connections).await;
                // The destination may have had it: a conflict says so, and has to be repeated to count.
                if conflict == About::Repetition {
                    conflict = About::Unanswered;
                }
                let again: Vec<Delivery> = events.iter().map(Delivery::next_attempt).collect();
                self.send(&connections, self.shape.request(&again)).await
            }
            sent => sent,
        };
        answer::outcome(sent.map_err(client::failure)?, conflict).await
    }

    async fn send(&self, connections: &Generation, request: Request) -> reqwest::Result<Response> {
        let mut headers = request.headers;
        signature::sign(&self.signing_keys, &request.id, &request.body, clock::now(), &mut headers);
        if let Some(parent) = trace::traceparent().and_then(|parent| HeaderValue::try_from(parent).ok()) {
            headers.insert(TRACEPARENT, parent);
        }
        headers.extend(self.headers.clone());
        let post = connections.client.post(self.url.clone()).headers(headers).body(request.body);
        let answer = post.send().await?;
        connections.answered();
        Ok(answer)
    }
}
