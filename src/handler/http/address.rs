//! Decides which addresses requests may reach. Link-local addresses and the metadata services of clouds are forbidden,
//! because a metadata service gives credentials to any client inside the cloud.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use serde::{Deserialize, Deserializer, de::Error};

use crate::secret::Secret;

/// Error text for a forbidden address, used for the setting `url` and for the resolver.
pub(super) const FORBIDDEN: &str = "link-local addresses and cloud metadata services (169.254.0.0/16, fe80::/10, \
    fd00:ec2::254, 100.100.100.200, 168.63.129.16 and others) are not allowed";

/// Metadata services of Alibaba Cloud, Azure and Oracle Cloud that are not link-local.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// Metadata services of AWS, Google Cloud and Scaleway.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Reads the URL, for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// Returns an error if the URL is invalid or forbidden. The error does not quote the URL, because it may hold a token.
pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    checked(Secret::deserialize(deserializer)?.expose())
        .map_err(|what| D::Error::custom(format!("url: {what}")))
}

fn checked(text: &str) -> Result<Url, String> {
    let url: Url =
        text.parse().map_err(|error| format!("{error}: write it as \"https://host.example/path\""))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password: set headers.Authorization instead".to_owned());
    }
    // An IP address as host never goes through the resolver, so it is checked here.
    let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    if literal.is_some_and(is_forbidden) {
        return Err(format!("{FORBIDDEN}: use another host"));
    }
    Ok(url)
}

/// The URL for logs and errors. Path and query are left out, because they may hold a token.
pub(super) fn place(url: &Url) -> String {
    let origin = url.origin().ascii_serialization();
    if url.path() == "/" && url.query().is_none() { origin } else { format!("{origin}/…") }
}

/// The system's resolver without the forbidden addresses.
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|address| !is_forbidden(address.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, FORBIDDEN).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || embedded(v6).into_iter().flatten().any(is_forbidden_v4)
        }
    }
}

fn is_forbidden_v4(v4: Ipv4Addr) -> bool {
    v4.is_link_local() || METADATA_V4.contains(&v4)
}

/// The IPv4 addresses that an IPv6 address may lead to.
fn embedded(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        // NAT64 (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, .., high, low] => [v4(high, low), None],
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => [v4(high, low), None],
        // Teredo (RFC 4380): the address of the server, and that of the client with all bits inverted.
        [0x2001, 0, high, low, .., client_high, client_low] => [v4(high, low), v4(!client_high, !client_low)],
        // ISATAP (RFC 5214), with any network prefix.
        [.., 0 | 0x200, 0x5efe, high, low] => [v4(high, low), None],
        // IPv4-mapped and IPv4-compatible addresses (RFC 4291).
        _ => [v6.to_ipv4(), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_service_is_refused_however_it_is_written() {
        for host in [
            "169.254.169.254",
            "0xA9FEA9FE",
            "2852039166",
            "169.254.43518",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "169.254.169.254.",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "[fd00:42::42]",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "[::ffff:100.100.100.200]",
            "[::168.63.129.16]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b::a83f:8110]",
            "[64:ff9b:1::6464:64c8]",
            "[2002:a9fe:a9fe::1]",
            "[2002:6464:64c8::]",
            "[2001:0:a9fe:a9fe::1]",
            "[2001:0:102:304::5601:5601]",
            "[2001:db8::5efe:169.254.169.254]",
        ] {
            let error = checked(&format!("http://{host}/latest")).unwrap_err();
            assert!(error.contains("link-local"), "{host}: {error}");
        }
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "[::1]",
            "[fec0::1]",
            "169.253.0.1",
            "hooks.example",
            "100.100.100.201",
            "[fd00:ec2::253]",
            "[64:ff9b::8.8.8.8]",
            "[2002:808:808::1]",
        ] {
            checked(&format!("http://{host}:8080/x")).unwrap();
        }
    }

    #[test]
    fn a_url_is_shown_without_path_and_query() {
        let shown = |text: &str| place(&checked(text).unwrap());
        assert_eq!(shown("https://hooks.example"), "https://hooks.example");
        assert_eq!(shown("https://hooks.example/"), "https://hooks.example");
        assert_eq!(shown("http://[::1]:8080/s3cret"), "http://[::1]:8080/…");
        assert_eq!(shown("https://hooks.example/?token=s3cret"), "https://hooks.example/…");
    }

    #[test]
    fn the_error_of_an_invalid_url_does_not_quote_it() {
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
