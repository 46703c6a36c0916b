//! The output of commands (a table, or one JSON object per line) and confirmation prompts.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, IsTerminal, Write},
};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    Error,
    terminal::{controls_terminal, output},
};

/// The text of a table cell whose value is unknown or does not apply to the row.
pub(super) const NOT_APPLICABLE: &str = "-";
/// The value of the column LANE in the row of a handler as a whole.
pub(super) const ALL_LANES: &str = "all";

/// Buffered standard output. If it is a terminal, characters that could control it are escaped; otherwise all bytes
/// pass through unchanged.
pub(super) fn stdout() -> impl Write {
    BufWriter::new(output())
}

/// Prints rows unchanged, one per line.
pub(super) fn lines(out: &mut impl Write, rows: &[Box<RawValue>]) -> Result<(), Error> {
    for row in rows {
        writeln!(out, "{}", row.get())?;
    }
    Ok(out.flush()?)
}

/// Prints a value as a line of JSON.
pub(super) fn json_line(out: &mut impl Write, value: &impl Serialize) -> Result<(), Error> {
    Ok(writeln!(out, "{}", serde_json::to_string(value).map_err(io::Error::from)?)?)
}

/// Prints rows as a table.
pub(super) fn table<const N: usize>(
    out: &mut impl Write,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Error> {
    figure_table(out, &header.map(str::to_owned), N, rows.into_iter().map(Vec::from))
}

/// Prints rows as JSON, one per line, or as a table.
pub(super) fn print_rows<T: DeserializeOwned, const N: usize>(
    json: bool,
    rows: &[Box<RawValue>],
    header: [&str; N],
    cells: impl FnMut(T) -> [String; N],
) -> Result<(), Error> {
    let out = &mut stdout();
    if json {
        return lines(out, rows);
    }
    table(out, header, parse_rows(rows)?.into_iter().map(cells))
}

/// Prints rows of figures as a table: the first `words` columns are left-aligned text, the others right-aligned
/// numbers. If there are no rows, prints `none` below the header.
pub(super) fn figure_table(
    out: &mut impl Write,
    header: &[String],
    words: usize,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), Error> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    if table.is_empty() {
        writeln!(out, " none")?;
    }
    Ok(out.flush()?)
}

/// Prints an object as JSON, or its members that are in `keys`, one per line, in the order of `keys`.
pub(super) fn print_object(json: bool, row: Box<RawValue>, keys: &[&str]) -> Result<(), Error> {
    let out = &mut stdout();
    if json { lines(out, &[row]) } else { print_members(out, &row, keys) }
}

/// Prints the members of an object that are in `keys`, one per line, in the order of `keys`.
pub(super) fn print_members(out: &mut impl Write, row: &RawValue, keys: &[&str]) -> Result<(), Error> {
    let members: BTreeMap<String, &RawValue> = parse(row)?;
    let width = keys.iter().map(|key| key.len()).max().unwrap_or_default() + 2;
    for key in keys {
        let value = members.get(*key).map_or("null", |value| value.get());
        let value = serde_json::from_str::<String>(value).unwrap_or_else(|_not_text| value.to_owned());
        writeln!(out, "{key:<width$}{}", plain(&value))?;
    }
    Ok(out.flush()?)
}

/// Parses a JSON row.
pub(super) fn parse<'a, T: Deserialize<'a>>(row: &'a RawValue) -> Result<T, Error> {
    serde_json::from_str(row.get()).map_err(|error| {
        Error::Failed(format!(
            "cannot read a row: {error}: is the receiver of the same version as this command?"
        ))
    })
}

pub(super) fn parse_rows<'a, T: Deserialize<'a>>(rows: &'a [Box<RawValue>]) -> Result<Vec<T>, Error> {
    rows.iter().map(|row| parse(row)).collect()
}

/// A progress bar with this many steps, on standard error if that is a terminal. Dropping the bar clears it.
pub(super) fn bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent}% {msg} ({eta} left)");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_wrong| ProgressStyle::default_bar()))
}

/// Escapes characters that would control a terminal, because posted data may contain control sequences or bidirectional
/// marks.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if controls_terminal(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A cell of a table, or `-` if there is no value.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOT_APPLICABLE.to_owned(), |value| value.to_string())
}

/// Formats a duration in one unit. From 1 s on, a number below 10 has one decimal place: `5 ms`, `1.2 s`, `12 min`.
pub(super) fn duration(ms: i64) -> String {
    let tenths = |unit_ms: i64, name: &str| {
        let tenths = (ms + unit_ms / 20) / (unit_ms / 10);
        if tenths < 100 {
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        } else {
            format!("{} {name}", tenths / 10)
        }
    };
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => tenths(1_000, "s"),
        60_000..3_600_000 => tenths(60_000, "min"),
        3_600_000..172_800_000 => tenths(3_600_000, "h"),
        _ => tenths(86_400_000, "days"),
    }
}

/// Asks for confirmation, unless `yes` is set. Returns an error if the user declines, or if standard input is not a
/// terminal.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::Failed(format!("{question} Add --yes to confirm without a terminal.")));
    }
    let mut prompt = io::stderr().lock();
    write!(prompt, "{question} [y/N] ")?;
    prompt.flush()?;
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| Error::Failed(format!("cannot read the answer: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::Failed("nothing was changed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posted_text_cannot_move_the_cursor_of_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c\n"), "a\\u{1b}[2Jb\\u{9b}c\\n");
        assert_eq!(plain("a\u{202e}b\u{2069}"), "a\\u{202e}b\\u{2069}");
        assert_eq!(plain("नमस्ते 👋"), "नमस्ते 👋");
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_unit() {
        let minute = 60_000;
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_240, "1.2 s"),
            (59_000, "59 s"),
            (minute, "1.0 min"),
            (47 * minute, "47 min"),
            (90 * minute, "1.5 h"),
            (72 * 60 * minute, "3.0 days"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
