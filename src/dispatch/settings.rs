//! The keys that every handler has for its deliveries.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::settings::Period;

/// How a handler's lanes go about their deliveries.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Events in a delivery at most; the kind's own number by default.
    pub batch: Option<usize>,
    /// Deliveries under way at once; the kind's own number by default.
    pub concurrency: Option<usize>,
    /// Events a second at most; without it, as fast as the destination takes them.
    pub rate: Option<NonZeroU32>,
    /// A delivery that takes longer counts as failed.
    pub timeout: Period,
    /// The first wait while the destination is unwell.
    pub probe_first: Period,
    /// The longest wait while the destination is unwell.
    pub probe_max: Period,
    /// The first wait of an event that was set aside.
    pub aside_first: Period,
    /// The longest wait of an event that was set aside.
    pub aside_max: Period,
    /// An event that was set aside for so long becomes a dead letter.
    pub aside_for: Period,
    /// Events set aside at most in a lane; at the bound the lane waits.
    pub aside_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: None,
            concurrency: None,
            rate: None,
            timeout: Period::secs(15),
            probe_first: Period::secs(5),
            probe_max: Period::secs(5 * 60),
            aside_first: Period::secs(5),
            aside_max: Period::secs(60 * 60),
            aside_for: Period::secs(72 * 60 * 60),
            aside_limit: 10_000,
        }
    }
}
