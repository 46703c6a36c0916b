//! `bikhook clock`: shows the state of the clock, and lets an operator confirm that the wall clock is right.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{lines, members, stdout, told},
};
use crate::clock::Timestamp;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Trust the wall clock after a jump, and resume deletion by age
    Accept(Accept),
}

#[derive(clap::Args)]
struct Accept {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(Command::Accept(accept)) => accept.run(cli),
        None => show(args, cli),
    }
}

fn show(args: &Args, cli: &Cli) -> Result<(), Error> {
    let answer: Box<RawValue> = args.admin.client(cli)?.get(&["api", "v1", "clock"], &[])?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &[answer]);
    }
    members(out, &answer, &["now", "wall", "trusted", "deletion", "unconfirmedUntil"])
}

impl Accept {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Clock {
            accepted: bool,
            now: Timestamp,
        }
        let answer = self.admin.client(cli)?.post(&["api", "v1", "clock", "accept"], &json!({}))?;
        told(self.json, answer, |Clock { accepted, now }| match accepted {
            true => format!("the wall clock is accepted: it is {now}"),
            false => format!("the wall clock is already trusted: it is {now}"),
        })
    }
}
