//! `bikhook replay`: delivers stored events to a handler again, and manages replays.

use std::time::Duration;

use clap::Subcommand;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::{AdminArgs, Client, RequestArgs},
    output::{bar, cell, parse, print_object, print_rows},
    selection::Selection,
};
use crate::{
    admin::wire::{DryRun, EmptyBody, ReplayList, ReplayRequest, ReplayRow, RetriedRows},
    plural::counted,
    settings::keys_of,
};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct ReplayArgs {
    #[command(subcommand)]
    command: Option<ReplayCommand>,
    #[command(flatten)]
    start: ReplayStartArgs,
}

#[derive(clap::Args)]
struct ReplayStartArgs {
    /// Name of the handler to deliver to
    #[arg(long, value_name = "NAME", required = true)]
    handler: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Retry only the dead letters of the handler: its lanes deliver them, and each is removed once it is delivered
    #[arg(long, conflicts_with_all = ["rate", "dry_run"])]
    dead: bool,
    /// Maximum number of events per second
    #[arg(long, value_name = "N")]
    rate: Option<std::num::NonZeroU32>,
    /// Count the events, and deliver nothing
    #[arg(long)]
    dry_run: bool,
    /// Return at once, and do not wait for the end
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Subcommand)]
enum ReplayCommand {
    /// List replays, including those that ended recently
    List(ReplayListArgs),
    /// Show a replay: its selection, its progress, and what it waits for
    Show(ReplayIdArgs),
    /// Pause a replay until it is resumed, also across restarts
    Pause(ReplayIdArgs),
    /// Resume a paused replay
    Resume(ReplayIdArgs),
    /// Cancel a replay; events that it has delivered stay delivered
    Cancel(ReplayIdArgs),
}

#[derive(clap::Args)]
struct ReplayListArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(clap::Args)]
struct ReplayIdArgs {
    /// Id of the replay
    id: i64,
    #[command(flatten)]
    request: RequestArgs,
}

/// The interval between progress requests.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(300);

pub(super) fn run(args: &ReplayArgs, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(ReplayCommand::List(args)) => list(args, cli),
        Some(ReplayCommand::Show(show)) => show.show(cli),
        Some(ReplayCommand::Pause(change)) => change.run(cli, "pause"),
        Some(ReplayCommand::Resume(change)) => change.run(cli, "resume"),
        Some(ReplayCommand::Cancel(change)) => change.run(cli, "cancel"),
        None => args.start.run(cli),
    }
}

/// A replay, with its state as text and its lanes ignored.
type ReplayReport = ReplayRow<String, IgnoredAny>;

impl ReplayReport {
    /// How far the replay is, and the total. Both are numbers of events if the events are counted and there is at least
    /// one; otherwise they are numbers of seqs.
    fn progress(&self) -> (u64, u64) {
        if let (Some(done), Some(events @ 1..)) = (self.done, self.events) {
            return (done, events);
        }
        let all = self.upto.saturating_sub(self.after);
        (self.cursor.map_or(0, |cursor| cursor.saturating_sub(self.after)).min(all), all)
    }
}

impl ReplayStartArgs {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        // clap rejects a start without a handler.
        let handler = self.handler.clone().unwrap_or_default();
        if self.dead {
            return self.retry_dead(cli, handler);
        }
        let client = self.request.admin.client(cli)?;
        let body = ReplayRequest { rate: self.rate, dry_run: self.dry_run, ..self.selection.replay(handler) };
        let answer: Box<RawValue> = client.post(&["replays"], &body)?;
        if self.dry_run {
            return self.print_count(answer);
        }
        if self.detach {
            return self.print(answer);
        }
        let started: ReplayReport = parse(&answer)?;
        let ended = watch(&client, &started)?;
        let last: ReplayReport = parse(&ended)?;
        self.print(ended)?;
        if last.state == "done" {
            return Ok(());
        }
        Err(Error::Failed(format!("replay {} was {} before its end", last.id, last.state)))
    }

    fn retry_dead(&self, cli: &Cli, handler: String) -> Result<(), Error> {
        let body = self.selection.dead_letters(handler);
        self.request.post(cli, &["dead", "retry"], &body, |RetriedRows { retried, .. }| {
            let dead = counted(retried as u64, "dead letter", "dead letters");
            format!("{dead} will be retried: see `bikhook dead list`")
        })
    }

    fn print_count(&self, answer: Box<RawValue>) -> Result<(), Error> {
        self.request.print(answer, |DryRun { handler, events, first, last, .. }| match first.zip(last) {
            Some((first, last)) => {
                let events = counted(events, "event", "events");
                format!("{events} would be delivered to {handler}: seq {first} to {last}")
            }
            None => format!("no event would be delivered to {handler}"),
        })
    }

    fn print(&self, answer: Box<RawValue>) -> Result<(), Error> {
        self.request.print(answer, |replay: ReplayReport| {
            let ReplayReport { id, handler, state, waits, delivered, ended_at, .. } = replay;
            match waits {
                _ if ended_at.is_some() => {
                    let events = delivered.map(|delivered| counted(delivered, "event", "events"));
                    let events = events.unwrap_or_else(|| "- events".to_owned());
                    format!("replay {id} to {handler} is {state}: {events} delivered")
                }
                Some(waits) => format!("replay {id} to {handler} waits: {waits}; see `bikhook replay list`"),
                None => format!("replay {id} to {handler} is running: see `bikhook replay list`"),
            }
        })
    }
}

/// Shows the progress until the replay ends. Returns the receiver's last answer.
fn watch(client: &Client, started: &ReplayReport) -> Result<Box<RawValue>, Error> {
    let id = started.id.to_string();
    let bar = bar(started.progress().1);
    bar.println(format!(
        "replay {id} runs in the receiver; Ctrl-C does not stop it, `bikhook replay cancel {id}` does"
    ));
    loop {
        let row: Box<RawValue> = client.get(&["replays", &id], &[])?;
        let replay: ReplayReport = parse(&row)?;
        let (done, all) = replay.progress();
        bar.set_length(all);
        bar.set_position(done);
        let waits = replay.waits.as_ref().map(|waits| format!(", waits: {waits}")).unwrap_or_default();
        let delivered = replay.delivered.unwrap_or_default();
        bar.set_message(format!("{}{waits}, {delivered} delivered", replay.state));
        if replay.ended_at.is_some() {
            return Ok(row);
        }
        std::thread::sleep(PROGRESS_INTERVAL);
    }
}

fn list(args: &ReplayListArgs, cli: &Cli) -> Result<(), Error> {
    let ReplayList { replays } = args.admin.client(cli)?.get(&["replays"], &[])?;
    let header =
        ["ID", "HANDLER", "STATE", "PROGRESS", "DELIVERED", "FROM", "UPTO", "STARTED", "ENDED", "WAITS FOR"];
    print_rows(args.json, &replays, header, |row: ReplayReport| {
        let (done, all) = row.progress();
        let percent = if row.state == "done" { 100 } else { done * 100 / all.max(1) };
        let known = row.cursor.is_some() || row.ended_at.is_none();
        [
            row.id.to_string(),
            row.handler.to_string(),
            row.state,
            cell(known.then(|| format!("{percent} %"))),
            cell(row.delivered),
            (row.after + 1).to_string(),
            row.upto.to_string(),
            row.created_at.to_string(),
            cell(row.ended_at),
            cell(row.waits),
        ]
    })
}

impl ReplayIdArgs {
    fn show(&self, cli: &Cli) -> Result<(), Error> {
        let path = ["replays", &self.id.to_string()];
        let row: Box<RawValue> = self.request.admin.client(cli)?.get(&path, &[])?;
        let keys = keys_of::<ReplayReport>().iter().copied().filter(|key| *key != "lanes");
        print_object(self.request.json, row, &keys.collect::<Vec<_>>())
    }

    fn run(&self, cli: &Cli, verb: &str) -> Result<(), Error> {
        let path = ["replays", &self.id.to_string(), verb];
        self.request.post(cli, &path, &EmptyBody {}, |ReplayReport { id, handler, state, .. }| {
            format!("replay {id} to {handler} is {state}")
        })
    }
}
