//! `bikhook handlers`: how far each handler is, and letting go of what holds the journal.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{cell, confirm, lines, parse, stdout, table},
    store::StoreArgs,
};
use crate::clock::Timestamp;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// An object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Let a handler go on without what it has not delivered: by decision, and on record
    Skip(Skip),
}

#[derive(clap::Args)]
struct Skip {
    /// The handler
    name: String,
    /// It lets go of everything below this seq, or received before this time
    #[arg(long, value_name = "SEQ|TIME")]
    before: Before,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// An object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// A place in the journal, as an operator names it.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Before {
    Seq(u64),
    Time(Timestamp),
}

impl std::str::FromStr for Before {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        text.parse().map(Self::Time).map_err(|_not_a_time| {
            format!("{text:?} is neither a seq nor a time such as 2026-01-31T09:30:00Z or 2026-01-31")
        })
    }
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(Command::Skip(skip)) => skip.run(cli),
        None => list(args, cli),
    }
}

/// A handler as far as the table shows it. Of a stopped receiver less is known.
#[derive(Deserialize)]
struct Handler {
    handler: String,
    kind: Option<String>,
    dead: u64,
    lanes: Vec<Lane>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lane {
    lane: String,
    cursor: u64,
    lag: u64,
    set_aside: usize,
    state: Option<String>,
    delivered: Option<u64>,
    next_try: Option<Timestamp>,
    last_failure: Option<String>,
}

const HEADER: [&str; 11] = [
    "HANDLER",
    "KIND",
    "LANE",
    "STATE",
    "CURSOR",
    "LAG",
    "ASIDE",
    "DEAD",
    "DELIVERED",
    "NEXT TRY",
    "LAST FAILURE",
];

fn list(args: &Args, cli: &Cli) -> Result<(), Error> {
    let rows = args.store.open(cli)?.handlers()?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &rows);
    }
    let mut cells = Vec::new();
    for row in &rows {
        let Handler { handler, kind, dead, lanes } = parse(row)?;
        cells.extend(lanes.into_iter().map(|lane| {
            [
                handler.clone(),
                cell(kind.as_ref()),
                lane.lane,
                cell(lane.state),
                lane.cursor.to_string(),
                lane.lag.to_string(),
                lane.set_aside.to_string(),
                dead.to_string(),
                cell(lane.delivered),
                cell(lane.next_try),
                cell(lane.last_failure),
            ]
        }));
    }
    table(out, HEADER, cells)
}

impl Skip {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let Self { name, before, .. } = self;
        let client = self.admin.client(cli)?;
        let what = match before {
            Before::Seq(seq) => format!("below seq {seq}"),
            Before::Time(time) => format!("received before {time}"),
        };
        let question =
            format!("What is {what} and not delivered to {name:?} yet will not be delivered to it. Go on?");
        confirm(&question, self.yes)?;
        #[derive(Serialize)]
        struct Body<'a> {
            before: &'a Before,
        }
        let path = ["api", "v1", "handlers", name, "skip"];
        let answer: Box<serde_json::value::RawValue> = client.post(&path, &Body { before })?;
        let out = &mut stdout();
        if self.json {
            return lines(out, &[answer]);
        }
        #[derive(Deserialize)]
        struct Skipped {
            before: u64,
        }
        let Skipped { before } = parse(&answer)?;
        use std::io::Write;
        writeln!(out, "{name} lets go of everything below seq {before}")?;
        Ok(out.flush()?)
    }
}
