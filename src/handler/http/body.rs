//! Builds the requests for a batch: one request for each event, or one for the whole batch.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{handler::Delivery, settings::Wrong};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const CLOUD_EVENTS: HeaderValue =
    HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");

/// The setting `body`: the format of the request body.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    /// The element as BIK sent it; the metadata is in headers.
    Raw,
    /// The envelope: an object with the metadata and the event.
    #[default]
    Envelope,
    /// An array of envelopes, one for each event of the batch.
    Envelopes,
    /// One or more CloudEvents 1.0, in the format of [`Mode`].
    CloudEvents,
}

/// The setting `mode`: how a CloudEvent is sent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// One event as a JSON object (structured mode).
    Structured,
    /// The attributes as headers, the event as the body (binary mode).
    Binary,
    /// An array of JSON objects, one for each event of the batch (batched mode).
    Batched,
}

/// The settings `body` and `mode`, combined.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Raw,
    Envelope,
    Envelopes,
    CloudEvent(Mode),
}

/// A request without its signature, its `traceparent` and the configured headers.
pub(super) struct Request {
    /// Idempotency key: the same for the same events.
    pub(super) id: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The headers and the body as a JSON object, for `check --show`. `hidden` are further headers, whose values are
    /// not shown. A body that is one line of JSON is shown as JSON, any other body as a text.
    pub(super) fn to_json<'a>(&'a self, hidden: impl Iterator<Item = &'a HeaderName>) -> String {
        #[derive(Serialize)]
        struct ShownRequest<'a> {
            headers: BTreeMap<&'a str, Cow<'a, str>>,
            body: ShownBody<'a>,
        }
        #[derive(Serialize)]
        #[serde(untagged)]
        enum ShownBody<'a> {
            Json(&'a RawValue),
            Text(&'a str),
        }
        let value = |value: &'a HeaderValue| String::from_utf8_lossy(value.as_bytes());
        let own = self.headers.iter().map(|(name, text)| (name.as_str(), value(text)));
        let text = std::str::from_utf8(&self.body).unwrap_or_default();
        let json =
            Some(text).filter(|text| !text.contains('\n')).and_then(|text| serde_json::from_str(text).ok());
        let shown = ShownRequest {
            headers: own.chain(hidden.map(|name| (name.as_str(), Cow::Borrowed("***")))).collect(),
            body: json.map_or(ShownBody::Text(text), ShownBody::Json),
        };
        // Serializing texts cannot fail.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

impl Shape {
    /// Combines the settings `body` and `mode`.
    ///
    /// # Errors
    /// Returns an error if `mode` is set and `body` is not `cloudevents`.
    pub(super) fn of(body: Body, mode: Option<Mode>) -> Result<Self, Wrong> {
        match (body, mode) {
            (Body::Raw, None) => Ok(Self::Raw),
            (Body::Envelope, None) => Ok(Self::Envelope),
            (Body::Envelopes, None) => Ok(Self::Envelopes),
            (Body::CloudEvents, mode) => Ok(Self::CloudEvent(mode.unwrap_or(Mode::Structured))),
            (_, Some(_)) => Err(Wrong::new(&["mode"], "works only with body = \"cloudevents\": remove it")),
        }
    }

    /// Splits a batch into the events of each request. The requests are sent one after the other.
    pub(super) fn requests(self, events: &[Delivery]) -> impl Iterator<Item = &[Delivery]> {
        let a_request = match self {
            Self::Envelopes | Self::CloudEvent(Mode::Batched) => events.len().max(1),
            _ => 1,
        };
        events.chunks(a_request)
    }

    /// Builds the request for these events.
    pub(super) fn request(self, events: &[Delivery]) -> Request {
        let mut headers = HeaderMap::new();
        let (content_type, body) = match (self, events) {
            (Self::Raw, [delivery, ..]) => {
                metadata(delivery, &mut headers);
                (JSON, delivery.event.element.raw().to_owned())
            }
            (Self::Envelope, [delivery, ..]) => (JSON, delivery.to_envelope()),
            (Self::CloudEvent(Mode::Binary), [delivery, ..]) => {
                for (name, value) in attributes(delivery) {
                    insert(&mut headers, &format!("ce-{name}"), &percent_encoded(&value));
                }
                insert(&mut headers, "ce-attempt", &delivery.attempt.to_string());
                insert(&mut headers, "ce-replay", &delivery.replay.to_string());
                (JSON, delivery.event.element.rendered().into_owned())
            }
            (Self::CloudEvent(Mode::Structured), [delivery, ..]) => {
                let mut out = String::new();
                push_cloud_event(delivery, &mut out);
                (CLOUD_EVENT, out)
            }
            (Self::CloudEvent(_), events) => (CLOUD_EVENTS, array(events, push_cloud_event)),
            (_, events) => (JSON, array(events, Delivery::push_envelope)),
        };
        let id = id(events);
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(IDEMPOTENCY_KEY, id.clone());
        Request { id, headers, body: body.into_bytes() }
    }
}

/// The key of a single event, or a digest of the keys of several events.
fn id(events: &[Delivery]) -> HeaderValue {
    let text = match events {
        [delivery] => delivery.key().to_string(),
        events => {
            let mut digest = Sha256::new();
            for delivery in events {
                digest.update(delivery.key().to_string());
            }
            let mut text = String::from("batch-");
            for byte in &digest.finalize()[..16] {
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("none"))
}

fn array(events: &[Delivery], push: impl Fn(&Delivery, &mut String)) -> String {
    let mut out = String::from("[");
    for (at, delivery) in events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(delivery, &mut out);
    }
    out.push(']');
    out
}

/// Adds the metadata of a delivery as headers.
fn metadata(delivery: &Delivery, headers: &mut HeaderMap) {
    let event = &delivery.event;
    let mut put =
        |name: &str, value: &str| insert(headers, &format!("bikhook-{name}"), &percent_encoded(value));
    put("key", &delivery.key().to_string());
    put("seq", &event.seq.to_string());
    put("received-at", &event.came_at.to_string());
    put("source", &event.source);
    put("event-name", event.element.name());
    put("attempt", &delivery.attempt.to_string());
    put("replay", &delivery.replay.to_string());
    if let Some(id) = event.element.id() {
        put("id", id);
    }
}

/// The text attributes of a CloudEvent (1.0, section "Context Attributes"). `sequence` is text because a CloudEvents
/// integer has only 32 bits.
fn attributes(delivery: &Delivery) -> Vec<(&'static str, String)> {
    let event = &delivery.event;
    let element = &event.element;
    let mut attributes = vec![
        ("specversion", "1.0".to_owned()),
        ("id", delivery.key().to_string()),
        // `source` is a URI reference, so characters that are not allowed there are percent-encoded.
        ("source", percent_encoded(&event.source)),
        ("type", format!("ai.bik.{}", element.name())),
        ("time", event.came_at.to_string()),
        ("sequence", event.seq.to_string()),
    ];
    let view = element.view();
    let subject = view.message_ids().next().filter(|id| !id.is_empty());
    attributes.extend(subject.map(|id| ("subject", id.to_owned())));
    attributes.extend(element.id().filter(|id| !id.is_empty()).map(|id| ("bikid", id.to_owned())));
    attributes
}

fn push_cloud_event(delivery: &Delivery, out: &mut String) {
    out.push('{');
    for (name, value) in attributes(delivery) {
        let _ = write!(out, "\"{name}\":{},", serde_json::Value::from(value));
    }
    let (attempt, replay) = (delivery.attempt, delivery.replay);
    let _ = write!(out, "\"attempt\":{attempt},\"replay\":{replay},");
    out.push_str("\"datacontenttype\":\"application/json\",\"data\":");
    out.push_str(&delivery.event.element.rendered());
    out.push('}');
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    // Numbers, `true`, `false` and percent-encoded texts are always valid header values.
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

/// Percent-encodes the first 1024 bytes of a text for a header (CloudEvents' HTTP binding 1.0, section 3.1.3.2).
/// Servers may reject longer headers.
fn percent_encoded(text: &str) -> String {
    const LONGEST: usize = 1024;
    let mut out = String::new();
    for byte in text.bytes().take(LONGEST) {
        if matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn any_text_becomes_a_valid_header_value() {
        assert_eq!(percent_encoded("Euro € \"1\" 100%\r\n"), "Euro%20%E2%82%AC%20%221%22%20100%25%0D%0A");
    }
}
