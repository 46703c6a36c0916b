//! `bikhook tail`: prints new events as they arrive.
//!
//! It starts after the newest event, or after the seq of `--after`. After a lost connection it continues with the event
//! after the last received one. A restart of the receiver therefore loses no events and repeats none.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::{
    Cli, Error,
    client::{AdminArgs, Client, Parameter, StreamError},
    events::{HEADER, cells},
    output::{plain, stdout},
    selection::ContentArgs,
    signals::Signals,
    stream::{MessageStream, StreamMessage},
};

/// The read timeout. The receiver sends something every few seconds, so a longer silence means that the connection is
/// lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(20);
/// The first and the maximum delay before a reconnect.
const RECONNECT_DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// The interval between checks whether standard output still has a reader.
const READER_CHECK_INTERVAL: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    content: ContentArgs,
    /// Only events of this source; bikhook's own notices of dead letters have the source bikhook, and are left out
    /// unless a source or an event name is given
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

pub(super) fn run(args: &TailArgs, cli: &Cli) -> Result<(), Error> {
    let client = args.admin.client_with_timeout(cli, SILENCE_TIMEOUT)?;
    let after = match args.after {
        Some(after) => after,
        // Read the tip before the stream is opened. Otherwise an event that arrives before the stream is open would be
        // missed.
        None => client.tip()?,
    };
    if !args.json && io::stdout().is_terminal() {
        writeln!(stdout(), "{}", columns(HEADER))?;
    }
    client.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            ended = args.follow(&client, after) => ended,
            () = signals.next() => Ok(()),
            () = stdout_closed() => Ok(()),
        }
    })
}

impl TailArgs {
    async fn follow(&self, client: &Client, mut after: u64) -> Result<(), Error> {
        let mut was_connected = false;
        let mut wait = RECONNECT_DELAYS[0];
        loop {
            match client.open(&["tail"], &self.parameters(after)).await {
                Ok(response) => {
                    if wait > RECONNECT_DELAYS[0] {
                        print_hint("the receiver is reachable again");
                    }
                    was_connected = true;
                    wait = RECONNECT_DELAYS[0];
                    let mut stream = MessageStream::new(response);
                    while let Some(StreamMessage { id, data }) = stream.next().await {
                        if let Some(line) = data {
                            self.print(&line)?;
                        }
                        after = id.and_then(|id| id.parse().ok()).unwrap_or(after);
                    }
                }
                Err(StreamError::Unavailable(error)) if !was_connected => return Err(error),
                Err(StreamError::Rejected(error)) => return Err(error),
                Err(StreamError::Unavailable(_)) => {}
            }
            sleep(wait).await;
            if wait == RECONNECT_DELAYS[0] {
                print_hint(
                    "the receiver is unreachable: events that it receives are shown once it is reachable again",
                );
            }
            wait = (wait * 2).min(RECONNECT_DELAYS[1]);
        }
    }

    fn parameters(&self, after: u64) -> Vec<Parameter> {
        let source = self.source.iter().map(|source| ("source", source.clone()));
        self.content.parameters().chain(source).chain([("after", after.to_string())]).collect()
    }

    fn print(&self, line: &str) -> Result<(), Error> {
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
fn columns([seq, received, source, event, status, channel, id, message]: [&str; 8]) -> String {
    format!(
        "{seq:<8}  {received:<24}  {source:<8}  {event:<22}  {status:<9}  {channel:<9}  {id:<24}  {message}"
    )
}

/// Prints a hint. If the hint cannot be written, the events are still printed.
fn print_hint(what: &str) {
    drop(writeln!(anstream::stderr(), "{what}"));
}

/// Resolves when the reader of standard output is gone (`| head`), even if there is nothing to write.
async fn stdout_closed() {
    loop {
        sleep(READER_CHECK_INTERVAL).await;
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let result = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if result.is_ok() && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return;
        }
    }
}
