//! Delivery: how fast a backlog goes, also to each destination against its bare client library, and that one thing does not
//! disturb another.
//!
//! ```text
//! cargo bench --all-features --bench delivery                    everything; some minutes, 3 GB of disk
//! cargo bench --all-features --bench delivery -- --quick         few events: is it broken?
//! cargo bench --all-features --bench delivery -- backlog replay  parts of it
//! cargo bench --bench delivery -- backlog --against BINARY       another build of this receiver in turn with this one
//! ```

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

mod arrivals;
mod backlog;
#[allow(clippy::unwrap_used)] // as the servers that it asks
mod bare;
mod calls;
mod destinations;
mod drain;
mod lines;
mod neighbours;
mod overtaking;
mod replay;
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)] // of the tests
#[path = "../../tests/it/support/servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

use support::run::{self, bench};

type Args = run::Args<Part>;

#[derive(Parser)]
struct DeliveryArgs {
    #[command(flatten)]
    args: Args,
    /// Measures the backlog also with this other build of the receiver, in turn, and prints the ratio to it.
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
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
    /// Calls of the http handler to a server that takes its time.
    Http,
    /// A backlog to PostgreSQL, against tokio-postgres.
    Postgres,
    /// A backlog to NATS JetStream, against async-nats.
    Nats,
    /// A backlog to Redis, against redis.
    Redis,
    /// A backlog to RabbitMQ, against lapin.
    Rabbitmq,
    /// A backlog to an SQLite file, against rusqlite.
    Sqlite,
}

fn main() -> ExitCode {
    let DeliveryArgs { args, against } = DeliveryArgs::parse();
    bench(args.bench, |report| {
        if args.wants(Part::Backlog) {
            match &against {
                None => backlog::backlog(&args, report)?,
                Some(binary) => backlog::against(binary, &args, report)?,
            }
        }
        if args.wants(Part::Overtaking) {
            overtaking::overtaking(&args, report)?;
        }
        if args.wants(Part::Neighbours) {
            neighbours::neighbours(&args, report)?;
        }
        if args.wants(Part::Replay) {
            replay::replay(&args, report)?;
        }
        if args.wants(Part::Http) {
            calls::calls(&args, report)?;
        }
        destinations::destinations(&args, report)?;
        Ok(())
    })
}
