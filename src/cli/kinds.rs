//! `bikhook kinds`: lists the handler kinds in this binary.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::Error;
use crate::handler::{KINDS, KindRow};

#[derive(clap::Args)]
pub(super) struct KindsArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &KindsArgs, out: &mut impl Write) -> Result<(), Error> {
    if args.json {
        for row in KINDS {
            serde_json::to_writer(&mut *out, &KindLine::of(row)).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["KIND", "BATCH", "CONCURRENCY", "KEYS", "ABOUT"]);
    for row in KINDS {
        let line = KindLine::of(row);
        table.add_row([
            line.kind.to_owned(),
            line.batch.to_string(),
            line.concurrency.to_string(),
            line.keys.join(" "),
            line.about.to_owned(),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// The row of a kind. `batch` and `concurrency` are its defaults.
#[derive(Serialize)]
struct KindLine {
    kind: &'static str,
    about: &'static str,
    batch: usize,
    concurrency: usize,
    keys: &'static [&'static str],
}

impl KindLine {
    fn of(row: &KindRow) -> Self {
        Self {
            kind: row.name,
            about: row.about,
            batch: row.batch,
            concurrency: row.concurrency,
            keys: (row.keys)(),
        }
    }
}
