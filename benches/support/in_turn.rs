//! Two runs that differ in one thing, in turn: which of them comes first changes with each round.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{report::median, run::Failed, wrk::Load};

/// One run of the two.
#[derive(Clone, Copy)]
pub struct Turn {
    /// Counted from 1.
    pub round: u32,
    /// With the thing that makes the difference.
    pub with: bool,
}

impl Turn {
    /// A number of its own, for the ids of its events.
    pub fn run(self) -> u32 {
        self.round * 2 + u32::from(self.with)
    }

    /// A folder of its own.
    pub fn folder(self, within: &Path) -> Result<PathBuf, Failed> {
        let folder = within.join(self.run().to_string());
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// As many requests as it takes, of one event, over 64 connections.
    pub fn full_load(self, duration: Duration) -> Load {
        Load { connections: 64, threads: 1, duration, events: 1, run: self.run() }
    }

    /// For the lines as it goes.
    pub const fn name(self) -> &'static str {
        if self.with { "with it   " } else { "without it" }
    }
}

/// The rate with the thing divided by the one without it: of the rounds the middle one.
pub fn ratio_in_turn(rounds: u32, mut rate: impl FnMut(Turn) -> Result<f64, Failed>) -> Result<f64, Failed> {
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let mut rates = [0.0; 2];
        for with in [round % 2 == 1, round % 2 == 0] {
            rates[usize::from(with)] = rate(Turn { round, with })?;
        }
        ratios.push(rates[1] / rates[0]);
    }
    Ok(median(ratios))
}
