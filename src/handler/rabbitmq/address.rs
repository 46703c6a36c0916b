//! The address of the broker, and how to connect to it.

use std::{io, time::Duration};

use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    tcp::{AMQPUriTcpExt, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::time::timeout;

use crate::{handler::ca::Ca, secret::Secret};

/// Timeout for making the TCP and TLS connection, and for each request on the connection except publishing. Connecting,
/// including the AMQP handshake, takes at most twice this time.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The heartbeat interval if the URL has none. A peer that is silent for twice this time counts as gone. The broker may
/// ask for a shorter interval.
const HEARTBEAT_SECS: u16 = 10;

/// A broker's address with the credentials. It must not be shown.
#[derive(Clone)]
pub(super) struct Address {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
}

impl Address {
    pub(super) fn is_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }

    /// Host and port, for logs and errors.
    pub(super) fn place(&self) -> String {
        let authority = &self.uri.authority;
        format!("{}:{}", authority.host, authority.port)
    }

    /// The vhost, for logs and errors.
    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Trusts these certificates in addition to the system's.
    pub(super) fn trust(&mut self, ca: &Ca) {
        self.tls.cert_chain = Some(ca.pem());
    }

    /// Connects under a name that the broker shows. The library connects on its own thread and cannot cancel an
    /// unfinished TCP or TLS connection. So making the TCP and TLS connection has its own timeout, inside the closure.
    /// The second timeout is for the whole call.
    pub(super) async fn connect(&self, name: &str) -> lapin::Result<Connection> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let tls = self.tls.clone();
        let connecting = Connection::connector(
            self.uri.clone(),
            lapin::runtime::default_runtime()?,
            async move |uri, runtime| {
                let connecting = uri.connect_with_config_async(tls.as_ref(), &runtime);
                timeout(CONNECT_TIMEOUT, connecting)
                    .await
                    .unwrap_or_else(|elapsed| Err(elapsed.into()))
                    .map_err(lapin::Error::from)
            },
            properties,
        );
        within(CONNECT_TIMEOUT * 2, connecting).await
    }
}

/// Runs a call with a time limit. A timeout is returned as an I/O error of the library.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = lapin::Result<T>>,
) -> lapin::Result<T> {
    timeout(limit, call).await.unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into()))
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(deserializer)?;
        parse(secret.expose()).map_err(|what| {
            D::Error::custom(format!(
                "{what}: write it as amqp://user:password@host:5672/vhost, or amqps://…"
            ))
        })
    }
}

/// Parses the URL. Errors do not quote the URL, because it may contain a password.
fn parse(text: &str) -> Result<Address, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    if !["amqp", "amqps"].contains(&url.scheme()) {
        return Err("not the address of a broker".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the host is missing")?;
    let mut uri: AMQPUri = text.parse()?;
    // The library replaces an IPv6 address by localhost, so set the host here.
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        v6.clone_into(&mut uri.authority.host);
    }
    // A URL path that is only a slash almost always means the default vhost, not the vhost with an empty name.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
    Ok(Address { uri, tls: OwnedTLSConfig::default() })
}

/// Returns whether this is a TLS error, for example about the peer's certificate, or about a peer that does not speak
/// TLS.
pub(super) fn is_tls_error(error: &lapin::Error) -> bool {
    let ErrorKind::IOError(error) = error.kind() else { return false };
    error.kind() == io::ErrorKind::InvalidInput
        || error.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_host_port_and_vhost() {
        for (text, place, vhost) in [
            ("amqp://localhost", "localhost:5672", "/"),
            ("amqp://u:p@127.0.0.1:1234/", "127.0.0.1:1234", "/"),
            ("amqps://u:p@mq.example/%2f", "mq.example:5671", "/"),
            ("amqp://[::1]:5673/shop", "::1:5673", "shop"),
        ] {
            let address = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((address.place().as_str(), address.vhost()), (place, vhost), "{text}");
            assert_eq!(address.is_tls(), text.starts_with("amqps"));
            assert_eq!(address.uri.query.heartbeat, Some(HEARTBEAT_SECS));
        }
        assert_eq!(parse("amqp://h?heartbeat=30").ok().unwrap().uri.query.heartbeat, Some(30));
    }

    #[test]
    fn a_wrong_address_is_an_error_without_its_password() {
        for text in
            ["localhost:5672", "http://u:sesame@h/", "amqp://", "amqp://u:sesame@h:port/", "amqp:///v"]
        {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
