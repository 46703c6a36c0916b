//! Prints the figures as tables.

use std::{io::Write, sync::Arc};

use super::{
    super::output::{ALL_LANES, NOT_APPLICABLE, cell, duration, figure_table, parse, parse_rows},
    Stats,
};
use crate::{
    admin::wire::{HandlerReport, InsightProgress, LaneReport, SourceReport},
    cli::Error,
    insight::ask::{FailureRow, FunnelRow, Percentiles},
    settings::Period,
};

impl Stats {
    pub(super) fn show(&self, out: &mut impl Write) -> Result<(), Error> {
        let Self { since, until, .. } = self;
        writeln!(out, "Messages first seen from {since} to {until}, in whole hours")?;
        self.show_funnel(out)?;
        self.show_failures(out)?;
        self.show_sources(out)?;
        self.show_lag(out)?;
        let InsightProgress { rebuilding_to, .. } = parse(&self.insight)?;
        if let Some(to) = rebuilding_to {
            writeln!(out, "\nInsight is rebuilding up to seq {to}: until then the figures are incomplete.")?;
        }
        Ok(out.flush()?)
    }

    fn show_funnel(&self, out: &mut impl Write) -> Result<(), Error> {
        let rows = parse_rows::<FunnelRow>(&self.funnel)?;
        if rows.is_empty() {
            return Ok(writeln!(out, " none")?);
        }
        let names = ["MESSAGES", "SENT", "DELIVERED", "READ", "FAILED", "TO DELIVER", "TO READ", "INCOMING"];
        let total = (rows.len() > 1 && !self.by.is_empty()).then(|| self.total(&rows));
        let cells = rows.iter().chain(&total).map(|row| {
            let part = |count: i64| part(count, row.messages);
            let figures = [
                row.messages.to_string(),
                part(row.sent),
                part(row.delivered),
                part(row.read),
                part(row.failed),
                percentiles(&row.to_deliver),
                percentiles(&row.to_read),
                row.incoming.to_string(),
            ];
            group(&row.group).chain(figures).collect()
        });
        figure_table(out, &self.header(&names), self.by.len(), cells)?;
        Ok(writeln!(out, "TO DELIVER and TO READ: time from sent, median and p90.")?)
    }

    /// The sum of all groups. Its medians and p90s are missing, because they cannot be computed from those of the
    /// groups.
    fn total(&self, rows: &[FunnelRow]) -> FunnelRow {
        let sum = |count: fn(&FunnelRow) -> i64| rows.iter().map(count).sum();
        let mut group = vec![Some(Arc::default()); self.by.len()];
        group[0] = Some("all".into());
        FunnelRow {
            group,
            incoming: sum(|row| row.incoming),
            messages: sum(|row| row.messages),
            sent: sum(|row| row.sent),
            delivered: sum(|row| row.delivered),
            read: sum(|row| row.read),
            failed: sum(|row| row.failed),
            ..FunnelRow::default()
        }
    }

    fn show_failures(&self, out: &mut impl Write) -> Result<(), Error> {
        let rows = parse_rows::<FailureRow>(&self.failures)?;
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nCauses of failures")?;
        let header = self.header(&["CLASS", "MEANS", "MESSAGES"]);
        let cells = rows.into_iter().map(|row| {
            let words = [row.class.to_string(), row.about, row.messages.to_string()];
            group(&row.group).chain(words).collect()
        });
        figure_table(out, &header, self.by.len() + 2, cells)
    }

    fn show_sources(&self, out: &mut impl Write) -> Result<(), Error> {
        writeln!(out, "\nSources")?;
        let names = ["SOURCE", "LAST EVENT", "SILENT FOR", "EVENTS", "OUT OF ORDER", "REPEATED", "DELAY"];
        let cells = parse_rows(&self.sources)?.into_iter().map(|SourceReport { row, silent_seconds }| {
            vec![
                row.source.to_string(),
                row.last_at.to_string(),
                duration(silent_seconds * 1_000),
                row.events.to_string(),
                part(row.disordered, row.events),
                part(row.repeated, row.events),
                percentiles(&row.late),
            ]
        });
        figure_table(out, &names.map(str::to_owned), 2, cells)
    }

    fn show_lag(&self, out: &mut impl Write) -> Result<(), Error> {
        writeln!(out, "\nLag of handlers and insight")?;
        let names = ["HANDLER", "LANE", "STATE", "LAG", "WAITS", "DEAD LETTERS"];
        let mut cells = Vec::new();
        for HandlerReport::<LaneReport> { handler, dead, lanes, .. } in parse_rows(&self.handlers)? {
            let [all, none] = [ALL_LANES, NOT_APPLICABLE].map(str::to_owned);
            cells.push(vec![
                handler.to_string(),
                all,
                none.clone(),
                none.clone(),
                none.clone(),
                dead.to_string(),
            ]);
            cells.extend(lanes.into_iter().map(|lane| {
                let waits = Some(lane.lag_seconds).filter(|seconds| *seconds > 0);
                vec![
                    handler.to_string(),
                    lane.lane,
                    cell(lane.state),
                    lane.lag.to_string(),
                    cell(waits.map(Period::secs)),
                    none.clone(), // dead letters are counted per handler
                ]
            }));
        }
        let InsightProgress { lag, rebuilding_to, .. } = parse(&self.insight)?;
        let state = if rebuilding_to.is_some() { "rebuilding" } else { "-" };
        let blank = String::new;
        cells.push(vec!["insight".to_owned(), blank(), state.to_owned(), lag.to_string(), blank(), blank()]);
        figure_table(out, &names.map(str::to_owned), 3, cells)
    }

    /// The header: the dimensions, then these names.
    fn header(&self, names: &[&str]) -> Vec<String> {
        self.by.iter().map(|name| heading(name)).chain(names.iter().map(|name| (*name).to_owned())).collect()
    }
}

/// The median and the p90.
fn percentiles(took: &Percentiles) -> String {
    match (took.p50_ms, took.p90_ms) {
        (Some(median), Some(p90)) => format!("{}, {}", duration(median), duration(p90)),
        _ => "-".to_owned(),
    }
}

fn group(values: &[Option<Arc<str>>]) -> impl Iterator<Item = String> {
    values.iter().map(|value| cell(value.as_ref()))
}

/// The heading of a dimension: `OWNER ID` for `ownerId`.
fn heading(name: &str) -> String {
    let mut heading = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            heading.push(' ');
        }
        heading.push(letter.to_ascii_uppercase());
    }
    heading
}

/// A count and its percentage of the total.
fn part(count: i64, all: i64) -> String {
    match (count, all) {
        (0, _) | (_, 0) => count.to_string(),
        (count, all) => {
            let tenths = (count * 2_000 + all) / (all * 2);
            format!("{count} {:>3}.{}%", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_shown_with_its_percentage() {
        assert_eq!(part(0, 10), "0");
        assert_eq!(part(0, 0), "0");
        assert_eq!(part(3, 0), "3");
        assert_eq!(part(1, 3), "1  33.3%");
        assert_eq!(part(2, 3), "2  66.7%");
        assert_eq!(part(7, 7), "7 100.0%");
        assert_eq!(part(1, 100_000), "1   0.0%");
    }

    #[test]
    fn a_dimension_has_a_heading() {
        assert_eq!(heading("ownerId"), "OWNER ID");
        assert_eq!(heading("category"), "CATEGORY");
    }
}
