//! `bikhook handlers`: the progress of the handlers, and operator decisions such as pause, resume and skip.

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use serde::de::IgnoredAny;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    Cli, Error,
    client::RequestArgs,
    output::{cell, confirm, lines, parse, plain, stdout, table},
    store::{StoreArgs, not_opened},
};
use crate::{
    admin::wire::{
        self, Before, Believed, EmptyBody, HandlerReport, LaneReport, PauseRequest, PauseRow, Renamed,
        Resumed, Skipped,
    },
    clock::{self, Timestamp},
    journal::{RenameError, RenameRefusal, sqlite::rename_offline},
    settings::{NAME_RULE, Period, is_name},
};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct HandlersArgs {
    #[command(subcommand)]
    command: Option<HandlersCommand>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Subcommand)]
enum HandlersCommand {
    /// Skip undelivered events of a handler (recorded)
    Skip(HandlerSkipArgs),
    /// Pause a handler until it is resumed, also across restarts; no event is lost
    Pause(HandlerPauseArgs),
    /// Resume a paused handler at its cursors
    Resume(HandlerArgs),
    /// Rename a handler that is no longer configured: its cursors, dead letters, set-aside events, replays and pause
    /// move to the new name
    Rename(HandlerRenameArgs),
    /// Retry now everything that waits for a retry, for example after a repair
    Retry(HandlerArgs),
    /// Accept the refusals: events that the destination refuses now become dead letters (recorded)
    Believe(HandlerBelieveArgs),
}

#[derive(clap::Args)]
struct HandlerArgs {
    /// Name of the handler
    name: String,
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(clap::Args)]
struct HandlerBelieveArgs {
    /// Name of the handler
    name: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(clap::Args)]
struct HandlerPauseArgs {
    /// Name of the handler
    name: String,
    /// The reason, shown to other operators
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(clap::Args)]
struct HandlerRenameArgs {
    /// The old name, which must not be configured any more
    old: String,
    /// The new name; without --journal, the running receiver must not have a handler of that name
    new: String,
    /// Rename in this journal of a stopped receiver
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(clap::Args)]
struct HandlerSkipArgs {
    /// Name of the handler
    name: String,
    /// Skip events below this seq, or received before this time
    #[arg(long, value_name = "SEQ|TIME")]
    before: Before,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    request: RequestArgs,
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

pub(super) fn run(args: &HandlersArgs, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(HandlersCommand::Skip(skip)) => skip.run(cli),
        Some(HandlersCommand::Pause(pause)) => pause.run(cli),
        Some(HandlersCommand::Resume(args)) => args.resume(cli),
        Some(HandlersCommand::Rename(rename)) => rename.run(cli),
        Some(HandlersCommand::Retry(args)) => args.retry(cli),
        Some(HandlersCommand::Believe(believe)) => believe.run(cli),
        None => list(args, cli),
    }
}

const HEADER: [&str; 12] = [
    "HANDLER",
    "KIND",
    "LANE",
    "STATE",
    "CURSOR",
    "LAG",
    "WAITS",
    "ASIDE",
    "DEAD",
    "DELIVERED",
    "NEXT TRY",
    "LAST FAILURE",
];

fn list(args: &HandlersArgs, cli: &Cli) -> Result<(), Error> {
    let rows = args.store.open(cli)?.handlers()?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &rows);
    }
    let now = clock::now();
    let mut cells = Vec::new();
    let mut notes = Vec::new();
    for row in &rows {
        let HandlerReport::<LaneReport> { handler, kind, paused, dead, lanes, .. } = parse(row)?;
        notes
            .extend(paused.map(|PauseRow { at, reason }| {
                format!("{handler} is paused since {at}: {}", plain(&reason))
            }));
        let open_error = lanes.iter().find_map(|lane| lane.open_error.as_ref());
        notes.extend(open_error.map(|error| format!("{handler} could not be opened: {}", plain(error))));
        let wait_note = |lane: &LaneReport| {
            let what = lane.waits_for.as_ref()?;
            Some(format!("{handler}, lane {}: {}", lane.lane, plain(what)))
        };
        notes.extend(lanes.iter().filter_map(wait_note));
        cells.extend(lanes.into_iter().enumerate().map(|(at, lane)| {
            [
                handler.to_string(),
                cell(kind.as_ref()),
                lane.lane,
                cell(lane.state),
                lane.cursor.to_string(),
                lane.lag.to_string(),
                cell(Some(lane.lag_seconds).filter(|seconds| *seconds > 0).map(Period::secs)),
                lane.set_aside.to_string(),
                // The dead letters belong to the handler, so show them only for its first lane.
                if at == 0 { dead.to_string() } else { String::new() },
                cell(lane.delivered),
                cell(lane.next_try),
                cell(lane.last_failure.map(|class| failure(class, lane.last_failure_at, now))),
            ]
        }));
    }
    table(out, HEADER, cells)?;
    for note in notes {
        writeln!(out, "{note}")?;
    }
    Ok(out.flush()?)
}

/// The class of the last failure and how long ago it occurred, because it may be over.
fn failure(class: String, at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        Some(at) => format!("{class}, {} ago", elapsed(now.ms_since(at).max(0).unsigned_abs() / 1_000)),
        None => class,
    }
}

/// An elapsed time in its largest unit.
fn elapsed(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl HandlerPauseArgs {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let body = PauseRequest { reason: self.reason.clone() };
        let path = ["api", "v1", "handlers", &self.name, "pause"];
        let answer: Box<RawValue> = self.request.client(cli)?.post(&path, &body)?;
        self.request.print(answer, |_: IgnoredAny| {
            format!("{} is paused: resume it with `bikhook handlers resume {0}`", self.name)
        })
    }
}

impl HandlerArgs {
    fn resume(&self, cli: &Cli) -> Result<(), Error> {
        let path = ["api", "v1", "handlers", &self.name, "resume"];
        let answer: Box<RawValue> = self.request.client(cli)?.post(&path, &EmptyBody {})?;
        self.request.print(answer, |Resumed { resumed, .. }| match resumed {
            true => format!("{} is resumed", self.name),
            false => format!("{} was not paused", self.name),
        })
    }

    fn retry(&self, cli: &Cli) -> Result<(), Error> {
        let path = ["api", "v1", "handlers", &self.name, "retry"];
        let answer: Box<RawValue> = self.request.client(cli)?.post(&path, &EmptyBody {})?;
        self.request.print(answer, |_: IgnoredAny| format!("{} retries now", self.name))
    }
}

impl HandlerRenameArgs {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let Self { old, new, .. } = self;
        let answer: Box<RawValue> = match &self.journal {
            Some(path) => {
                self.check_names(cli)?;
                rename_offline(path, old, new).map_err(|error| match error {
                    RenameError::Open(error) => not_opened(error),
                    other => Error::Failed(other.to_string()),
                })?;
                to_raw_value(&Renamed { handler: old.clone(), to: new.clone() })
                    .map_err(std::io::Error::from)?
            }
            None => {
                let path = ["api", "v1", "handlers", old, "rename"];
                self.request.client(cli)?.post(&path, &wire::RenameRequest { to: new.clone() })?
            }
        };
        self.request.print(answer, |_: IgnoredAny| {
            format!("{old} is renamed to {new}: a section [handlers.{new}] continues at its cursors")
        })
    }

    /// Checks the new name, and that the configuration, if one is given, no longer contains the old name.
    fn check_names(&self, cli: &Cli) -> Result<(), Error> {
        if !is_name(&self.new) {
            return Err(Error::Failed(format!("{:?} is not a name: {NAME_RULE}", self.new)));
        }
        if cli.file().is_some() && cli.load()?.handlers.iter().any(|handler| *handler.name == *self.old) {
            return Err(Error::Failed(RenameRefusal::Configured.to_string()));
        }
        Ok(())
    }
}

impl HandlerBelieveArgs {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let client = self.request.client(cli)?;
        let question = format!(
            "Events that the destination of {:?} refuses now become dead letters. Continue?",
            self.name
        );
        confirm(&question, self.yes)?;
        let path = ["api", "v1", "handlers", &self.name, "believe"];
        let answer: Box<RawValue> = client.post(&path, &EmptyBody {})?;
        self.request.print(answer, |Believed { upto, classes, .. }| match &*classes.join(", ") {
            "" => format!("{} has no refused events that wait", self.name),
            classes => format!(
                "{}: events up to seq {upto} that are refused ({classes}) become dead letters, until one is accepted",
                self.name
            ),
        })
    }
}

impl HandlerSkipArgs {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let Self { name, before, .. } = self;
        let client = self.request.client(cli)?;
        let what = match before {
            Before::Seq(seq) => format!("below seq {seq}"),
            Before::Time(time) => format!("received before {time}"),
        };
        let question = format!("{name:?} will skip its undelivered events {what}. Continue?");
        confirm(&question, self.yes)?;
        let path = ["api", "v1", "handlers", name, "skip"];
        let answer: Box<RawValue> = client.post(&path, &wire::SkipRequest { before: *before })?;
        self.request.print(answer, |Skipped { before, .. }| {
            format!("{name} skips all undelivered events below seq {before}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_how_long_ago_it_was() {
        let now = Timestamp::from_ms(1_767_225_600_000);
        let ago = |seconds: i64| failure("timeout".to_owned(), Some(now.plus_ms(-1_000 * seconds)), now);
        assert_eq!(ago(59), "timeout, 59 s ago");
        assert_eq!(ago(12 * 60 + 30), "timeout, 12 min ago");
        assert_eq!(ago(47 * 3_600), "timeout, 47 h ago");
        assert_eq!(ago(72 * 3_600), "timeout, 3 days ago");
        assert_eq!(ago(-5), "timeout, 0 s ago", "the clock there is ahead");
        assert_eq!(failure("timeout".to_owned(), None, now), "timeout");
    }
}
