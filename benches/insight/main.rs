//! Insight: whether it keeps up, how much it slows intake down, and the response times of the page and the API.
//!
//! ```text
//! cargo bench --bench insight                       all parts; about ten minutes, 12 GB of disk
//! cargo bench --bench insight -- --quick            few events: a smoke test
//! cargo bench --bench insight -- keeping-up beside  some parts
//! ```

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

mod beside;
mod campaign;
mod keeping_up;
mod questions;
#[path = "../support/mod.rs"]
mod support;

use support::run::{self, bench};

type Args = run::Args<Part>;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 5,000 events per second, then a burst.
    KeepingUp,
    /// Intake at full load with and without insight.
    Beside,
    /// The pages and API routes, with five million events stored.
    Questions,
}

fn main() -> ExitCode {
    let args = Args::parse();
    bench(args.bench, |report| {
        if args.wants(Part::KeepingUp) {
            keeping_up::keeping_up(&args, report)?;
        }
        if args.wants(Part::Beside) {
            beside::beside(&args, report)?;
        }
        if args.wants(Part::Questions) {
            questions::questions(&args, report)?;
        }
        Ok(())
    })
}
