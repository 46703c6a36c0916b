//! Where requests may go: anywhere but to link-local addresses, behind which clouds keep their credentials.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use serde::{Deserialize, Deserializer, de::Error};

use crate::secret::Secret;

/// What a resolver's error and a setting's error say alike.
pub(super) const LINK_LOCAL: &str = "a link-local address (169.254.0.0/16, fe80::/10) is never posted to";

/// Reads the URL, for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// The deserializer's, which does not quote the URL: it may hold a token.
pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    checked(Secret::deserialize(deserializer)?.expose())
        .map_err(|what| D::Error::custom(format!("url: {what}")))
}

fn checked(text: &str) -> Result<Url, String> {
    let url: Url =
        text.parse().map_err(|error| format!("{error}; write it as \"https://host.example/path\""))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not have a name and password; write headers.Authorization instead".to_owned());
    }
    // Nobody resolves an address that is written out.
    let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    if literal.is_some_and(is_link_local) {
        return Err(format!("{LINK_LOCAL}; write another host"));
    }
    Ok(url)
}

/// The URL as far as it can be shown: a path or a query may hold a token.
pub(super) fn place(url: &Url) -> String {
    let origin = url.origin().ascii_serialization();
    if url.path() == "/" && url.query().is_none() { origin } else { format!("{origin}/…") }
}

/// The system's resolver, less what must not be reached.
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|address| !is_link_local(address.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, LINK_LOCAL).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.to_ipv4().is_some_and(|mapped| mapped.is_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_refused_however_it_is_written() {
        for host in [
            "169.254.169.254",
            "0xA9FEA9FE",
            "2852039166",
            "169.254.43518",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
        ] {
            let error = checked(&format!("http://{host}/latest")).unwrap_err();
            assert!(error.contains("link-local"), "{host}: {error}");
        }
        for host in ["127.0.0.1", "10.0.0.1", "[::1]", "[fec0::1]", "169.253.0.1", "hooks.example"] {
            checked(&format!("http://{host}:8080/x")).unwrap();
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_a_token() {
        let shown = |text: &str| place(&checked(text).unwrap());
        assert_eq!(shown("https://hooks.example"), "https://hooks.example");
        assert_eq!(shown("https://hooks.example/"), "https://hooks.example");
        assert_eq!(shown("http://[::1]:8080/s3cret"), "http://[::1]:8080/…");
        assert_eq!(shown("https://hooks.example/?token=s3cret"), "https://hooks.example/…");
    }

    #[test]
    fn a_url_that_cannot_be_posted_to_is_an_error_that_does_not_quote_it() {
        for (url, why) in [
            ("ftp://hooks.example/s3cret", "https://"),
            ("https://me:s3cret@hooks.example", "headers.Authorization"),
            ("s3cret", "write it as"),
        ] {
            let error = checked(url).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{error}");
        }
    }
}
