//! `bikhook clock`: shows the state of the clock, and lets an operator confirm that the wall clock is right.

use clap::Subcommand;
use serde_json::value::RawValue;

use super::{Cli, Error, client::RequestArgs, output::print_object};
use crate::{
    admin::wire::{AcceptedClock, EmptyBody},
    clock::ClockStatus,
};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ClockArgs {
    #[command(subcommand)]
    command: Option<ClockCommand>,
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Subcommand)]
enum ClockCommand {
    /// Trust the wall clock after a jump, and resume deletion by age
    Accept(RequestArgs),
}

pub(super) fn run(args: &ClockArgs, cli: &Cli) -> Result<(), Error> {
    match &args.command {
        Some(ClockCommand::Accept(request)) => accept(request, cli),
        None => show(args, cli),
    }
}

fn show(args: &ClockArgs, cli: &Cli) -> Result<(), Error> {
    let answer: Box<RawValue> = args.request.client(cli)?.get(&["api", "v1", "clock"], &[])?;
    print_object(args.request.json, answer, &["now", "wall", "trusted", "deletion", "unconfirmedUntil"])
}

fn accept(request: &RequestArgs, cli: &Cli) -> Result<(), Error> {
    let answer = request.client(cli)?.post(&["api", "v1", "clock", "accept"], &EmptyBody {})?;
    request.print(answer, |AcceptedClock { accepted, clock: ClockStatus { now, .. } }| match accepted {
        true => format!("the wall clock is accepted: it is {now}"),
        false => format!("the wall clock is already trusted: it is {now}"),
    })
}
