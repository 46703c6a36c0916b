//! Which events a handler wants.

use serde::Deserialize;

use crate::event::Event;

/// The filter keys that every handler has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FilterSettings {
    /// Globs over event names; all by default.
    pub events: Option<Vec<String>>,
    /// Owners (`CAMPAIGN`) or categories (`broadcast`).
    pub owners: Option<Vec<String>>,
    /// Statuses.
    pub statuses: Option<Vec<String>>,
    /// Channels.
    pub channels: Option<Vec<String>>,
    /// Sources.
    pub sources: Option<Vec<String>>,
    /// Store ids.
    pub stores: Option<Vec<String>>,
}

/// Which events a handler wants.
#[derive(Clone, Debug, Default)]
pub struct Filter {}

impl Filter {
    /// From its settings.
    ///
    /// # Errors
    /// A text that says which glob is wrong, and how.
    pub fn new(_settings: &FilterSettings) -> Result<Self, String> {
        unimplemented!()
    }

    /// Whether the handler wants this event.
    pub fn wants(&self, _event: &Event) -> bool {
        unimplemented!()
    }
}
