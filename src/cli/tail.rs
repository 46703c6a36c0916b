//! `bikhook tail`: prints new events as they arrive.
//!
//! It starts after the newest event and reconnects after the last event received. A restart of the receiver therefore
//! loses no events and repeats none.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::{
    Cli, Error,
    client::{AdminArgs, Away, Client},
    events::cells,
    output::{plain, stdout},
    selection::Content,
    signals::Signals,
    stream::{Message, Stream},
};

/// The read timeout. The receiver sends something every few seconds, so a longer silence means that it is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// The first and the maximum delay before a reconnect.
const AWAY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// The interval between checks whether standard output still has a reader.
const LOOK: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    content: Content,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Start after this seq [default: the newest event]
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Print one JSON object per line, with the whole event, as `events --json` does (contains personal data)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    let client = args.admin.patient(cli, SILENCE)?;
    let after = match args.after {
        Some(after) => after,
        // Read first, because an event that arrives before the tail is open would be missed.
        None => client.tip()?,
    };
    if !args.json && io::stdout().is_terminal() {
        writeln!(stdout(), "{}", columns(["SEQ", "RECEIVED", "SOURCE", "EVENT", "STATUS", "CHANNEL", "ID"]))?;
    }
    client.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            ended = args.follow(&client, after) => ended,
            () = signals.next() => Ok(()),
            () = nobody_reads() => Ok(()),
        }
    })
}

impl Args {
    async fn follow(&self, client: &Client, mut after: u64) -> Result<(), Error> {
        let mut been_there = false;
        let mut wait = AWAY[0];
        loop {
            match client.open(&["api", "v1", "tail"], &self.parameters(after)).await {
                Ok(response) => {
                    if wait > AWAY[0] {
                        note("the receiver is reachable again");
                    }
                    been_there = true;
                    wait = AWAY[0];
                    let mut stream = Stream::new(response);
                    while let Some(Message { id, data }) = stream.next().await {
                        if let Some(line) = data {
                            self.tell(&line)?;
                        }
                        after = id.and_then(|id| id.parse().ok()).unwrap_or(after);
                    }
                }
                Err(Away::Gone(error)) if !been_there => return Err(error),
                Err(Away::Refused(error)) => return Err(error),
                Err(Away::Gone(_)) => {}
            }
            sleep(wait).await;
            if wait == AWAY[0] {
                note(
                    "the receiver is unreachable: events that it receives are shown once it is reachable again",
                );
            }
            wait = (wait * 2).min(AWAY[1]);
        }
    }

    fn parameters(&self, after: u64) -> Vec<(&'static str, String)> {
        let source = self.source.iter().map(|source| ("source", source.clone()));
        self.content.parameters().chain(source).chain([("after", after.to_string())]).collect()
    }

    fn tell(&self, line: &str) -> Result<(), Error> {
        let mut out = stdout();
        if self.json {
            writeln!(out, "{line}")?;
        } else {
            let row: &RawValue = serde_json::from_str(line).map_err(|error| {
                Error::Failed(format!(
                    "cannot read an event: {error}: is the receiver of the same version as this command?"
                ))
            })?;
            let cells = cells(row)?.map(|cell| plain(&cell));
            writeln!(out, "{}", columns(cells.each_ref().map(String::as_str)))?;
        }
        Ok(out.flush()?)
    }
}

/// Formats a row with fixed column widths, because later rows are not known yet.
fn columns([seq, received, source, event, status, channel, id]: [&str; 7]) -> String {
    format!("{seq:<8}  {received:<24}  {source:<8}  {event:<22}  {status:<9}  {channel:<9}  {id}")
}

/// Prints a hint. The events are printed even if it cannot be written.
fn note(what: &str) {
    drop(writeln!(anstream::stderr(), "{what}"));
}

/// Resolves when the reader of standard output is gone (`| head`), even if there is nothing to write.
async fn nobody_reads() {
    loop {
        sleep(LOOK).await;
        let stdout = io::stdout();
        let mut looked = [PollFd::new(&stdout, PollFlags::empty())];
        let found = poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if found.is_ok() && looked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return;
        }
    }
}
