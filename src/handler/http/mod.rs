//! `kind = "http"`: POSTs each event, or each batch, to a URL. The status of the response decides the outcome.
//!
//! ```text
//! deliver ─▶ body ─▶ signature ─▶ POST ─▶ answer     no redirects, no proxy, TLS always verified
//!                                  │
//!                             connections              replaced when too old, or when one is closed during a request
//!                                  │
//!                               address                no link-local address, no metadata service of a cloud
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

use super::{About, Delivery, Failure, Kind, OpenError, Wrong};
use crate::{clock, secret::Secret, settings::Period, trace};
use body::{Body, Mode, Request, Shape};
use client::Maker;
use connections::{Connections, Generation};
use signature::SigningKey;

/// Timeout of the check of the destination.
const LOOK: Duration = Duration::from_secs(5);

/// Lower limit of `max_connection_age`. If the client were replaced for each request, no connection would be reused.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// Links the destination's spans to ours (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A handler that posts events over HTTP.
pub(super) struct Http {
    connections: Connections,
    settings: Settings,
}

/// The kind's own configuration keys, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The URL to post to. It may be given as a secret, because its path or query may hold a token.
    #[serde(deserialize_with = "address::url")]
    pub url: Url,
    #[serde(default)]
    pub body: Body,
    /// How a CloudEvent is sent; only for `body = "cloudevents"`.
    pub mode: Option<Mode>,
    /// Additional headers for every request, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Keys of Standard Webhooks signatures, `whsec_…`. Each request has one signature per key.
    #[serde(default)]
    pub signing_keys: Vec<Secret>,
    /// A PEM file with certificates to trust in addition to those of the system.
    pub ca: Option<PathBuf>,
    /// A connection takes no more requests after this time, so the destination's name is resolved again.
    #[serde(default = "default_max_connection_age")]
    pub max_connection_age: Period,
    /// True if status 409 means that the destination already has the event. Then an event counts as delivered if one
    /// attempt got no answer and two others got 409.
    #[serde(default)]
    pub conflict_is_delivered: bool,
}

const fn default_max_connection_age() -> Period {
    Period::secs(60)
}

/// The kind's own configuration keys, checked.
#[derive(Clone)]
pub(super) struct Settings {
    url: Url,
    shape: Shape,
    headers: HeaderMap,
    signing_keys: Vec<SigningKey>,
    ca: Option<PathBuf>,
    max_connection_age: Duration,
    /// The [`About`] of status 409.
    conflict: About,
}

impl Kind for Http {
    const NAME: &'static str = "http";
    const ABOUT: &'static str = "posts each event, or a batch, to a URL; signed, as JSON or as CloudEvents";
    const CONCURRENCY: usize = 8;
    const BATCH: usize = 1;
    const HARMLESS: &'static [&'static str] = &["body", "mode", "ca"];
    const SECRET: &'static [&'static str] = &["url"];
    type Keys = Keys;
    type Settings = Settings;

    fn check(keys: Keys) -> Result<Settings, Wrong> {
        let shape = Shape::of(keys.body, keys.mode)?;
        let headers = client::headers(&keys.headers)?;
        if keys.ca.is_some() && keys.url.scheme() == "http" {
            return Err(Wrong::new(&["ca"], "needs TLS: write `url` with https://, or remove `ca`"));
        }
        if *keys.max_connection_age < LEAST_AGE {
            return Err(Wrong::new(&["max_connection_age"], "must be at least \"1s\""));
        }
        let signing_key =
            |(at, key)| SigningKey::read(key).map_err(|what| Wrong::new(&["signing_keys"], what).item(at));
        Ok(Settings {
            url: keys.url,
            shape,
            headers,
            signing_keys: keys.signing_keys.iter().enumerate().map(signing_key).collect::<Result<_, _>>()?,
            ca: keys.ca,
            max_connection_age: *keys.max_connection_age,
            conflict: if keys.conflict_is_delivered { About::Repetition } else { About::Event },
        })
    }

    fn destination(settings: &Settings) -> String {
        format!("POST {}", address::place(&settings.url))
    }

    /// The request without its signature. The values of the configured headers are hidden.
    fn shown(settings: &Settings, delivery: &Delivery) -> String {
        settings.shape.request(std::slice::from_ref(delivery)).to_json(settings.headers.keys())
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let maker = Maker::of(&settings.url, settings.ca.as_deref()).await?;
        let connections = Connections::open(name, maker, settings.max_connection_age).await?;
        Ok(Self { connections, settings })
    }

    /// Checks that a server answers and that its certificate is trusted. OPTIONS changes nothing (RFC 9110, section
    /// 9.2.1), and the status of its response does not matter.
    async fn look(&self) -> Result<(), Failure> {
        let connections = self.connections.current().await;
        let options = connections.client.request(reqwest::Method::OPTIONS, self.settings.url.clone());
        let asked = options.timeout(LOOK).send().await;
        if asked.is_ok() {
            connections.answered();
        }
        match asked.map_err(client::failure) {
            // `client::failure` removes the URL, which may be secret. The rest of the error text is left out too,
            // because it might contain a part of the URL.
            Err(Failure::Retry { class, after, about, .. }) => {
                let error = format!("the destination does not answer ({class})").into();
                Err(Failure::Retry { class, error, after, about })
            }
            looked => looked.map(drop).map_err(|failure| failure.at("url")),
        }
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        for events in self.settings.shape.requests(events) {
            events.iter().for_each(Delivery::mark_sent);
            self.post(events).await?;
            events.iter().for_each(Delivery::mark_accepted);
        }
        Ok(())
    }
}

impl Http {
    /// Posts these events. A server may close an idle connection just as a request starts on it. So if a reused
    /// connection is closed during a request, the request is sent again at once, on a new connection.
    async fn post(&self, events: &[Delivery]) -> Result<(), Failure> {
        let connections = self.connections.current().await;
        let is_used = connections.is_used();
        let mut conflict = self.settings.conflict;
        let sent = match self.send(&connections, self.settings.shape.request(events)).await {
            Err(error) if is_used && client::is_closed_under_request(&error) => {
                let connections = self.connections.after(&connections).await;
                // The first request got no answer. If the second one gets 409, the whole attempt counts as unanswered.
                // If two more attempts then get 409, the event counts as delivered.
                if conflict == About::Repetition {
                    conflict = About::Unanswered;
                }
                let again: Vec<Delivery> = events.iter().map(Delivery::next_attempt).collect();
                self.send(&connections, self.settings.shape.request(&again)).await
            }
            sent => sent,
        };
        answer::outcome(sent.map_err(client::failure)?, conflict).await
    }

    async fn send(&self, connections: &Generation, request: Request) -> reqwest::Result<Response> {
        let mut headers = request.headers;
        signature::sign(&self.settings.signing_keys, &request.id, &request.body, clock::now(), &mut headers);
        if let Some(parent) = trace::traceparent().and_then(|parent| HeaderValue::try_from(parent).ok()) {
            headers.insert(TRACEPARENT, parent);
        }
        headers.extend(self.settings.headers.clone());
        let post = connections.client.post(self.settings.url.clone()).headers(headers).body(request.body);
        let answer = post.send().await?;
        connections.answered();
        Ok(answer)
    }
}
