//! `bikhook kinds`: lists the handler kinds in this binary.

use std::io::{self, Write};

use serde::Serialize;

use super::{Error, output::table};
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
    let cells = KINDS.iter().map(KindLine::of).map(|line| {
        [
            line.kind.to_owned(),
            line.batch.to_string(),
            line.concurrency.to_string(),
            line.keys.join(" "),
            line.about.to_owned(),
        ]
    });
    table(out, ["KIND", "BATCH", "CONCURRENCY", "KEYS", "ABOUT"], cells)
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
