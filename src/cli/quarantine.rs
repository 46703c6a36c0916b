//! `bikhook quarantine`: lists, shows, retries and drops input that could not be stored as events.

use std::io::{IsTerminal, Write};

use clap::Subcommand;

use super::{
    Cli, Error,
    changes::Changeable,
    client::{AdminArgs, RequestArgs},
    output::{cell, confirm, lines, parse_rows, plain, print_members, print_rows, stdout},
    store::{ListArgs, StoreArgs, newest},
};
use crate::{
    admin::wire::{QuarantineRow, Retried, RetriedList},
    settings::keys_of,
};

#[derive(Subcommand)]
pub(super) enum QuarantineCommand {
    /// List quarantine entries
    List(ListArgs),
    /// Show an entry: its error and its bytes (contains personal data)
    Show(QuarantineShowArgs),
    /// Retry entries: elements that can be read now are stored as events
    Retry(QuarantineRetryArgs),
    /// Delete entries permanently
    Drop(QuarantineDropArgs),
}

#[derive(clap::Args)]
pub(super) struct QuarantineShowArgs {
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
pub(super) struct QuarantineRetryArgs {
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
pub(super) struct QuarantineDropArgs {
    /// Ids of the entries
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    request: RequestArgs,
}

pub(super) fn run(command: &QuarantineCommand, cli: &Cli) -> Result<(), Error> {
    match command {
        QuarantineCommand::List(args) => list(args, cli),
        QuarantineCommand::Show(args) => show(args, cli),
        QuarantineCommand::Retry(args) => retry(args, cli),
        QuarantineCommand::Drop(args) => drop_entries(args, cli),
    }
}

fn list(args: &ListArgs, cli: &Cli) -> Result<(), Error> {
    let store = args.store.open(cli)?;
    let rows = newest(&args.limit, |before, limit| store.quarantine(before, limit))?;
    let header = ["ID", "FIRST", "LAST", "COUNT", "SOURCE", "REASON", "CONFLICTS WITH", "BYTES"];
    print_rows(args.json, &rows, header, |row: QuarantineRow| {
        [
            row.id.to_string(),
            row.first_at.to_string(),
            row.last_at.to_string(),
            row.count.to_string(),
            row.source.to_string(),
            row.reason.into_owned(),
            cell(row.conflicts_with),
            row.size_bytes.to_string(),
        ]
    })
}

fn show(args: &QuarantineShowArgs, cli: &Cli) -> Result<(), Error> {
    let store = args.store.open(cli)?;
    let out = &mut stdout();
    if args.raw {
        out.write_all(&store.quarantined_bytes(args.id)?)?;
        return Ok(out.flush()?);
    }
    let row = store.quarantined(args.id)?;
    if args.json {
        return lines(out, &[row]);
    }
    let keys = [keys_of::<QuarantineRow>(), &["detail"]].concat();
    print_members(out, &row, &keys)?;
    let bytes = store.quarantined_bytes(args.id)?;
    writeln!(out)?;
    if std::io::stdout().is_terminal() {
        for line in String::from_utf8_lossy(&bytes).lines() {
            writeln!(out, "{}", plain(line))?;
        }
    } else {
        out.write_all(&bytes)?;
    }
    Ok(out.flush()?)
}

/// The list of quarantine entries in the API. A retry decodes every byte of an entry again. So that a request does not
/// take too long, it has at most 100 ids.
const QUARANTINE: Changeable = Changeable {
    path: "quarantine",
    ids: 100,
    unknown: |ids| format!("there are no entries {ids:?} in quarantine"),
};

fn retry(args: &QuarantineRetryArgs, cli: &Cli) -> Result<(), Error> {
    let client = args.admin.client(cli)?;
    let mut results = Vec::new();
    for body in QUARANTINE.bodies(&args.ids) {
        let answer: RetriedList<_> = client.post(&["quarantine", "retry"], &body)?;
        results.extend(answer.results);
    }
    let rows: Vec<Retried<String>> = parse_rows(&results)?;
    let unknown: Vec<_> = rows.iter().filter(|row| row.outcome == "unknown").map(|row| row.id).collect();
    let left = rows.iter().filter(|row| !["stored", "unknown"].contains(&row.outcome.as_str())).count();
    let header = ["ID", "OUTCOME", "ACCEPTED", "DUPLICATES", "UNREADABLE", "CONFLICTS", "CONFLICTS WITH"];
    print_rows(args.json, &results, header, |row: Retried<String>| {
        [
            row.id.to_string(),
            row.outcome,
            row.accepted.to_string(),
            row.duplicates.to_string(),
            row.unreadable.to_string(),
            row.conflicts.to_string(),
            cell(row.conflicts_with),
        ]
    })?;
    if left > 0 {
        return Err(Error::Failed(format!("{left} of the entries could not be stored")));
    }
    QUARANTINE.check_known(&unknown)
}

fn drop_entries(args: &QuarantineDropArgs, cli: &Cli) -> Result<(), Error> {
    let client = args.request.admin.client(cli)?;
    let question =
        format!("{} of the quarantine entries will be deleted permanently. Continue?", args.ids.len());
    confirm(&question, args.yes)?;
    let bodies = QUARANTINE.bodies(&args.ids);
    QUARANTINE.change(&client, "drop", &bodies, "dropped", args.request.json)
}
