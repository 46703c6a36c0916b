//! `bikhook clock`: shows the state of the clock, and lets an operator confirm that the wall clock is right.

use clap::Subcommand;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{print_answer, print_object},
};
use crate::{
    admin::wire::{AcceptedClock, Nothing},
    clock::ClockStatus,
};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ClockArgs {
    #[command(subcommand)]
    command: Option<ClockCommand>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Subcommand)]
enum ClockCommand {
    /// Trust the wall clock after a jump, and resume deletion by age
    Accept(AcceptArgs),
}

#[derive(clap::Args)]
struct AcceptArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &ClockArgs, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(ClockCommand::Accept(accept)) => accept.run(cli),
        None => show(args, cli),
    }
}

fn show(args: &ClockArgs, cli: &Cli) -> Result<(), Error> {
    let answer: Box<RawValue> = args.admin.client(cli)?.get(&["api", "v1", "clock"], &[])?;
    print_object(args.json, answer, &["now", "wall", "trusted", "deletion", "unconfirmedUntil"])
}

impl AcceptArgs {
    fn run(&self, cli: &Cli) -> Result<(), Error> {
        let answer = self.admin.client(cli)?.post(&["api", "v1", "clock", "accept"], &Nothing {})?;
        print_answer(self.json, answer, |AcceptedClock { accepted, clock: ClockStatus { now, .. } }| {
            match accepted {
                true => format!("the wall clock is accepted: it is {now}"),
                false => format!("the wall clock is already trusted: it is {now}"),
            }
        })
    }
}
