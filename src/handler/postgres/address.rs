//! The address of the database. By default, connections use TLS unless the database is on this machine.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Keys, Settings};
use crate::{
    handler::{FailureText, ca::Ca},
    settings::Wrong,
};

/// Timeout for connecting to the database.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// The connection breaks if sent data is not acknowledged within this time.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// After this time without data from the server, keepalive probes start.
const IDLE: Duration = Duration::from_secs(30);

/// The address of the database, and how to connect to it.
pub(super) struct Address {
    pub config: Config,
    /// `None` if the connection does not use TLS.
    pub tls: Option<MakeRustlsConnect>,
}

impl Address {
    /// Builds the address from the settings, and reads the file `ca`.
    ///
    /// # Errors
    /// Returns what is wrong with the file.
    pub(super) async fn of(settings: &Settings) -> Result<Self, String> {
        let Url { mut config, tls } = settings.url.clone();
        let here =
            config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        // A configured `ca` implies TLS, even for a database on this machine.
        let tls = tls.unwrap_or(!here || settings.ca.is_some());
        config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT).tcp_user_timeout(UNACKNOWLEDGED).keepalives_idle(IDLE);
        if config.get_application_name().is_none() {
            config.application_name("bikhook");
        }
        let ca = settings.ca.as_deref();
        Ok(Self { config, tls: if tls { Some(verifying(ca).await?) } else { None } })
    }
}

/// The keys `url` and `password`, checked.
#[derive(Clone)]
pub(super) struct Url {
    config: Config,
    /// Whether `sslmode` turns TLS on or off. `None` if it is missing, or is `allow` or `prefer`, which guarantee
    /// nothing.
    tls: Option<bool>,
}

impl Url {
    /// Reads the key `url`, and the password.
    ///
    /// # Errors
    /// Returns the wrong key, and what to write.
    pub(super) fn read(keys: &Keys) -> Result<Self, Wrong> {
        let (plain, tls) = without_verify(keys.url.expose());
        let malformed = |what: String| {
            let how = "write it as \"postgres://user@host/database\", and set the password in `password`";
            Wrong::new(&["url"], format!("{what}: {how}"))
        };
        let mut config: Config =
            plain.parse().map_err(|error| malformed(FailureText::with_causes(&error).whole()))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(malformed("the host is missing".to_owned()));
        }
        if config.get_user().is_none() {
            return Err(malformed("the user is missing".to_owned()));
        }
        if keys.ca.is_some() && tls == Some(false) {
            return Err(Wrong::new(&["ca"], "needs TLS: remove `ca`, or sslmode=disable in `url`"));
        }
        if let Some(password) = &keys.password {
            config.password(password.expose());
        }
        Ok(Self { config, tls })
    }

    /// Hosts and database, for logs and errors.
    pub(super) fn place(&self) -> String {
        let config = &self.config;
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
        let mut hosts: Vec<String> = hosts.collect();
        if hosts.is_empty() {
            hosts.extend(addresses);
        }
        let ports = config.get_ports();
        let places = hosts.iter().enumerate().map(|(at, host)| match ports.get(at).or(ports.first()) {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        });
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        format!("{}, database {database}", places.collect::<Vec<_>>().join(" or "))
    }
}

/// Replaces the `sslmode` in the URL by one that the client library knows, because the library supports only some
/// values. Returns the new URL, and whether the original `sslmode` turns TLS on or off.
fn without_verify(url: &str) -> (String, Option<bool>) {
    let options = url.find('?').map_or_else(|| if url.contains("://") { url.len() } else { 0 }, |at| at + 1);
    let Some(at) = url[options..].find("sslmode=").map(|at| options + at) else {
        return (url.to_owned(), None);
    };
    let value = at + "sslmode=".len();
    let end = url[value..]
        .find(|c: char| !(c.is_ascii_alphabetic() || c == '-'))
        .map_or(url.len(), |end| value + end);
    let (tls, known) = match &url[value..end] {
        "disable" => (Some(false), "disable"),
        "allow" | "prefer" => (None, "prefer"),
        "require" | "verify-ca" | "verify-full" => (Some(true), "require"),
        other => (None, other),
    };
    (format!("{}{known}{}", &url[..value], &url[end..]), tls)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// A TLS connector that trusts the system's certificates and those of the file `ca`.
async fn verifying(ca: Option<&Path>) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        roots.add_parsable_certificates(Ca::read(path).await?.certificates().iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
