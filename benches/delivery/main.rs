//! Delivery: how fast a backlog goes, and that one thing does not disturb another.
//!
//! ```text
//! cargo bench --all-features --bench delivery                    everything; some minutes, 3 GB of disk
//! cargo bench --all-features --bench delivery -- --quick         few events: is it broken?
//! cargo bench --all-features --bench delivery -- backlog replay  parts of it
//! ```

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

mod arrivals;
mod backlog;
mod lines;
mod neighbours;
mod overtaking;
mod replay;
#[path = "../support/mod.rs"]
mod support;

use support::run::bench;

#[derive(Parser)]
struct Args {
    /// The parts to measure; all of them by default.
    parts: Vec<Part>,
    /// Few events: the figures say little.
    #[arg(long)]
    quick: bool,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Events of the backlog.
    #[arg(long)]
    events: Option<u64>,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A million events to the jsonl handler.
    Backlog,
    /// Messages from customers while half a million statuses wait in the same handler.
    Overtaking,
    /// A handler whose destination never answers beside intake and another handler.
    Neighbours,
    /// A million events replayed while live traffic runs.
    Replay,
}

fn main() -> ExitCode {
    let args = Args::parse();
    bench(args.bench, |report| {
        let asked = |part| args.parts.is_empty() || args.parts.contains(&part);
        if asked(Part::Backlog) {
            backlog::backlog(&args, report)?;
        }
        if asked(Part::Overtaking) {
            overtaking::overtaking(&args, report)?;
        }
        if asked(Part::Neighbours) {
            neighbours::neighbours(&args, report)?;
        }
        if asked(Part::Replay) {
            replay::replay(&args, report)?;
        }
        Ok(())
    })
}
