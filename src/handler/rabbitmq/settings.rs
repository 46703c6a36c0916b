//! The configuration keys of this kind.

use std::path::PathBuf;

use lapin::types::ShortString;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{address::Address, link::Target, message::Form};
use crate::{
    handler::{Template, body::Body},
    settings::{Wrong, yes},
};

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
    pub(super) url: Address,
    /// A PEM file with certificates to trust in addition to those of the system.
    pub(super) ca: Option<PathBuf>,
    /// The exchange. If it is empty, the default exchange is used, where the routing key is the name of a queue.
    #[serde(default, deserialize_with = "exchange_name")]
    pub(super) exchange: ShortString,
    /// The routing key. Required with the default exchange; otherwise `bik.{source}.{event}` by default.
    pub(super) routing_key: Option<Template>,
    /// Whether to create the exchange (durable, `topic`) if it is missing. With the default exchange, the queue is
    /// created instead (durable).
    #[serde(default)]
    pub(super) declare: bool,
    /// Whether an AMQP message that no queue receives is an error. If not, the broker drops the message.
    #[serde(default = "yes")]
    pub(super) mandatory: bool,
    /// The content of the AMQP message.
    #[serde(default)]
    pub(super) body: Body,
}

/// The routing key, if it has no placeholders.
pub(super) fn literal(routing_key: &Template) -> Result<Option<ShortString>, Wrong> {
    let name = routing_key.literal().map(ShortString::try_new).transpose();
    name.map_err(|_longer| Wrong::new(&["routing_key"], "must have at most 255 bytes"))
}

fn exchange_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ShortString, D::Error> {
    ShortString::try_new(String::deserialize(deserializer)?)
        .map_err(|_longer| D::Error::custom("the name of an exchange must have at most 255 bytes"))
}
