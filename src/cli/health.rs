//! `bikhook health`: exits with code 0 if the receiver is alive, and 1 if a supervisor should restart it.

use std::io::Write;

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{lines, stdout},
};

#[derive(clap::Args)]
pub(super) struct HealthArgs {
    /// Print one JSON object, which also says whether the receiver can store events
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &HealthArgs, cli: &Cli) -> Result<(), Error> {
    let answer = args.admin.health(cli)?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &[answer]);
    }
    writeln!(out, "alive")?;
    Ok(out.flush()?)
}
