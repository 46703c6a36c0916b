//! Writes CSV (RFC 4180) for spreadsheets.

use std::{borrow::Cow, io::Write};

use csv::{Terminator, Writer, WriterBuilder};
use serde_json::value::RawValue;

use super::{
    Sheet,
    row::{self, COLUMNS, Column, Holds, Row},
};
use crate::cli::Error;

/// Writes a header, and one row per event, or one per info if an event has several.
pub(super) struct Spreadsheet<'a>(Writer<&'a mut (dyn Write + Send)>);

impl<'a> Spreadsheet<'a> {
    /// Writes the header.
    pub(super) fn begin(to: &'a mut (dyn Write + Send)) -> Result<Self, Error> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(to);
        writer.write_record(COLUMNS.iter().map(|column| column.name)).map_err(failed)?;
        Ok(Self(writer))
    }
}

impl Sheet for Spreadsheet<'_> {
    fn take(&mut self, line: &RawValue) -> Result<(), Error> {
        row::each(line, |row| {
            for column in &COLUMNS {
                self.0.write_field(&*text(column, row)).map_err(failed)?;
            }
            self.0.write_record(None::<&[u8]>).map_err(failed)
        })
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        Ok(self.0.flush()?)
    }
}

fn text<'r>(column: &Column, row: &'r Row<'_>) -> Cow<'r, str> {
    match column.holds {
        Holds::Number(read) => read(row).to_string().into(),
        Holds::Time(read) => read(row).map(|time| time.to_string()).unwrap_or_default().into(),
        Holds::Text(read) => guarded(read(row).unwrap_or_default()),
    }
}

/// Escapes a cell that a spreadsheet would evaluate as a formula, because posted data must not be executed.
fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

fn failed(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Output(error),
        kind => Error::Failed(format!("cannot write CSV: {kind:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_escaped() {
        for formula in ["=1+1", "+91", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(guarded(formula), format!("'{formula}"));
        }
        for text in ["", "Hii sir", " =1", "'=1", "1+1", "\n=1"] {
            assert_eq!(guarded(text), text);
        }
    }
}
