//! How a bench is run: its figures are printed, never asserted, so it fails only where it could not measure.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::report::Report;

/// What to measure, and how much of it.
#[derive(Parser)]
pub struct Args<P: ValueEnum + Send + Sync + 'static> {
    /// The parts to measure; all of them by default.
    parts: Vec<P>,
    /// Few events: the figures say little.
    #[arg(long)]
    pub quick: bool,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Events that are stored before a part begins; each part has its own number by default.
    #[arg(long)]
    pub events: Option<u64>,
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl<P: ValueEnum + PartialEq + Send + Sync> Args<P> {
    /// Whether a part is to be measured.
    pub fn wants(&self, part: P) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// Why it could not measure.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs a bench and prints its table, also of what was measured before something failed. `asked` is false where
/// somebody only builds the benches and starts them to see that they start, as `cargo test --benches` does.
pub fn bench(asked: bool, measure: impl FnOnce(&mut Report) -> Result<(), Failed>) -> ExitCode {
    if !asked {
        println!("nothing is measured without --bench");
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new();
    let measured = measure(&mut report);
    report.print();
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not measure: {error}");
            ExitCode::FAILURE
        }
    }
}
