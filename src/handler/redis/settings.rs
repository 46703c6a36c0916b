//! The configuration keys of this kind.

use std::{fmt, num::NonZeroU64, path::PathBuf};

use redis::{ConnectionAddr, ConnectionInfo};
use serde::{Deserialize, Deserializer, de::Error};

use super::super::{Part, Template};
use crate::{event::Event, secret::Secret, settings::Size};

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The address of the server, with user and password.
    pub url: Address,
    /// The key of the stream; a template.
    #[serde(default)]
    pub stream: Stream,
    /// Approximate number of entries that a stream keeps; `None` keeps all.
    #[serde(default)]
    pub maxlen: Option<NonZeroU64>,
    /// Maximum size of an event; larger ones are refused.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: Size,
    /// A PEM file with certificates to trust instead of the system's, for `rediss://`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// The default limit for the body of a webhook, so by default no event is refused.
fn default_max_bytes() -> Size {
    Size::mib(5)
}

/// A URL that is read as a secret, because it may hold a password.
#[derive(Clone)]
pub(crate) struct Address(pub ConnectionInfo);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = Secret::deserialize(deserializer)?;
        let info: ConnectionInfo = url.expose().parse().map_err(|_may_quote_it| {
            D::Error::custom(
                "not the address of a Redis server: write it as \"redis://USER:PASSWORD@HOST:6379/0\", with \
                 `rediss` for TLS, and special characters of the password as %XX",
            )
        })?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(D::Error::custom(
                "#insecure turns off the check of the server's certificate: remove it, and set `ca` to the certificate \
                 of the server's CA",
            ));
        }
        Ok(Self(info))
    }
}

/// A template that renders to the key of a stream for every event.
#[derive(Clone)]
pub(crate) struct Stream(Template);

impl Stream {
    pub(super) fn name(&self, event: &Event) -> String {
        self.0.render(event, is_safe)
    }

    /// The key, if it is the same for every event.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.parts() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns whether a value may contain this character in a key. A key may contain any character, but an event must not
/// add separators (`:`), cluster hash tags (`{}`) or pattern characters.
fn is_safe(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '{' | '}' | '*' | '?' | '[' | ']')
}

impl Default for Stream {
    fn default() -> Self {
        Self(Template::of(vec![Part::Text("bik:events".to_owned())]))
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Template::deserialize(deserializer).map(Self)
    }
}
