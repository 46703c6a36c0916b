//! `bikhook rebuild`: insight reads the whole journal again.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::{AdminArgs, Client},
    output::{bar, parse, told},
};
use crate::admin::wire::{InsightProgress, Nothing};

/// The interval between progress requests.
const EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(super) struct Args {
    /// Return at once, and do not wait for the end
    #[arg(long)]
    detach: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    let client = args.admin.client(cli)?;
    let begun: Box<RawValue> = client.post(&["api", "v1", "insight", "rebuild"], &Nothing {})?;
    let answer = if args.detach { begun } else { watch(&client, begun)? };
    told(args.json, answer, |InsightProgress { cursor, rebuilding_to, .. }| match rebuilding_to {
        Some(to) => format!("insight is rebuilding up to seq {to}: `bikhook stats` shows its progress"),
        None => format!("insight is rebuilt up to seq {cursor}"),
    })
}

/// Shows the progress until the rebuild ends. Returns the last answer.
fn watch(client: &Client, begun: Box<RawValue>) -> Result<Box<RawValue>, Error> {
    let mut row = begun;
    let InsightProgress { cursor: from, rebuilding_to: Some(to), .. } = parse(&row)? else { return Ok(row) };
    let bar = bar(to.saturating_sub(from));
    bar.println("insight is rebuilding in the receiver; Ctrl-C does not stop it");
    loop {
        let InsightProgress { cursor, rebuilding_to, .. } = parse(&row)?;
        if rebuilding_to.is_none() {
            bar.finish_and_clear();
            return Ok(row);
        }
        bar.set_position(cursor.saturating_sub(from));
        bar.set_message(format!("seq {cursor}"));
        std::thread::sleep(EVERY);
        row = client.get(&["api", "v1", "insight"], &[])?;
    }
}
