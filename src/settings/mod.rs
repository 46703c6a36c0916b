//! The types from which every module builds its `Settings`: durations, sizes, addresses, and sections of the TOML file.
//!
//! A [`Section`] is read by bikhook's own deserializer, over a tree in which every node knows its origin. So an error
//! can show the file, line, column and nearest known key. If a node comes from an environment variable, the
//! deserializer converts the variable's text to the type of the key.

mod context;
mod fault;
mod keys;
mod one_or_more;
mod problem;
mod read;
mod section;
mod tree;
mod wrong;

pub use context::Context;
pub use keys::keys_of;
pub use one_or_more::one_or_more;
pub use problem::{Invalid, Place, Problem, nearest};
pub(crate) use problem::{meant, quoted};
pub(crate) use read::SECRET_FORMS;
pub use section::Section;
pub(crate) use tree::{Entry, Node, Table, Value, closest, parse as parse_toml};
pub use wrong::Wrong;

use std::{fmt, net::SocketAddr, ops::Deref, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// The rule for names of sources, handlers and credentials. A name is used as a metric label, in names of variables and
/// in URLs.
pub const NAME_RULE: &str = "a name has 1 to 64 characters: a-z, 0-9, `_` and `-`";

/// Returns whether the name follows [`NAME_RULE`].
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// The default of a boolean key that is `true` when it is not set.
pub const fn yes() -> bool {
    true
}

/// A duration in a configuration: `"90s"`, `"1h 30m"`, `"30d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// Creates a period from seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Creates a period from days of 24 hours.
    pub const fn days(days: u64) -> Self {
        Self::secs(days * 24 * 60 * 60)
    }

    /// Parses a period such as `90s`, `1h 30m` or `30d`. A day has 24 hours. Without that rule, jiff would need a date
    /// to convert days.
    pub fn parse(text: &str) -> Option<Self> {
        let span: jiff::Span = text.parse().ok()?;
        let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(duration).ok().map(Self)
    }

    /// The period in milliseconds, saturating.
    pub fn as_ms(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Writes the period as in a configuration: `1h 30m`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            Err(_longer_than_ages) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl Deref for Period {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PeriodVisitor;

        impl Visitor<'_> for PeriodVisitor {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"90s\", \"1h 30m\" or \"30d\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text).ok_or_else(|| {
                    E::custom(format!(
                        "{text:?} is not a duration: use one such as \"90s\", \"1h 30m\" or \"30d\""
                    ))
                })
            }
        }

        deserializer.deserialize_str(PeriodVisitor)
    }
}

/// A size in a configuration: `"5MiB"`, `"64KiB"`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Creates a size from KiB.
    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// Creates a size from MiB.
    pub const fn mib(mib: u64) -> Self {
        Self::kib(mib * 1024)
    }

    /// The size in bytes, saturating.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"5MiB\", or a number of bytes")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_negative| E::invalid_value(Unexpected::Signed(bytes), &self))
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                text.parse::<bytesize::ByteSize>().map(|size| Size(size.0)).map_err(|_wrong| {
                    E::custom(format!(
                        "{text:?} is not a size: use one such as \"5MiB\", or a number of bytes"
                    ))
                })
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Reads an address to listen on, with a helpful error. For `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// Returns an error if the text is not an IP address with a port.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_wrong| {
        D::Error::custom(format!(
            "{text:?} is not an address: use an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\""
        ))
    })
}
