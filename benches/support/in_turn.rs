//! Compares two runs that differ in one thing. The order of the two alternates from round to round.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{report::median, run::Failed, wrk::Load};

/// One of the two runs.
#[derive(Clone, Copy)]
pub struct Turn {
    /// The number of the round, from 1.
    pub round: u32,
    /// True for the run with the thing that differs.
    pub with: bool,
}

impl Turn {
    /// A number that is unique per run, for the ids of its events.
    pub fn run(self) -> u32 {
        self.round * 2 + u32::from(self.with)
    }

    /// Creates a folder for this run.
    pub fn folder(self, within: &Path) -> Result<PathBuf, Failed> {
        let folder = within.join(self.run().to_string());
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Full load over 64 connections, with one event per request.
    pub fn full_load(self, duration: Duration) -> Load {
        Load { connections: 64, threads: 1, duration, events: 1, run: self.run() }
    }

    /// The name of the run in the output.
    pub const fn name(self) -> &'static str {
        if self.with { "with it   " } else { "without it" }
    }
}

/// Returns the rate with the thing divided by the rate without it: the median of all rounds.
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
