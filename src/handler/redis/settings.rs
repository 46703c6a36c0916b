//! The configuration keys of this kind.

use std::{num::NonZeroU64, path::PathBuf};

use redis::{ConnectionAddr, ConnectionInfo};
use serde::{Deserialize, Deserializer, de::Error};

use super::super::Template;
use crate::{secret::Secret, settings::Size};

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The address of the server, with user and password if it requires them.
    #[serde(deserialize_with = "address")]
    pub url: ConnectionInfo,
    /// The key of the stream.
    #[serde(default = "default_stream")]
    pub stream: Template,
    /// Approximate number of entries that a stream keeps; `None` keeps all.
    pub maxlen: Option<NonZeroU64>,
    /// Maximum size of an event; larger ones are refused.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: Size,
    /// A PEM file with certificates to trust instead of the system's, for `rediss://`.
    pub ca: Option<PathBuf>,
}

fn default_stream() -> Template {
    Template::of("bik:events")
}

/// The same as the default of `body_limit` at intake, so by default no event is refused.
fn default_max_bytes() -> Size {
    Size::mib(5)
}

/// Reads the URL as a secret, because it may hold a password.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ConnectionInfo, D::Error> {
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
    Ok(info)
}
