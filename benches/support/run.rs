//! Runs a bench. It prints its figures and does not assert them, so it fails only if it cannot measure.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::report::Report;

/// Measure the parts of a bench and print a table of figures
#[derive(Parser)]
pub struct Args<P: ValueEnum + Send + Sync + 'static> {
    /// Parts to measure; all by default
    parts: Vec<P>,
    /// Use few events: the figures are not significant
    #[arg(long)]
    pub quick: bool,
    /// Rounds per measurement
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Events that are stored before a part starts; the default depends on the part
    #[arg(long)]
    pub events: Option<u64>,
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl<P: ValueEnum + PartialEq + Send + Sync> Args<P> {
    /// Returns whether to measure a part.
    pub fn wants(&self, part: P) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// Why a measurement failed.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs a bench and prints its table, also if a measurement fails. `asked` is false without `--bench`, for example with
/// `cargo test --benches`, which only checks that the benches start.
pub fn bench(asked: bool, measure: impl FnOnce(&mut Report) -> Result<(), Failed>) -> ExitCode {
    if !asked {
        println!("nothing is measured without the option --bench");
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new();
    let measured = measure(&mut report);
    report.print();
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measurement failed: {error}");
            ExitCode::FAILURE
        }
    }
}
