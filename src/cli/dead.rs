//! `bikhook dead`: lists, shows, retries and drops dead letters.

use std::io::Write;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    Cli, Error,
    client::{AdminArgs, Client},
    output::{confirm, lines, members, parse, stdout, table},
    selection::Selection,
    store::{Limit, StoreArgs, newest},
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List dead letters
    List(List),
    /// Show a dead letter with its error and its event (contains personal data)
    Show(Show),
    /// Deliver dead letters again
    Retry(Change),
    /// Delete dead letters permanently
    Drop(Drop),
}

#[derive(clap::Args)]
struct List {
    /// Only dead letters of this handler
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    #[command(flatten)]
    selection: Selection,
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
    /// Id of the dead letter
    id: i64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args)]
struct Change {
    /// Ids of the dead letters
    ids: Vec<i64>,
    /// Instead of ids: the dead letters of this handler that match the selection, or --all
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    handler: Option<String>,
    /// All dead letters of the handler
    #[arg(long, requires = "handler", conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    selection: Selection,
    /// Count the dead letters, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(clap::Args)]
struct Drop {
    #[command(flatten)]
    change: Change,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Command::List(list) => list.run(cli),
        Command::Show(show) => show.run(cli),
        Command::Retry(change) => change.run(cli, "retry"),
        Command::Drop(Drop { change, .. }) if change.dry_run => change.run(cli, "drop"),
        Command::Drop(Drop { change, yes }) => {
            change.names_some()?;
            let what = match &change.handler {
                Some(handler) if change.selection.is_everything() => {
                    format!("Every dead letter of {handler:?}")
                }
                Some(handler) => format!("Every dead letter of {handler:?} that matches"),
                None => format!("{} of the dead letters", change.ids.len()),
            };
            confirm(&format!("{what} will be deleted permanently. Continue?"), *yes)?;
            change.run(cli, "drop")
        }
    }
}

/// The columns of a dead letter in the table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: i64,
    handler: String,
    lane: String,
    seq: u64,
    event_name: String,
    cause: String,
    attempts: u32,
    died_at: String,
    retrying: bool,
}

impl List {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let store = self.store.open(cli)?;
        let rows = newest(&self.limit, |before, limit| {
            store.dead(self.handler.as_deref(), &self.selection, before, limit)
        })?;
        let out = &mut stdout();
        if self.json {
            return lines(out, &rows);
        }
        let rows = rows.iter().map(|row| parse(row)).collect::<Result<Vec<Row>, _>>()?;
        let header = ["ID", "DIED", "HANDLER", "LANE", "SEQ", "EVENT", "CAUSE", "ATTEMPTS", "RETRYING"];
        let cells = rows.into_iter().map(|row| {
            [
                row.id.to_string(),
                row.died_at,
                row.handler,
                row.lane,
                row.seq.to_string(),
                row.event_name,
                row.cause,
                row.attempts.to_string(),
                if row.retrying { "yes" } else { "no" }.to_owned(),
            ]
        });
        table(out, header, cells)
    }
}

impl Show {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let row = self.store.open(cli)?.dead_letter(self.id)?;
        let out = &mut stdout();
        if self.json {
            return lines(out, &[row]);
        }
        let keys = [
            "id",
            "handler",
            "lane",
            "seq",
            "receivedAt",
            "source",
            "eventName",
            "cause",
            "attempts",
            "diedAt",
            "retrying",
            "error",
            "history",
            "event",
        ];
        members(out, &row, &keys)
    }
}

/// The maximum number of ids in one request.
const IDS: usize = 1_000;

#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "retried", alias = "dropped", alias = "matches")]
    done: u64,
    unknown: Vec<i64>,
}

impl Change {
    fn run(&self, cli: &Cli, verb: &str) -> Result<(), Error> {
        self.names_some()?;
        let client = self.admin.client(cli)?;
        let mut sum = Answer { done: 0, unknown: Vec::new() };
        if let Some(handler) = &self.handler {
            let mut body = Map::new();
            body.insert("handler".to_owned(), json!(handler));
            body.insert("all".to_owned(), json!(true));
            sum = self.ask(&client, verb, self.selection.members(body))?;
        }
        for ids in self.ids.chunks(IDS) {
            let mut body = Map::new();
            body.insert("ids".to_owned(), json!(ids));
            let Answer { done, unknown } = self.ask(&client, verb, body)?;
            sum.done += done;
            sum.unknown.extend(unknown);
        }
        self.report(verb, &sum)?;
        if sum.unknown.is_empty() {
            return Ok(());
        }
        Err(Error::Failed(format!("there are no dead letters {:?}", sum.unknown)))
    }

    /// Checks that the arguments select dead letters: selecting all of them needs `--all`.
    fn names_some(&self) -> Result<(), Error> {
        let selects = !self.selection.is_everything();
        let what = match (&self.handler, self.ids.is_empty()) {
            (None, false) if selects => {
                "ids cannot be combined with a selection: give one of the two".to_owned()
            }
            (None, true) if selects => "no handler is given: add --handler NAME to the selection".to_owned(),
            (None, true) => {
                "no dead letters are selected: give ids, --handler NAME with a selection (such as --status failed), \
                             or --handler NAME --all"
                    .to_owned()
            }
            (Some(handler), _) if !selects && !self.all => {
                format!(
                    "no dead letters of {handler:?} are selected: add a selection (such as --status failed), \
                     or --all"
                )
            }
            _ => return Ok(()),
        };
        Err(Error::Failed(what))
    }

    fn ask(&self, client: &Client, verb: &str, mut body: Map<String, Value>) -> Result<Answer, Error> {
        if self.dry_run {
            body.insert("dryRun".to_owned(), json!(true));
        }
        let answer: Box<RawValue> = client.post(&["api", "v1", "dead", verb], &body)?;
        parse(&answer)
    }

    fn report(&self, verb: &str, Answer { done, unknown }: &Answer) -> Result<(), Error> {
        let out = &mut stdout();
        match (verb, self.dry_run) {
            (_, true) if self.json => {
                writeln!(out, "{}", json!({"dryRun": true, "matches": done, "unknown": unknown}))?;
            }
            ("retry", _) if self.json => writeln!(out, "{}", json!({"retried": done, "unknown": unknown}))?,
            _ if self.json => writeln!(out, "{}", json!({"dropped": done, "unknown": unknown}))?,
            ("retry", true) => writeln!(out, "{done} would be retried")?,
            ("retry", false) => writeln!(out, "{done} will be retried")?,
            (_, true) => writeln!(out, "{done} would be deleted permanently")?,
            (_, false) => writeln!(out, "{done} dropped")?,
        }
        Ok(out.flush()?)
    }
}
