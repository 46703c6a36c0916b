//! `bikhook dead`: lists, shows, retries and drops dead letters.

use clap::Subcommand;

use super::{
    Cli, Error,
    changes::Changeable,
    client::RequestArgs,
    output::{cell, confirm, print_object, print_rows},
    selection::Selection,
    store::{ListArgs, StoreArgs, newest},
};
use crate::{admin::wire::DeadRow, event::excerpt, journal::DeadQuery, settings::keys_of};

/// The table shows only this many characters of an error.
const ERROR_CHARS: usize = 80;

#[derive(Subcommand)]
pub(super) enum DeadCommand {
    /// List dead letters
    List(DeadListArgs),
    /// Show a dead letter with its error and its event (contains personal data)
    Show(DeadShowArgs),
    /// Deliver dead letters again
    Retry(DeadChangeArgs),
    /// Delete dead letters permanently
    Drop(DeadDropArgs),
}

#[derive(clap::Args)]
pub(super) struct DeadListArgs {
    /// Only dead letters of this handler
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(clap::Args)]
pub(super) struct DeadShowArgs {
    /// Id of the dead letter
    id: i64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args)]
pub(super) struct DeadChangeArgs {
    /// Ids of the dead letters
    ids: Vec<i64>,
    /// Instead of ids: the dead letters of this handler that match the selection, or all with --all
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
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(clap::Args)]
pub(super) struct DeadDropArgs {
    #[command(flatten)]
    change: DeadChangeArgs,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(command: &DeadCommand, cli: &Cli) -> Result<(), Error> {
    match command {
        DeadCommand::List(args) => list(args, cli),
        DeadCommand::Show(args) => show(args, cli),
        DeadCommand::Retry(change) => change.run(cli, "retry"),
        DeadCommand::Drop(DeadDropArgs { change, .. }) if change.dry_run => change.run(cli, "drop"),
        DeadCommand::Drop(DeadDropArgs { change, yes }) => {
            change.check_selects()?;
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

fn list(args: &DeadListArgs, cli: &Cli) -> Result<(), Error> {
    let ListArgs { limit, json, store } = &args.list;
    let store = store.open(cli)?;
    let rows = newest(limit, |before, limit| {
        let query = DeadQuery { handler: args.handler.clone(), before, limit };
        store.dead(&query, &args.selection)
    })?;
    let header = [
        "ID", "DIED", "HANDLER", "LANE", "SEQ", "EVENT", "MESSAGE", "CAUSE", "ATTEMPTS", "RETRYING", "ERROR",
    ];
    print_rows(*json, &rows, header, |row: DeadRow| {
        [
            row.id.to_string(),
            row.died_at.to_string(),
            row.handler.to_string(),
            row.lane.into_owned(),
            row.seq.to_string(),
            row.event_name,
            cell(row.message_id),
            row.cause.into_owned(),
            row.attempts.to_string(),
            if row.retrying { "yes" } else { "no" }.to_owned(),
            excerpt(&row.failure, ERROR_CHARS).into_owned(),
        ]
    })
}

fn show(args: &DeadShowArgs, cli: &Cli) -> Result<(), Error> {
    let row = args.store.open(cli)?.dead_letter(args.id)?;
    let keys = [keys_of::<DeadRow>(), &["error", "history", "event"]].concat();
    print_object(args.json, row, &keys)
}

const DEAD: Changeable =
    Changeable { path: "dead", ids: 1_000, unknown: |ids| format!("there are no dead letters {ids:?}") };

impl DeadChangeArgs {
    fn run(&self, cli: &Cli, verb: &str) -> Result<(), Error> {
        self.check_selects()?;
        let client = self.request.admin.client(cli)?;
        let mut bodies = DEAD.bodies(&self.ids);
        if let Some(handler) = &self.handler {
            bodies.push(self.selection.dead_letters(handler.clone()));
        }
        bodies.iter_mut().for_each(|body| body.dry_run = self.dry_run.then_some(true));
        let done = match (verb, self.dry_run) {
            ("retry", true) => "would be retried",
            ("retry", false) => "will be retried",
            (_, true) => "would be deleted permanently",
            (_, false) => "dropped",
        };
        DEAD.change(&client, verb, &bodies, done, self.request.json)
    }

    /// Checks that the arguments select dead letters. To select all dead letters of a handler, `--all` is needed.
    fn check_selects(&self) -> Result<(), Error> {
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
}
