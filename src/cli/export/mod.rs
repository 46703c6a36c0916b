//! `bikhook export`: writes the stored events, oldest first, for other programs.
//!
//! At most one page of the journal is in memory, and for Parquet also one row group. An export ends at the seq that was
//! the tip when the export started. A later export continues with `--after`.

mod destination;
#[cfg(feature = "parquet")]
mod parquet;
mod row;
mod spreadsheet;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use serde_json::value::RawValue;

use super::{
    Cli, Error,
    output::{bar, parse},
    selection::Selection,
    store::{Store, StoreArgs},
};
use crate::{admin::wire::EventLine, plural::counted};
use destination::Destination;
use spreadsheet::Spreadsheet;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The output format; every format contains personal data
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The output file, which is created or replaced when the export is complete [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events with a higher seq, to continue an earlier export
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One JSON object per line, as `events --json` prints it
    Jsonl,
    /// One row per event, or one per info if `eventInfo` has several. A cell that a spreadsheet would evaluate as a
    /// formula (it starts with = + - @, a tab or a CR) gets a leading '
    Csv,
    /// The same rows with types, and the whole event as JSON; only in a binary with the feature `parquet`
    Parquet,
}

/// A writer of events in one format.
trait Sheet {
    /// Writes an event, given as its JSON line.
    fn take(&mut self, line: &RawValue) -> Result<(), Error>;

    /// Ends the output: writes buffered data, and in Parquet the footer.
    fn finish(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    if matches!(args.format, Format::Parquet) && args.output.is_none() && io::stdout().is_terminal() {
        let what = "Parquet cannot be written to a terminal: name a file with --output, or write to a pipe";
        return Err(Error::Failed(what.to_owned()));
    }
    let store = args.store.open(cli)?;
    let mut to = Destination::open(args.output.as_deref())?;
    let mut sheet = args.format.sheet(to.writer())?;
    let exported = args.export(&store, &mut *sheet)?;
    sheet.finish()?;
    to.complete()?;
    if let Some(file) = &args.output {
        let events = counted(exported.events, "event", "events");
        let (file, through) = (file.display(), exported.through);
        // This message is only a hint. If it cannot be written, the export is still complete.
        drop(writeln!(
            anstream::stderr(),
            "{events} written to {file}; to continue from there, use --after {through}"
        ));
    }
    Ok(())
}

impl Format {
    fn sheet<'a>(self, to: &'a mut (dyn Write + Send)) -> Result<Box<dyn Sheet + 'a>, Error> {
        match self {
            Self::Jsonl => Ok(Box::new(Lines(to))),
            Self::Csv => Ok(Box::new(Spreadsheet::begin(to)?)),
            #[cfg(feature = "parquet")]
            Self::Parquet => Ok(Box::new(parquet::Groups::begin(to)?)),
            #[cfg(not(feature = "parquet"))]
            Self::Parquet => {
                let what =
                    "this binary cannot write Parquet: build it with `cargo install --features parquet`";
                Err(Error::Failed(what.to_owned()))
            }
        }
    }
}

/// The result of an export.
struct Exported {
    events: u64,
    /// All events up to this seq were read.
    through: u64,
}

impl Args {
    fn export(&self, store: &Store, sheet: &mut dyn Sheet) -> Result<Exported, Error> {
        // Export up to the current tip only, so that the export ends.
        let tip = store.tip()?;
        let mut exported = Exported { events: 0, through: self.after };
        let mut shown = None;
        let mut next = Some(self.after);
        while let Some(after) = next.filter(|after| *after < tip) {
            let page = store.onward(after, self.source.as_deref(), &self.selection)?;
            for line in &page.rows {
                let EventLine { seq, .. } = parse(line)?;
                if seq > tip {
                    break;
                }
                // Create the progress bar at the first event, so that an empty export shows none.
                let bar = shown.get_or_insert_with(|| bar((tip + 1).saturating_sub(seq)));
                sheet.take(line)?;
                exported.events += 1;
                exported.through = seq;
                bar.set_position(bar.length().unwrap_or_default().saturating_sub(tip - seq));
            }
            if let Some(bar) = &shown {
                bar.set_message(counted(exported.events, "event", "events"));
            }
            next = page.next;
            // Without a next page, do not advance `through` to the tip, because the read may have ended at `--until`,
            // before the tip.
            exported.through = next.map_or(exported.through, |next| next.min(tip));
        }
        Ok(exported)
    }
}

struct Lines<'a>(&'a mut (dyn Write + Send));

impl Sheet for Lines<'_> {
    fn take(&mut self, line: &RawValue) -> Result<(), Error> {
        Ok(writeln!(self.0, "{}", line.get())?)
    }
}
