//! `bikhook check`: shows the effective configuration, and optionally tests its handlers with stored events and opens
//! their destinations. An invalid configuration fails earlier, when it is loaded.

use std::io::Write;

use clap::ArgGroup;

use super::{Cli, Error, against, connect, output::plain, settings::warn, store::StoreArgs};
use crate::{
    config::{Config, HandlerConfig, Memory, MemoryLimit},
    http::{AuthMode, SourceSettings},
    journal::LaneStart,
};

#[derive(clap::Args)]
#[command(group(ArgGroup::new("asks").args(["against_journal", "connect"]).multiple(true)))]
pub(super) struct CheckArgs {
    /// Also show how many of the last N stored events each handler would take; nothing is delivered
    #[arg(long, value_name = "N")]
    against_journal: Option<usize>,
    /// With --against-journal: show N events per handler, as its destination would see them (contains personal data)
    #[arg(long, value_name = "N", requires = "against_journal", default_value_t = 0)]
    show: usize,
    /// Also open every destination as `serve` does, with the handler's `timeout`, and report errors; exit code 1 if a
    /// destination fails or times out; nothing is delivered
    #[arg(long)]
    connect: bool,
    /// With --against-journal or --connect: print one JSON object per line, and nothing else
    #[arg(long, requires = "asks")]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: &CheckArgs, cli: &Cli, out: &mut impl Write) -> Result<(), Error> {
    let config = cli.load()?;
    warn(&config)?;
    if let Some(shortage) = MemoryLimit::of_process().and_then(|limit| Memory::of(&config).shortage(limit)) {
        writeln!(anstream::stderr().lock(), "warning: {shortage}")?;
    }
    if !args.json {
        print_settings(&config, out)?;
    }
    if let Some(count) = args.against_journal {
        against::run(&config.handlers, &args.store.open(cli)?, count, args.show, args.json, out)?;
    }
    if args.connect {
        connect::run(config.handlers, args.json, out)?;
    }
    Ok(())
}

fn print_settings(config: &Config, out: &mut impl Write) -> Result<(), Error> {
    writeln!(out, "ok")?;
    writeln!(out, "listen   {}", config.http.listen)?;
    let credentials = if config.admin.credentials.is_some() { ", with credentials" } else { "" };
    writeln!(out, "admin    {}{credentials}", config.admin.listen)?;
    for (name, source) in &config.sources {
        writeln!(out, "source   {name}: {} ({})", source.path, credential_names(source))?;
    }
    writeln!(out, "journal  sqlite: {}", config.journal.path.display())?;
    for handler in &config.handlers {
        let start = match handler.start {
            None => String::new(),
            Some(LaneStart::Now) => ", from now".to_owned(),
            Some(LaneStart::Beginning) => ", from the beginning".to_owned(),
            Some(LaneStart::At(time)) => format!(", from {time}"),
        };
        let HandlerConfig { name, kind, destination, .. } = handler;
        writeln!(out, "handler  {name}: {}, {}{start}", kind.name, plain(destination))?;
        if let Some(filter) = handler.wants.in_words() {
            writeln!(out, "  takes  {}", plain(&filter))?;
        }
        if !handler.mask.is_empty() {
            writeln!(out, "  masks  {}", handler.mask.in_words())?;
        }
    }
    for (file, _) in config.not_stored() {
        writeln!(out, "secret   {}: will be created at the first start", file.display())?;
    }
    Ok(())
}

fn credential_names(source: &SourceSettings) -> String {
    match source.auth {
        AuthMode::None => "no authentication".to_owned(),
        AuthMode::Basic => source.credentials.keys().cloned().collect::<Vec<_>>().join(", "),
    }
}
