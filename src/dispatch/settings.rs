//! The configuration keys that every handler has for its deliveries.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::settings::Period;

/// How the lanes of a handler deliver, wait and retry.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Maximum number of events in a delivery; `None`: the kind's own number.
    pub batch: Option<usize>,
    /// Maximum number of deliveries in flight; `None`: the kind's own number.
    pub concurrency: Option<usize>,
    /// Maximum number of events per second; `None`: no limit.
    pub rate: Option<NonZeroU32>,
    /// A delivery that takes longer counts as failed.
    pub timeout: Period,
    /// The first wait before an unwell destination is probed.
    pub probe_first: Period,
    /// The longest wait before an unwell destination is probed.
    pub probe_max: Period,
    /// The first wait before a set-aside event is tried again.
    pub aside_first: Period,
    /// The longest wait before a set-aside event is tried again.
    pub aside_max: Period,
    /// An event that is set aside for this long becomes a dead letter.
    pub aside_for: Period,
    /// Maximum number of set-aside events per lane. At the limit, events that fail stay in the lane.
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
