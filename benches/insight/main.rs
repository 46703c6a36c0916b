//! Insight: that it keeps up, that it is not in intake's way, and how soon the page and the API answer.
//!
//! ```text
//! cargo bench --bench insight                       everything; some ten minutes, 12 GB of disk
//! cargo bench --bench insight -- --quick            few events: is it broken?
//! cargo bench --bench insight -- keeping-up beside  parts of it
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
    /// 5,000 events a second, then a burst.
    KeepingUp,
    /// Intake at full load, with insight and without.
    Beside,
    /// Every page and every question, with five million events stored.
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
