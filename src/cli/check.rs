//! `bikhook check`: what the configuration comes to. One that is wrong does not come here: loading it is the check.

use std::io::Write;

use super::Error;
use crate::{
    config::{Config, JournalSettings},
    http::{AuthMode, SourceSettings},
    journal::Start,
};

pub(super) fn run(config: &Config, out: &mut impl Write) -> Result<(), Error> {
    super::warn(config)?;
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
        writeln!(out, "handler  {}: {}{start}", handler.name, handler.kind.name)?;
    }
    for (file, _) in config.not_stored() {
        writeln!(out, "secret   {}: will be made at the first start", file.display())?;
    }
    Ok(())
}

fn who(source: &SourceSettings) -> String {
    match source.auth {
        AuthMode::None => "everybody".to_owned(),
        AuthMode::Basic => source.credentials.keys().cloned().collect::<Vec<_>>().join(", "),
    }
}
