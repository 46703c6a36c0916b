//! The settings of `[admin]`.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::secret::Secret;

/// `[admin]`: the settings of the admin side.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address of the admin side. An address that is not loopback requires credentials.
    #[serde(deserialize_with = "crate::settings::address")]
    pub listen: SocketAddr,
    /// Names accepted in `Host`, in addition to the listen address and `localhost`.
    pub hosts: Vec<String>,
    /// The required credentials; `None` lets every request pass.
    pub credentials: Option<Credentials>,
}

/// Basic-auth credentials of the admin side.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user name, which the log of decisions shows.
    pub username: String,
    /// The password that belongs to the user.
    pub password: Secret,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), hosts: Vec::new(), credentials: None }
    }
}
