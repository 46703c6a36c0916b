//! IP networks, as they are written in the configuration.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de::Error};

/// A single IP address, or all addresses with the same leading bits: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a valid [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The text is neither an address nor a network.
    #[error("{0:?} is not an address or a network: use one such as \"10.1.2.3\" or \"10.0.0.0/8\"")]
    Malformed(String),
    /// Bits are set after the prefix, most likely a typing error. Holds the text and the network without these bits.
    #[error("{0:?} has bits set after its prefix: use \"{1}\"")]
    HostBits(String, Network),
}

impl Network {
    /// The loopback addresses: `127.0.0.0/8` and `::1`.
    pub(super) const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ];

    /// Returns whether the network contains the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (network, address) = (bits(self.address), bits(address.to_canonical()));
        self.address.is_ipv4() == address.1 && (network.0 ^ address.0) & mask(self.prefix) == 0
    }

    fn masked(self) -> Self {
        let (bits, is_ipv4) = bits(self.address);
        let kept = bits & mask(self.prefix);
        let address =
            if is_ipv4 { IpAddr::V4(((kept >> 96) as u32).into()) } else { IpAddr::V6(kept.into()) };
        Self { address, ..self }
    }
}

/// The bits of an address, aligned to the left, and whether it is an IPv4 address.
fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim().parse().map_err(|_not_one| malformed())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.trim().parse::<u8>());
        let prefix = prefix.ok().filter(|prefix| *prefix <= longest).ok_or_else(malformed)?;
        let network = Self { address, prefix };
        let masked = network.masked();
        if masked == network { Ok(network) } else { Err(NetworkError::HostBits(text.to_owned(), masked)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The unit to which per-address limits apply: an IPv4 address, or an IPv6 /64, because one sender often has a whole
/// /64.
pub(super) fn origin(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("127.0.0.0/8", "127.9.9.9", "128.0.0.0"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("fc00::/7", "fd12::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
        ] {
            assert!(contains(network, inside), "{inside} in {network}");
            assert!(!contains(network, outside), "{outside} in {network}");
        }
    }

    #[test]
    fn an_invalid_network_is_refused_with_the_reason() {
        for text in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Malformed(text.to_owned())), "{text}");
        }
        let slip = "10.1.2.3/8".parse::<Network>().unwrap_err().to_string();
        assert_eq!(slip, r#""10.1.2.3/8" has bits set after its prefix: use "10.0.0.0/8""#);
    }

    #[test]
    fn an_origin_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        let of = |text: &str| origin(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
