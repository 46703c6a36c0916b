//! `[admin]`.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::secret::Secret;

/// `[admin]`: the operator's side.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The operator's address; another than loopback needs credentials.
    #[serde(deserialize_with = "crate::settings::address")]
    pub listen: SocketAddr,
    /// Names that a request's `Host` may have, besides the listen address and `localhost`.
    pub hosts: Vec<String>,
    /// Who may come in.
    pub credentials: Option<Credentials>,
}

/// Basic auth of the admin side.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), hosts: Vec::new(), credentials: None }
    }
}
