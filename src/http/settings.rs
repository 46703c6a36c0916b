//! The settings of `[http]` and `[sources.NAME]`.

use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::Network;
use crate::{
    clock::Timestamp,
    names::names,
    secret::Secret,
    settings::{Period, Size},
};

/// `[http]`: the address that BIK posts to, and the limits of the public side.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address and port of the public side.
    #[serde(deserialize_with = "crate::settings::address")]
    pub listen: SocketAddr,
    /// The maximum size of a request body, in bytes: of the compressed body, and of the body after decompression.
    pub body_limit: Size,
    /// The maximum size of a request head, in bytes.
    pub header_limit: Size,
    /// The maximum time from the first byte of a head to its last.
    pub header_timeout: Period,
    /// How long a connection may be idle before a request, or while the peer does not read an answer. This timeout must
    /// be longer than the time for which a proxy keeps an idle connection (Caddy: 120 s, Go: 90 s, nginx: 60 s).
    /// Otherwise a proxy may send a `POST` on a connection that is being closed. That `POST` fails, and the proxy is
    /// not allowed to repeat it. Answers announce 5 s less than this timeout in `Keep-Alive`.
    pub idle_timeout: Period,
    /// Replaces `idle_timeout` until the connection has sent an accepted credential. A value above `idle_timeout` has
    /// no effect.
    pub unauthenticated_idle_timeout: Period,
    /// The maximum time to read the body, from the moment the request holds its share of `in_flight` and
    /// `in_flight_bytes`. The wait for that share counts against `deadline`.
    pub body_timeout: Period,
    /// The maximum sum of two times: the wait for a share of `in_flight` and `in_flight_bytes` before the body is read,
    /// and the time from the last byte of the body to the answer. If the sum would be longer, the answer is 503.
    pub deadline: Period,
    /// Maximum number of requests in flight. Further requests wait within `deadline`, then get 503.
    pub in_flight: usize,
    /// Maximum number of bytes that are reserved for the bodies of requests in flight: for a compressed body, its size
    /// and the most that it can decompress to. Further requests wait as for `in_flight`.
    pub in_flight_bytes: Size,
    /// Maximum number of open connections. A further connection closes the one that has been idle longest, or else one
    /// with an unfinished head.
    pub connections: usize,
    /// Maximum number of connections without an accepted credential from one address (IPv4, or IPv6 /64). If a new
    /// connection exceeds this number, one of the others from this address is closed: the one with the oldest
    /// unfinished head, or else the one that has been idle longest. If all are busy, none is closed.
    pub connections_per_address: usize,
    /// Addresses and networks that many senders share. They are exempt from `connections_per_address` and
    /// `unauthenticated_idle_timeout`.
    pub trusted_proxies: Vec<Network>,
    /// Maximum number of bytes of unfinished heads over all connections. Above it, the oldest head of the address with
    /// the most bytes is dropped.
    pub header_bytes: Size,
    /// Failed authentications per minute from one address (IPv4, or IPv6 /64), with a burst of the same number. A
    /// failure above this rate gets 429 instead of 401.
    pub auth_failures_per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            body_limit: Size::mib(5),
            header_limit: Size::kib(32),
            header_timeout: Period::secs(10),
            idle_timeout: Period::secs(150),
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
    /// The path of the URL, from the leading `/`.
    #[serde(default = "default_path")]
    pub path: String,
    /// `"none"` accepts requests without a credential; `"basic"` requires one.
    #[serde(default)]
    pub auth: AuthMode,
    /// The accepted credentials, by their names in the configuration.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialSettings>,
    /// Requests per second, with a burst of the same number; a request above this rate gets 429. A request that fails
    /// authentication does not count. `None` means no limit.
    #[serde(default)]
    pub rate: Option<u32>,
    /// The merchant of this source. The events of this source are about customers of that merchant. Sources of the same
    /// merchant share customers. Customers of different merchants are told apart, even if their stores have the same
    /// id.
    #[serde(default)]
    pub tenant: Option<String>,
}

fn default_path() -> String {
    "/webhook".to_owned()
}

/// How a source authenticates its senders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Every request needs an accepted credential.
    #[default]
    Basic,
    /// Every request is accepted, without a credential.
    None,
}

/// One credential: `{ username, password }` (RFC 7617) or `{ key }` (BIK T1).
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSettings {
    /// The user name of a pair; requires `password`.
    pub username: Option<String>,
    /// The password of a pair; requires `username`.
    pub password: Option<Secret>,
    /// BIK's authorization key. Without `form`, it is accepted in every form but [`Form::Pair`].
    pub key: Option<Secret>,
    /// The only form that is accepted. `None` accepts every form of the credential's kind.
    pub form: Option<Form>,
    /// The last moment at which the credential is accepted, for key rotation. `None` means that it does not expire.
    pub not_after: Option<Timestamp>,
}

names! {
    /// How a credential is written in the `Authorization` header (BIK T1). The setting `form` has one of these names.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    pub enum Form {
        /// `Basic base64(username:password)`, as in RFC 7617.
        Pair = "pair",
        /// The key is the whole value of the header.
        Header = "header",
        /// `Basic <key>`, the key without base64.
        Plain = "plain",
        /// `Basic base64(key)`, without a colon.
        Base64 = "base64",
        /// The key is the user name of a decoded pair.
        User = "user",
        /// The key is the password of a decoded pair.
        Password = "password",
    }
}
