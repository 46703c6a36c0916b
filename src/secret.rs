//! Secrets of the configuration: text, `{ env = "NAME" }` or `{ file = "/run/secrets/…" }`; never printed.

use serde::{Deserialize, Deserializer};

/// A secret, resolved when the configuration is read. No `Debug`, no `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// From text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for comparing and for sending, never for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}
