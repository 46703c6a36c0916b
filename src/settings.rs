//! What every module's `Settings` are made of: durations, sizes, and a section of the TOML file that knows its place.

use std::{fmt, ops::Deref, time::Duration};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// A duration in a configuration: `"90s"`, `"1h 30m"`, `"30d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// That many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// That many days of 24 hours.
    pub const fn days(days: u64) -> Self {
        Self::secs(days * 24 * 60 * 60)
    }

    /// In milliseconds, saturating.
    pub fn as_ms(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
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
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom(format!(
                "{text:?} is not a duration: write it as \"90s\", \"1h 30m\" or \"30d\""
            ))
        };
        // jiff counts days only against a calendar; here a day is 24 hours.
        let span: jiff::Span = text.parse().map_err(|_wrong| wrong())?;
        let duration =
            span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_wrong| wrong())?;
        Duration::try_from(duration).map(Self).map_err(|_negative| wrong())
    }
}

/// A size in a configuration: `"5MiB"`, `"64KiB"`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// That many KiB.
    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// That many MiB.
    pub const fn mib(mib: u64) -> Self {
        Self::kib(mib * 1024)
    }

    /// In bytes, as the memory of this machine counts them.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytesize::ByteSize::deserialize(deserializer).map(|size| Self(size.0))
    }
}

/// A section of the configuration that knows its place in the file.
pub struct Section {
    // filled in by the configuration's author
}

impl Section {
    /// Reads the section into its settings.
    ///
    /// # Errors
    /// [`Invalid`], with the place.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Invalid> {
        unimplemented!()
    }
}

/// What is wrong with a configuration, and where: file, line, column, a caret, the nearest known key.
#[derive(Debug, thiserror::Error)]
pub struct Invalid {
    // filled in by the configuration's author
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration")
    }
}

/// The keys of a settings struct, as serde knows them.
pub fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    unimplemented!()
}
