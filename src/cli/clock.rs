//! `bikhook clock`: shows the state of the clock, and lets an operator confirm that the wall clock is right.

use clap::Subcommand;

use super::{Cli, Error, client::RequestArgs, output::print_object};
use crate::{
    admin::wire::{AcceptedClock, EmptyBody},
    clock::ClockStatus,
    settings::keys_of,
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
        Some(ClockCommand::Accept(request)) => {
            request.post(cli, &["clock", "accept"], &EmptyBody {}, |AcceptedClock { accepted, clock }| {
                let state = if accepted { "accepted" } else { "already trusted" };
                format!("the wall clock is {state}: it is {}", clock.now)
            })
        }
        None => {
            let answer = args.request.admin.client(cli)?.get(&["clock"], &[])?;
            print_object(args.request.json, answer, keys_of::<ClockStatus>())
        }
    }
}
