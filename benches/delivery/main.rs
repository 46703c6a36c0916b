//! Delivery: the rate of a backlog, also to each destination in comparison with its bare client library, and whether
//! handlers, lanes and replays disturb each other.
//!
//! ```text
//! cargo bench --all-features --bench delivery                    all parts; a few minutes, 3 GB of disk
//! cargo bench --all-features --bench delivery -- --quick         few events: a smoke test
//! cargo bench --all-features --bench delivery -- backlog replay  some parts
//! cargo bench --bench delivery -- backlog --against BINARY       in turn with another build of this receiver
//! ```

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

mod arrivals;
mod backlog;
#[allow(clippy::unwrap_used)] // like the test servers that it uses
mod bare;
mod calls;
mod destinations;
mod drain;
mod lines;
mod neighbours;
mod overtaking;
mod replay;
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // of the tests
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
    /// A backlog of a million events for a jsonl handler.
    Backlog,
    /// Customer messages while half a million statuses wait in the same handler.
    Overtaking,
    /// A handler that always times out, beside intake and another handler.
    Neighbours,
    /// A replay of a million events during live traffic.
    Replay,
    /// Calls of the http handler to a slow server.
    Http,
    /// A backlog to PostgreSQL, compared with tokio-postgres.
    Postgres,
    /// A backlog to NATS JetStream, compared with async-nats.
    Nats,
    /// A backlog to Redis, compared with the crate redis.
    Redis,
    /// A backlog to RabbitMQ, compared with lapin.
    Rabbitmq,
    /// A backlog to an SQLite file, compared with rusqlite.
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
