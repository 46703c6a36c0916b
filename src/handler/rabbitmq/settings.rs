//! The configuration keys of this kind.

use std::path::PathBuf;

use lapin::types::ShortString;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{address::Address, link::Target, message::Form};
use crate::{
    handler::{Part, Template, body::Body},
    settings::Wrong,
};

/// The default routing key for an exchange.
const ROUTING_KEY: &str = "bik.{source}.{event}";

/// The kind's own configuration keys, checked.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(super) address: Address,
    pub(super) ca: Option<PathBuf>,
    pub(super) target: Target,
    pub(super) form: Form,
}

/// The kind's own configuration keys, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    /// The broker: `amqp://user:password@host:5672/vhost`, or `amqps://…`.
    url: Address,
    /// A PEM file with certificates to trust in addition to those of the system.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// The exchange. If it is empty, the default exchange is used, where the routing key is the name of a queue.
    #[serde(default)]
    exchange: Name,
    #[serde(default)]
    routing_key: Option<Template>,
    /// Whether to create the exchange (durable, `topic`) if it is missing; with the default exchange, the queue
    /// (durable).
    #[serde(default)]
    declare: bool,
    /// Whether a message that reaches no queue is an error. If not, the broker drops it.
    #[serde(default = "yes")]
    mandatory: bool,
    /// The content of the message body.
    #[serde(default)]
    body: Body,
}

const fn yes() -> bool {
    true
}

impl Keys {
    /// Checks that the keys fit together.
    ///
    /// # Errors
    /// Returns the wrong key, and what to write.
    pub(super) fn check(self) -> Result<Settings, Wrong> {
        let Self { url, ca, exchange: Name(exchange), routing_key, declare, mandatory, body } = self;
        if ca.is_some() && !url.is_tls() {
            return Err(Wrong::new(&["ca"], "needs TLS: write `url` with amqps://, or remove `ca`"));
        }
        let is_default = exchange.as_str().is_empty();
        let routing_key = match routing_key {
            Some(template) => template,
            None if is_default => {
                return Err(Wrong::new(&[], "set `exchange`, or set `routing_key` to the name of a queue"));
            }
            None => Template::parse(ROUTING_KEY)
                .map_err(|error| Wrong::new(&["routing_key"], error.to_string()))?,
        };
        let target = if !is_default {
            Target::Exchange { name: exchange.clone(), declare }
        } else if let Some(name) = literal(&routing_key)? {
            Target::Queue { name, declare }
        } else if declare {
            return Err(Wrong::new(
                &[],
                "`declare` creates one queue: set `routing_key` to its name, without placeholders, or set `exchange`",
            ));
        } else {
            Target::Queues
        };
        let form = Form { exchange, routing_key, mandatory, body };
        Ok(Settings { address: url, ca, target, form })
    }
}

impl Settings {
    /// Broker, vhost, and exchange or queue.
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

/// The routing key, if it has no placeholders.
fn literal(routing_key: &Template) -> Result<Option<ShortString>, Wrong> {
    match routing_key.parts() {
        [Part::Text(text)] => ShortString::try_new(text.as_str())
            .map(Some)
            .map_err(|_longer| Wrong::new(&["routing_key"], "must have at most 255 bytes")),
        _ => Ok(None),
    }
}

/// The validated name of an exchange.
#[derive(Default)]
struct Name(ShortString);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ShortString::try_new(text)
            .map(Self)
            .map_err(|_longer| D::Error::custom("the name of an exchange must have at most 255 bytes"))
    }
}
