//! The settings of `[admin]`.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::{http, secret::Secret, settings::Wrong};

/// `[admin]`: the settings of the admin side.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address of the admin side. An address that is not loopback requires credentials.
    #[serde(deserialize_with = "crate::settings::address")]
    pub listen: SocketAddr,
    /// Names accepted in `Host`, in addition to `localhost`, loopback addresses and the listen address. With an
    /// unspecified listen address such as `0.0.0.0`, every IP address is accepted.
    pub hosts: Vec<String>,
    /// The credentials that requests need; `None` if they need none.
    pub credentials: Option<Credentials>,
}

impl Settings {
    /// Returns the settings of `[admin]` that are invalid. An address that other machines can reach needs credentials.
    pub fn check(&self) -> Vec<Wrong> {
        let Some(Credentials { username, password }) = &self.credentials else {
            let open = Wrong::new(
                &["listen"],
                format!("{} accepts connections from other machines, so it needs credentials", self.listen),
            )
            .help("add `credentials = { username = \"admin\", password = { generate = \"data/admin-password\" } }`");
            return if self.listen.ip().is_loopback() { Vec::new() } else { vec![open] };
        };
        let username = http::wrong_username(username).map(|what| ("username", what));
        let password = password.expose().is_empty().then_some(("password", "must not be empty"));
        let wrong = username.into_iter().chain(password);
        wrong.map(|(key, what)| Wrong::new(&["credentials", key], what)).collect()
    }
}

/// Basic-auth credentials of the admin side.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user name. The log shows it with each action of an operator.
    pub username: String,
    /// The password that belongs to the user.
    pub password: Secret,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), hosts: Vec::new(), credentials: None }
    }
}
