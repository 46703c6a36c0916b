//! `[http]` and `[sources.NAME]`.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Deserialize;

use super::network::Network;
use crate::{
    clock::Timestamp,
    secret::Secret,
    settings::{Period, Size},
};

/// `[http]`: where BIK posts to, and the bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The public address.
    #[serde(deserialize_with = "crate::settings::address")]
    pub listen: SocketAddr,
    /// The largest body, unpacked.
    pub body_limit: Size,
    /// The largest head of a request.
    pub header_limit: Size,
    /// From the first byte of a head to its last.
    pub header_timeout: Period,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Period,
    /// The same, before its first request with an accepted credential.
    pub unauthenticated_idle_timeout: Period,
    /// From the head to the last byte of the body.
    pub body_timeout: Period,
    /// From the last byte of the body to the answer; then 503. A request that waits for a place has as long.
    pub deadline: Period,
    /// Requests under way at once; more wait.
    pub in_flight: usize,
    /// Bytes of bodies under way at once; more wait.
    pub in_flight_bytes: Size,
    /// Connections open at once; for one more the longest idle one is closed.
    pub connections: usize,
    /// Connections of one address that have not brought an accepted credential; for one more an older one is closed.
    pub connections_per_address: usize,
    /// Addresses that many senders share: exempt from `connections_per_address` and `unauthenticated_idle_timeout`.
    pub trusted_proxies: Vec<Network>,
    /// Bytes of unfinished heads over all connections.
    pub header_bytes: Size,
    /// Failed authentications a minute from one address before it gets 429 instead of 401.
    pub auth_failures_per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            body_limit: Size::mib(5),
            header_limit: Size::kib(32),
            header_timeout: Period::secs(10),
            idle_timeout: Period::secs(75),
            unauthenticated_idle_timeout: Period::secs(10),
            body_timeout: Period::secs(15),
            deadline: Period::secs(2),
            in_flight: 512,
            in_flight_bytes: Size::mib(64),
            connections: 20_000,
            connections_per_address: 256,
            trusted_proxies: Network::LOOPBACK.to_vec(),
            header_bytes: Size::mib(64),
            auth_failures_per_minute: 60,
        }
    }
}

/// `[sources.NAME]`: a URL that BIK posts to.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The path of the URL.
    #[serde(default = "default_path")]
    pub path: String,
    /// `"none"` accepts everybody; else credentials are needed.
    #[serde(default)]
    pub auth: AuthMode,
    /// The credentials, by name.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialSettings>,
    /// Requests a second before this source gets 429; none by default.
    #[serde(default)]
    pub rate: Option<u32>,
}

fn default_path() -> String {
    "/webhook".to_owned()
}

/// Whether a source asks for credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// It does.
    #[default]
    Basic,
    /// It does not.
    None,
}

/// One credential: `{ username, password }` (RFC 7617) or `{ key }` (BIK T1).
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSettings {
    /// With `password`.
    pub username: Option<String>,
    /// With `username`.
    pub password: Option<Secret>,
    /// BIK's authorization key, in whichever form it is sent.
    pub key: Option<Secret>,
    /// Only this form is accepted; any by default.
    pub form: Option<Form>,
    /// Not accepted after this time: for rotation.
    pub not_after: Option<Timestamp>,
}

/// How a credential was put on the wire (BIK T1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `Basic base64(username:password)`.
    Pair,
    /// The key is the whole header.
    Header,
    /// `Basic <key>`.
    Plain,
    /// `Basic base64(key)`.
    Base64,
    /// The key is the user of a decoded pair.
    User,
    /// The key is the password of a decoded pair.
    Password,
}

impl Form {
    /// Every form, in the order of the declaration.
    pub const ALL: [Self; 6] =
        [Self::Pair, Self::Header, Self::Plain, Self::Base64, Self::User, Self::Password];

    /// As in `form = "…"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Header => "header",
            Self::Plain => "plain",
            Self::Base64 => "base64",
            Self::User => "user",
            Self::Password => "password",
        }
    }
}
