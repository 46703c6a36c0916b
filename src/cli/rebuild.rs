//! `bikhook rebuild`: starts a rebuild of insight from the journal, and shows its progress.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::{Client, RequestArgs},
    output::{bar, parse},
};
use crate::admin::wire::{EmptyBody, InsightProgress};

/// The interval between progress requests.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(super) struct RebuildArgs {
    /// Return at once, and do not wait for the end
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    request: RequestArgs,
}

pub(super) fn run(args: &RebuildArgs, cli: &Cli) -> Result<(), Error> {
    let client = args.request.admin.client(cli)?;
    let started: Box<RawValue> = client.post(&["insight", "rebuild"], &EmptyBody {})?;
    let answer = if args.detach { started } else { watch(&client, started)? };
    args.request.print(answer, |InsightProgress { cursor, rebuilding_to, .. }| match rebuilding_to {
        Some(to) => format!("insight is rebuilding up to seq {to}: `bikhook stats` shows its progress"),
        None => format!("insight is rebuilt up to seq {cursor}"),
    })
}

/// Shows the progress until the rebuild ends. Returns the receiver's last answer.
fn watch(client: &Client, mut row: Box<RawValue>) -> Result<Box<RawValue>, Error> {
    let InsightProgress { cursor: from, rebuilding_to: Some(to), .. } = parse(&row)? else { return Ok(row) };
    let bar = bar(to.saturating_sub(from));
    bar.println("insight is rebuilding in the receiver; Ctrl-C does not stop it");
    loop {
        let InsightProgress { cursor, rebuilding_to, .. } = parse(&row)?;
        if rebuilding_to.is_none() {
            return Ok(row);
        }
        bar.set_position(cursor.saturating_sub(from));
        bar.set_message(format!("seq {cursor}"));
        std::thread::sleep(PROGRESS_INTERVAL);
        row = client.get(&["insight"], &[])?;
    }
}
