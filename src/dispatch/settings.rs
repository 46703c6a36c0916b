//! The configuration keys that every handler has for its deliveries.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::settings::{Period, Wrong};

/// How the lanes of a handler deliver, wait and retry.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Maximum number of events in a delivery; `None`: the default of the kind.
    pub batch: Option<usize>,
    /// Maximum number of deliveries in flight; `None`: the default of the kind.
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
    /// A set-aside event becomes a dead letter if it still fails this long after it was set aside, and the destination
    /// accepts other events.
    pub aside_for: Period,
    /// Maximum number of set-aside events per lane. At the limit, events that fail stay in the lane.
    pub aside_limit: usize,
}

impl Settings {
    /// Returns the settings that are not valid. `has` says whether a configuration key is set. If two configuration
    /// keys contradict each other, the returned [`Wrong`] names one that is set.
    pub fn check(&self, has: impl Fn(&str) -> bool) -> Vec<Wrong> {
        let mut wrong = Wrong::zeros(&[
            ("batch", self.batch == Some(0)),
            ("concurrency", self.concurrency == Some(0)),
            ("timeout", self.timeout.as_ms() == 0),
            ("probe_first", self.probe_first.as_ms() == 0),
            ("probe_max", self.probe_max.as_ms() == 0),
            ("aside_first", self.aside_first.as_ms() == 0),
            ("aside_max", self.aside_max.as_ms() == 0),
            ("aside_for", self.aside_for.as_ms() == 0),
            ("aside_limit", self.aside_limit == 0),
        ]);
        for (first, first_value, max, max_value) in [
            ("probe_first", self.probe_first, "probe_max", self.probe_max),
            ("aside_first", self.aside_first, "aside_max", self.aside_max),
        ] {
            if first_value > max_value {
                let message = format!("{first} ({first_value}) is longer than {max} ({max_value})");
                wrong.push(Wrong::new(&[if has(max) { max } else { first }], message));
            }
        }
        wrong
    }
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
