//! `bikhook kinds`: lists the handler kinds in this binary.

use std::io::Write;

use serde::Serialize;

use super::{
    Error,
    output::{json_line, table},
};
use crate::handler::{KINDS, KindRow};

#[derive(clap::Args)]
pub(super) struct KindsArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &KindsArgs, out: &mut impl Write) -> Result<(), Error> {
    let mut kinds = KINDS.iter().map(KindLine::of);
    if args.json {
        return kinds.try_for_each(|kind| json_line(out, &kind));
    }
    let cells = kinds.map(|line| {
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

/// A row of the output, about one handler kind. `batch` and `concurrency` are the kind's defaults for the configuration
/// keys with these names.
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
        let KindRow { name, about, batch, concurrency, keys, .. } = *row;
        Self { kind: name, about, batch, concurrency, keys: keys() }
    }
}
