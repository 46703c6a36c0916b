//! The configuration keys of this kind.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error};

use super::super::{Template, body::Body};
use crate::{
    event::Event,
    secret::Secret,
    settings::{Size, one_or_more},
};

/// The maximum length of a topic name, in bytes.
const TOPIC_BYTES: usize = 249;

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Addresses of some brokers of the cluster, separated by commas. These brokers report the other brokers.
    #[serde(deserialize_with = "brokers")]
    pub brokers: String,
    /// The topic to send to.
    #[serde(default = "default_topic", deserialize_with = "topic")]
    pub topic: Template,
    /// Whether brokers may create a missing topic.
    #[serde(default)]
    pub auto_create: bool,
    /// The content of the Kafka message.
    #[serde(default)]
    pub body: Body,
    /// Maximum size of a Kafka message with key and headers. An event whose message is larger is refused.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: Size,
    /// The compression of Kafka messages.
    #[serde(default)]
    pub compress: Compress,
    /// The user to log in as; needs `password`.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// The SASL mechanism for user and password.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// Whether to use TLS with the brokers.
    #[serde(default)]
    pub tls: bool,
    /// A PEM file with certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

fn default_topic() -> Template {
    Template::of("bik-events")
}

/// The broker's default for `message.max.bytes` (1,048,588), rounded down.
fn default_max_bytes() -> Size {
    Size::mib(1)
}

impl Settings {
    /// The name of the topic for an event.
    pub(super) fn topic_of(&self, event: &Event) -> String {
        let mut name = self.topic.render(event, |c| is_safe(c) && c != '.');
        // The name is ASCII only, so this cannot split a character.
        name.truncate(TOPIC_BYTES);
        name
    }
}

/// The compression of Kafka messages. The producer compresses several messages together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compress {
    /// Messages are not compressed.
    None,
    /// Fast, and supported by all brokers and most consumers.
    #[default]
    Lz4,
    /// About as fast as LZ4; for consumers that do not support LZ4.
    Snappy,
    /// Smaller messages; needs Kafka 2.1 or later.
    Zstd,
}

impl Compress {
    /// The name of the codec in librdkafka.
    pub(super) const fn codec(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }
}

/// The SASL mechanism for user and password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Mechanism {
    /// User and password are sent in plain text.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// Challenge and response (RFC 5802) with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// Challenge and response (RFC 5802) with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Mechanism {
    /// The name of the mechanism in Kafka.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Reads a comma-separated list, as Kafka's own tools do, or a list of texts.
fn brokers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let texts = one_or_more(deserializer, "kafka.example:9092", |text| {
        Ok(text.split(',').map(broker).collect::<Result<Vec<_>, _>>()?.join(","))
    })?;
    Ok(texts.join(","))
}

/// Checks one address. An error does not quote the address, because the address may hold a password.
fn broker(text: &str) -> Result<&str, &'static str> {
    const WRONG: &str =
        "not the address of a broker: write it as \"HOST:9092\"; TLS, user and password have their own keys";
    let text = text.trim();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    if is_port && is_host { Ok(text) } else { Err(WRONG) }
}

/// Returns whether a topic name may contain this character.
const fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Reads a template that renders to a valid topic name for every event.
fn topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
    let template = Template::deserialize(deserializer)?;
    let example = template.with_each("x");
    if !example.chars().all(is_safe) || example.len() > TOPIC_BYTES || matches!(&*example, "." | "..") {
        return Err(D::Error::custom(
            "not a valid topic name: use at most 249 letters, digits, `.`, `_` and `-`, such as \
             \"bik-{source}\"",
        ));
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use crate::handler::{assert_wrong, kafka::Kafka, settings_of};

    #[test]
    fn brokers_are_a_text_or_a_list() {
        for (toml, brokers) in [
            ("brokers = \"kafka\"", "kafka"),
            ("brokers = \"a.example:9092, b_1:9093\"", "a.example:9092,b_1:9093"),
            ("brokers = [\"127.0.0.1:9092\", \"[::1]:9092\", \"[::1]\"]", "127.0.0.1:9092,[::1]:9092,[::1]"),
        ] {
            let settings = settings_of::<Kafka>(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
            assert_eq!(settings.brokers, brokers);
        }
    }

    #[test]
    fn errors_of_settings_do_not_show_the_password() {
        assert_wrong::<Kafka>(&[
            ("", "brokers"),
            ("brokers = []", "the list is empty: use a list such as [\"kafka.example:9092\"]"),
            ("brokers = 9092", "such as \"kafka.example:9092\", or a list"),
            ("brokers = \"SASL_SSL://h:9092\"", "HOST:9092"),
            ("brokers = \"me:sesame@h:9092\"", "HOST:9092"),
            ("brokers = \"h:port\"", "HOST:9092"),
            ("brokers = \"a:1,\"", "HOST:9092"),
            ("brokers = \"h\"\ntopic = \"a b\"", "letters"),
            ("brokers = \"h\"\ntopic = \"..\"", "letters"),
            ("brokers = \"h\"\ntopic = \"bik-{name}\"", "{source}"),
            ("brokers = \"h\"\nuser = \"me\"", "password"),
            ("brokers = \"h\"\nmechanism = \"gssapi\"", "scram-sha-512"),
            ("brokers = \"h\"\nca = \"x.pem\"", "tls = true"),
            ("brokers = \"h\"\nmax_bytes = 10", "max_bytes"),
            ("brokers = \"h\"\ncompress = \"rar\"", "zstd"),
        ]);
    }
}
