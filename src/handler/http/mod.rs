//! `kind = "http"`: a POST of each event, or of a batch; the answer's status decides how the delivery ended.
//!
//! ```text
//! deliver ─▶ body ─▶ signature ─▶ POST ─▶ answer     no redirects, no proxy, TLS always verified
//!                                  │
//!                               address                never to a link-local one, by whatever name
//! ```

mod address;
mod answer;
mod body;
mod client;
mod signature;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use tracing::warn;

use super::{Delivery, Failure, Kind, OpenError};
use crate::{clock, secret::Secret, trace};
use body::{Body, Mode, Request, Shape};
use signature::SigningKey;

/// How long the look at the destination at the start may take.
const LOOK: Duration = Duration::from_secs(5);

/// By which the destination's spans join ours (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The handler.
pub struct Http {
    client: Client,
    url: Url,
    headers: HeaderMap,
    signing_keys: Vec<SigningKey>,
    shape: Shape,
}

/// Its own keys.
#[derive(Deserialize)]
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
        signing_keys(&settings.signing_keys).map(drop)
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError { handler: name.to_owned(), kind: Self::NAME, what };
        let shape = Shape::of(settings.body, settings.mode).map_err(wrong)?;
        let headers = client::headers(&settings.headers).map_err(wrong)?;
        let signing_keys = signing_keys(&settings.signing_keys).map_err(wrong)?;
        let client = client::build(&settings.url, settings.ca.as_deref()).await.map_err(wrong)?;
        let http = Self { client, url: settings.url, headers, signing_keys, shape };
        http.look(name).await.map_err(wrong)?;
        Ok(http)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        for request in self.shape.requests(events) {
            self.post(request).await?;
        }
        Ok(())
    }
}

fn signing_keys(keys: &[Secret]) -> Result<Vec<SigningKey>, String> {
    let read = |(at, key)| SigningKey::read(key).map_err(|what| format!("signing_keys[{at}]: {what}"));
    keys.iter().enumerate().map(read).collect()
}

impl Http {
    /// Whether somebody is there whom TLS may trust. OPTIONS changes nothing (RFC 9110, section 9.2.1); what it is answered
    /// does not matter.
    async fn look(&self, name: &str) -> Result<(), String> {
        let asked =
            self.client.request(reqwest::Method::OPTIONS, self.url.clone()).timeout(LOOK).send().await;
        match asked.map_err(client::failure) {
            Ok(_answer) => {}
            Err(Failure::Misconfigured { error, .. }) => return Err(format!("url: {error}")),
            // Of a class nothing is personal; the whole story may name a secret URL.
            Err(Failure::Retry { class, .. }) => {
                warn!(handler = name, class, "the destination is away; events wait until it is back");
            }
            Err(_) => {}
        }
        Ok(())
    }

    async fn post(&self, request: Request) -> Result<(), Failure> {
        let mut headers = request.headers;
        signature::sign(&self.signing_keys, &request.id, &request.body, clock::now(), &mut headers);
        if let Some(parent) = trace::traceparent().and_then(|parent| HeaderValue::try_from(parent).ok()) {
            headers.insert(TRACEPARENT, parent);
        }
        headers.extend(self.headers.clone());
        let sent = self.client.post(self.url.clone()).headers(headers).body(request.body).send().await;
        answer::outcome(sent.map_err(client::failure)?).await
    }
}
