//! The keys of the kind, and what they come to.

use std::path::PathBuf;

use lapin::types::ShortString;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{address::Address, link::Target, message::Form};
use crate::handler::{Part, Template, body::Body};

/// By what an exchange routes, unless the configuration says otherwise.
const ROUTING_KEY: &str = "bik.{source}.{event}";

/// Its own keys, checked.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Settings {
    pub(super) address: Address,
    pub(super) ca: Option<PathBuf>,
    pub(super) target: Target,
    pub(super) form: Form,
}

/// Its own keys, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The broker: `amqp://user:password@host:5672/vhost`, or `amqps://…`.
    url: Address,
    /// A file of PEM certificates, trusted besides those of the system.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// Empty is the default exchange, where the routing key is the name of a queue.
    #[serde(default)]
    exchange: Name,
    /// By what the exchange routes.
    #[serde(default)]
    routing_key: Option<Template>,
    /// Makes the exchange (durable, `topic`), or with the default exchange the queue (durable), where it is missing.
    #[serde(default)]
    declare: bool,
    /// A message that reaches no queue is an error; otherwise the broker drops it.
    #[serde(default = "yes")]
    mandatory: bool,
    /// What a message has for its body.
    #[serde(default)]
    body: Body,
}

const fn yes() -> bool {
    true
}

impl TryFrom<Keys> for Settings {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let Keys { url, ca, exchange: Name(exchange), routing_key, declare, mandatory, body } = keys;
        if ca.is_some() && !url.is_tls() {
            return Err("ca: it is for TLS: write `url` with amqps://, or leave `ca` out".to_owned());
        }
        let is_default = exchange.as_str().is_empty();
        let routing_key = match routing_key {
            Some(template) => template,
            None if is_default => {
                return Err("write an `exchange`, or as `routing_key` the name of a queue".to_owned());
            }
            None => Template::parse(ROUTING_KEY).map_err(|error| error.to_string())?,
        };
        let target = if !is_default {
            Target::Exchange { name: exchange.clone(), declare }
        } else if let Some(name) = literal(&routing_key)? {
            Target::Queue { name, declare }
        } else if declare {
            return Err("`declare` makes one queue: write its name as `routing_key`, without placeholders, \
                        or name an `exchange`"
                .to_owned());
        } else {
            Target::Queues
        };
        let form = Form { exchange, routing_key, mandatory, body };
        Ok(Self { address: url, ca, target, form })
    }
}

impl Settings {
    /// Broker, vhost, and what is published to.
    pub(super) fn destination(&self) -> String {
        let (place, vhost) = (self.address.place(), self.address.vhost());
        let to = match &self.target {
            Target::Exchange { name, .. } => {
                format!("exchange {name}, routing key {}", self.form.routing_key)
            }
            Target::Queue { .. } | Target::Queues => format!("queue {}", self.form.routing_key),
        };
        format!("{place}, vhost {vhost}, {to}")
    }
}

/// What the routing key always is, if it has no placeholders.
fn literal(routing_key: &Template) -> Result<Option<ShortString>, String> {
    match routing_key.parts() {
        [Part::Text(text)] => ShortString::try_new(text.as_str())
            .map(Some)
            .map_err(|_longer| "routing_key: it must be 255 bytes long at most".to_owned()),
        _ => Ok(None),
    }
}

/// The name of an exchange.
#[derive(Default)]
struct Name(ShortString);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ShortString::try_new(text)
            .map(Self)
            .map_err(|_longer| D::Error::custom("the name of an exchange has 255 bytes at most"))
    }
}
