//! `bikhook check`: what the configuration comes to. One that is wrong does not come here: loading it is the check.

use std::io::Write;

use super::{Cli, Error, against, output::plain, store::StoreArgs};
use crate::{
    config::{Config, HandlerConfig, JournalSettings},
    event::Pointer,
    handler::{FilterSettings, Mask},
    http::{AuthMode, SourceSettings},
    journal::Start,
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Also show what its handlers would take of the last N stored events; nothing is delivered
    #[arg(long, value_name = "N")]
    against_journal: Option<usize>,
    /// With --against-journal: so many events of each handler, as its destination would see them: personal data
    #[arg(long, value_name = "N", requires = "against_journal", default_value_t = 0)]
    show: usize,
    /// With --against-journal: an object a line, and nothing else
    #[arg(long, requires = "against_journal")]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: &Args, cli: &Cli, out: &mut impl Write) -> Result<(), Error> {
    let config = cli.load()?;
    super::warn(&config)?;
    if !args.json {
        comes_to(&config, out)?;
    }
    let Some(count) = args.against_journal else { return Ok(()) };
    let form = against::Form { show: args.show, json: args.json };
    against::run(&config.handlers, &args.store.open(cli)?, count, form, out)
}

fn comes_to(config: &Config, out: &mut impl Write) -> Result<(), Error> {
    writeln!(out, "ok")?;
    writeln!(out, "listen   {}", config.http.listen)?;
    let guarded = if config.admin.credentials.is_some() { ", with credentials" } else { "" };
    writeln!(out, "admin    {}{guarded}", config.admin.listen)?;
    for (name, source) in &config.sources {
        writeln!(out, "source   {name}: {} ({})", source.path, who(source))?;
    }
    let JournalSettings::Sqlite(journal) = &config.journal;
    writeln!(out, "journal  sqlite: {}", journal.path.display())?;
    for handler in &config.handlers {
        let start = match handler.start {
            None => String::new(),
            Some(Start::Now) => ", from now".to_owned(),
            Some(Start::Beginning) => ", from the beginning".to_owned(),
            Some(Start::At(time)) => format!(", from {time}"),
        };
        let HandlerConfig { name, kind, destination, .. } = handler;
        writeln!(out, "handler  {name}: {}, {}{start}", kind.name, plain(destination))?;
        if let Some(filter) = filter(&handler.wants) {
            writeln!(out, "  takes  {}", plain(&filter))?;
        }
        if !handler.mask.is_empty() {
            writeln!(out, "  masks  {}", mask(&handler.mask))?;
        }
    }
    for (file, _) in config.not_stored() {
        writeln!(out, "secret   {}: will be made at the first start", file.display())?;
    }
    Ok(())
}

/// What a filter asks for. Of customers' phones, how many: the output may be kept somewhere.
fn filter(wants: &FilterSettings) -> Option<String> {
    let FilterSettings { events, owners, statuses, channels, sources, stores, messages, phones, conditions } =
        wants;
    let lists = [
        ("events", events),
        ("owners", owners),
        ("statuses", statuses),
        ("channels", channels),
        ("sources", sources),
        ("stores", stores),
    ];
    let listed =
        lists.into_iter().filter_map(|(key, list)| Some(format!("{key} {}", list.as_ref()?.join(", "))));
    let counted = [("messages", messages), ("phones", phones)]
        .into_iter()
        .filter_map(|(key, list)| Some(format!("{key} ({})", list.as_ref()?.len())));
    let looked_at: Vec<&str> = conditions.iter().flatten().map(|one| one.pointer.as_str()).collect();
    let conditions = (!looked_at.is_empty()).then(|| format!("where {}", looked_at.join(", ")));
    let asked: Vec<String> = listed.chain(counted).chain(conditions).collect();
    (!asked.is_empty()).then(|| asked.join("; "))
}

fn mask(mask: &Mask) -> String {
    let all = |pointers: &[Pointer]| pointers.iter().map(Pointer::as_str).collect::<Vec<_>>().join(", ");
    let said = [("drops", mask.dropped()), ("hashes", mask.hashed())];
    let said = said.into_iter().filter(|(_, pointers)| !pointers.is_empty());
    said.map(|(word, pointers)| format!("{word} {}", all(pointers))).collect::<Vec<_>>().join("; ")
}

fn who(source: &SourceSettings) -> String {
    match source.auth {
        AuthMode::None => "everybody".to_owned(),
        AuthMode::Basic => source.credentials.keys().cloned().collect::<Vec<_>>().join(", "),
    }
}
