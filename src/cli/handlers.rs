//! `bikhook handlers`: lists the handlers with their progress. Its subcommands, such as `pause` and `believe`, change
//! one handler.

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::RequestArgs,
    output::{ALL_LANES, NOT_APPLICABLE, cell, confirm, lines, parse, plain, stdout, table},
    selection::time,
    store::{StoreArgs, not_opened, raw},
};
use crate::{
    admin::wire::{
        self, Before, Believed, EmptyBody, HandlerReport, LaneReport, PauseRequest, Renamed, Resumed, Skipped,
    },
    clock::{self, Timestamp},
    journal::{Pause, RenameError, RenameRefusal, sqlite::rename_offline},
    plural::counted,
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
    /// Skip undelivered events of a handler; this is recorded in the log
    Skip(HandlerSkipArgs),
    /// Pause a handler until it is resumed, also across restarts; no event is lost
    Pause(HandlerPauseArgs),
    /// Resume a paused handler at its cursors
    Resume(HandlerArgs),
    /// Rename a handler that is no longer configured: its pause, cursors, dead letters, set-aside events and replays
    /// move to the new name
    Rename(HandlerRenameArgs),
    /// Immediately retry all events that wait for a retry (useful after the destination is repaired)
    Retry(HandlerArgs),
    /// Turn the events that the destination currently refuses into dead letters; this is recorded in the log
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
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    handler: HandlerArgs,
}

#[derive(clap::Args)]
struct HandlerPauseArgs {
    /// The reason, shown to other operators
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    handler: HandlerArgs,
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
    /// Skip events below this seq, or received before this time
    #[arg(long, value_name = "SEQ|TIME")]
    before: Before,
    /// Count the events, and skip none
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    handler: HandlerArgs,
}

impl std::str::FromStr for Before {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        time(text).map(Self::Time).map_err(|_not_a_time| {
            format!(
                "{text:?} is neither a seq nor a time such as 2026-01-31T09:30:00Z, 2026-01-31, 2h or today"
            )
        })
    }
}

pub(super) fn run(args: &HandlersArgs, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(HandlersCommand::Skip(args)) => skip(args, cli),
        Some(HandlersCommand::Pause(HandlerPauseArgs { reason, handler: HandlerArgs { name, request } })) => {
            let body = PauseRequest { reason: reason.clone() };
            request.post(cli, &["handlers", name, "pause"], &body, |_: IgnoredAny| {
                format!("{name} is paused: resume it with `bikhook handlers resume {name}`")
            })
        }
        Some(HandlersCommand::Resume(HandlerArgs { name, request })) => {
            request.post(cli, &["handlers", name, "resume"], &EmptyBody {}, |Resumed { resumed, .. }| {
                format!("{name} {}", if resumed { "is resumed" } else { "was not paused" })
            })
        }
        Some(HandlersCommand::Rename(rename)) => rename.run(cli),
        Some(HandlersCommand::Retry(HandlerArgs { name, request })) => {
            request.post(cli, &["handlers", name, "retry"], &EmptyBody {}, |_: IgnoredAny| {
                format!("{name} retries now")
            })
        }
        Some(HandlersCommand::Believe(args)) => believe(args, cli),
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
        if let Some(Pause { at, reason }) = paused {
            notes.push(format!("{handler} is paused since {at}: {}", plain(&reason)));
        }
        if let Some(error) = lanes.iter().find_map(|lane| lane.open_error.as_ref()) {
            notes.push(format!("{handler} could not be opened: {}", plain(error)));
        }
        for LaneReport { lane, waits_for, .. } in &lanes {
            let note = |what: &String| format!("{handler}, lane {lane}: {}", plain(what));
            notes.extend(waits_for.as_ref().map(note));
        }
        cells.push(whole(&handler, kind.as_deref(), dead));
        cells.extend(lanes.into_iter().map(|lane| {
            [
                handler.to_string(),
                cell(kind.as_ref()),
                lane.lane,
                cell(lane.state),
                lane.cursor.to_string(),
                lane.lag.to_string(),
                cell(Some(lane.lag_seconds).filter(|seconds| *seconds > 0).map(Period::secs)),
                lane.set_aside.to_string(),
                NOT_APPLICABLE.to_owned(),
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

/// The row of a handler as a whole. This row has the number of dead letters, because they are counted per handler and
/// not per lane.
fn whole(handler: &str, kind: Option<&str>, dead: u64) -> [String; HEADER.len()] {
    let [state, cursor, lag, waits, aside, delivered, next_try, last_failure] =
        std::array::from_fn(|_| NOT_APPLICABLE.to_owned());
    let (handler, kind, lane) = (handler.to_owned(), cell(kind), ALL_LANES.to_owned());
    [
        handler,
        kind,
        lane,
        state,
        cursor,
        lag,
        waits,
        aside,
        dead.to_string(),
        delivered,
        next_try,
        last_failure,
    ]
}

/// The error class of the last failure, and how long ago it occurred. The age is shown because the destination may have
/// recovered since then.
fn failure(class: String, at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        Some(at) => format!("{class}, {} ago", elapsed(now.ms_since(at).max(0).unsigned_abs() / 1_000)),
        None => class,
    }
}

/// An elapsed time in one unit, rounded down.
fn elapsed(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
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
                raw(&Renamed { handler: old.clone(), to: new.clone() })?
            }
            None => {
                let body = wire::RenameRequest { to: new.clone() };
                self.request.admin.client(cli)?.post(&["handlers", old, "rename"], &body)?
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

fn believe(args: &HandlerBelieveArgs, cli: &Cli) -> Result<(), Error> {
    let HandlerArgs { name, request } = &args.handler;
    let client = request.admin.client(cli)?;
    let question =
        format!("Events that the destination of {name:?} refuses now will become dead letters. Continue?");
    confirm(&question, args.yes)?;
    let answer = client.post(&["handlers", name, "believe"], &EmptyBody {})?;
    request.print(answer, |Believed { upto, classes, .. }| match &*classes.join(", ") {
        "" => format!("{name} has no refused events that wait"),
        classes => format!(
            "{name}: events up to seq {upto} that are refused ({classes}) become dead letters, until one is \
             accepted"
        ),
    })
}

fn skip(args: &HandlerSkipArgs, cli: &Cli) -> Result<(), Error> {
    let HandlerArgs { name, request } = &args.handler;
    let client = request.admin.client(cli)?;
    let ask = |dry_run| -> Result<Box<RawValue>, Error> {
        let body = wire::SkipRequest { before: args.before, dry_run };
        client.post(&["handlers", name, "skip"], &body)
    };
    if !args.dry_run && !args.yes {
        let Skipped { before, events, in_flight, .. } = parse(&ask(true)?)?;
        let what = undelivered(events, in_flight);
        confirm(&format!("{name:?} will skip {what} below seq {before}. Continue?"), false)?;
    }
    request.print(ask(args.dry_run)?, |Skipped { before, events, in_flight, dry_run, .. }| {
        let verb = if dry_run { "would skip" } else { "skips" };
        format!("{name} {verb} {} below seq {before}", undelivered(events, in_flight))
    })
}

/// Describes the events to skip, with their number. `events` is `None` if the receiver could not count them.
fn undelivered(events: Option<u64>, in_flight: u64) -> String {
    let counted = match events {
        Some(events) => counted(events, "undelivered event", "undelivered events"),
        None => "an unknown number of undelivered events".to_owned(),
    };
    match in_flight {
        0 => counted,
        _ => format!("{counted}, and those of {in_flight} in flight that fail,"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_events_that_could_not_be_counted_are_an_unknown_number() {
        assert_eq!(undelivered(Some(1), 0), "1 undelivered event");
        assert_eq!(undelivered(None, 0), "an unknown number of undelivered events");
    }

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
