//! `bikhook clock`: shows the state of the clock, and lets an operator confirm that the wall clock is right.

use clap::Subcommand;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{shown, told},
};
use crate::{
    admin::wire::{AcceptedClock, Nothing},
    clock::ClockStatus,
};

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
    shown(args.json, answer, &["now", "wall", "trusted", "deletion", "unconfirmedUntil"])
}

impl Accept {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let answer = self.admin.client(cli)?.post(&["api", "v1", "clock", "accept"], &Nothing {})?;
        told(self.json, answer, |AcceptedClock { accepted, clock: ClockStatus { now, .. } }| match accepted {
            true => format!("the wall clock is accepted: it is {now}"),
            false => format!("the wall clock is already trusted: it is {now}"),
        })
    }
}
