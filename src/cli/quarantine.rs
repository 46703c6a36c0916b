//! `bikhook quarantine`: lists, shows, retries and drops input that could not be stored as events.

use std::io::{IsTerminal, Write};

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{cell, confirm, lines, members, parse, plain, stdout, table},
    store::{Limit, StoreArgs, newest},
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List quarantine entries
    List(List),
    /// Show an entry: its error and its bytes (contains personal data)
    Show(Show),
    /// Retry entries: what can be read now is stored as events
    Retry(Retry),
    /// Delete entries permanently
    Drop(Drop),
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    limit: Limit,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args)]
struct Show {
    /// Id of the entry
    id: i64,
    /// Print only the received bytes, unchanged
    #[arg(long)]
    raw: bool,
    /// Print one JSON object, without the bytes
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args)]
struct Retry {
    /// Ids of the entries
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(clap::Args)]
struct Drop {
    /// Ids of the entries
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Command::List(list) => list.run(cli),
        Command::Show(show) => show.run(cli),
        Command::Retry(retry) => retry.run(cli),
        Command::Drop(drop) => drop.run(cli),
    }
}

/// The columns of an entry in the table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: i64,
    source: String,
    reason: String,
    conflicts_with: Option<u64>,
    size_bytes: u64,
    count: u64,
    first_at: String,
    last_at: String,
}

impl List {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let store = self.store.open(cli)?;
        let rows = newest(&self.limit, |before, limit| store.quarantine(before, limit))?;
        let out = &mut stdout();
        if self.json {
            return lines(out, &rows);
        }
        let rows = rows.iter().map(|row| parse(row)).collect::<Result<Vec<Row>, _>>()?;
        let header = ["ID", "FIRST", "LAST", "COUNT", "SOURCE", "REASON", "CONFLICTS WITH", "BYTES"];
        let cells = rows.into_iter().map(|row| {
            [
                row.id.to_string(),
                row.first_at,
                row.last_at,
                row.count.to_string(),
                row.source,
                row.reason,
                cell(row.conflicts_with),
                row.size_bytes.to_string(),
            ]
        });
        table(out, header, cells)
    }
}

impl Show {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let store = self.store.open(cli)?;
        let out = &mut stdout();
        if self.raw {
            out.write_all(&store.quarantined_bytes(self.id)?)?;
            return Ok(out.flush()?);
        }
        let row = store.quarantined(self.id)?;
        if self.json {
            return lines(out, &[row]);
        }
        let keys =
            ["id", "source", "reason", "conflictsWith", "sizeBytes", "count", "firstAt", "lastAt", "detail"];
        members(out, &row, &keys)?;
        let bytes = store.quarantined_bytes(self.id)?;
        writeln!(out)?;
        if std::io::stdout().is_terminal() {
            let text = String::from_utf8_lossy(&bytes);
            for line in text.lines() {
                writeln!(out, "{}", plain(line))?;
            }
        } else {
            out.write_all(&bytes)?;
        }
        Ok(out.flush()?)
    }
}

/// The maximum number of ids in one request. A retry decodes every byte of an entry again.
const IDS: usize = 100;

/// The columns of a retried entry in the table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Retried {
    id: i64,
    outcome: String,
    accepted: u32,
    duplicates: u32,
    unreadable: usize,
    conflicts: u32,
    conflicts_with: Option<u64>,
}

impl Retry {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Answer {
            results: Vec<Box<RawValue>>,
        }
        let client = self.admin.client(cli)?;
        let mut results = Vec::new();
        for ids in self.ids.chunks(IDS) {
            let answer: Answer = client.post(&["api", "v1", "quarantine", "retry"], &json!({"ids": ids}))?;
            results.extend(answer.results);
        }
        let rows = results.iter().map(|row| parse(row)).collect::<Result<Vec<Retried>, _>>()?;
        let unknown: Vec<_> = rows.iter().filter(|row| row.outcome == "unknown").map(|row| row.id).collect();
        let left = rows.iter().filter(|row| !["stored", "unknown"].contains(&row.outcome.as_str())).count();
        let out = &mut stdout();
        if self.json {
            lines(out, &results)?;
        } else {
            let header =
                ["ID", "OUTCOME", "ACCEPTED", "DUPLICATES", "UNREADABLE", "CONFLICTS", "CONFLICTS WITH"];
            let cells = rows.into_iter().map(|row| {
                [
                    row.id.to_string(),
                    row.outcome,
                    row.accepted.to_string(),
                    row.duplicates.to_string(),
                    row.unreadable.to_string(),
                    row.conflicts.to_string(),
                    cell(row.conflicts_with),
                ]
            });
            table(out, header, cells)?;
        }
        if left > 0 {
            return Err(Error::Failed(format!("{left} of the entries could not be stored")));
        }
        all_known(&unknown)
    }
}

impl Drop {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Answer {
            dropped: u64,
            unknown: Vec<i64>,
        }
        let client = self.admin.client(cli)?;
        let question =
            format!("{} of the quarantine entries will be deleted permanently. Continue?", self.ids.len());
        confirm(&question, self.yes)?;
        let mut sum = Answer { dropped: 0, unknown: Vec::new() };
        for ids in self.ids.chunks(IDS) {
            let answer: Answer = client.post(&["api", "v1", "quarantine", "drop"], &json!({"ids": ids}))?;
            sum.dropped += answer.dropped;
            sum.unknown.extend(answer.unknown);
        }
        let out = &mut stdout();
        if self.json {
            writeln!(out, "{}", json!({"dropped": sum.dropped, "unknown": sum.unknown}))?;
        } else {
            writeln!(out, "{} dropped", sum.dropped)?;
        }
        out.flush()?;
        all_known(&sum.unknown)
    }
}

fn all_known(unknown: &[i64]) -> Result<(), Error> {
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!("there are no entries {unknown:?} in quarantine")))
}
