//! The output of a bench: one line per figure, and a table at the end.

use comfy_table::{Table, presets::ASCII_MARKDOWN};

/// The table at the end of a run.
pub struct Report {
    table: Table,
}

impl Report {
    /// An empty table.
    pub fn new() -> Self {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(["measured", "figure", "bound", "met"]);
        Self { table }
    }

    /// Adds and prints a figure, its bound, and whether the figure meets it.
    pub fn figure(&mut self, what: &str, figure: String, bound: Bound) {
        let verdict = if bound.holds() { "yes" } else { "NO" };
        println!("  => {what}: {figure} (bound: {}), met: {verdict}", bound.text());
        self.table.add_row([what, &figure, &bound.text(), verdict]);
    }

    /// Adds and prints a figure without a bound.
    pub fn note(&mut self, what: &str, figure: String) {
        println!("  => {what}: {figure}");
        self.table.add_row([what, &figure, "", ""]);
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}", self.table);
    }
}

/// The bound of a figure.
#[derive(Clone, Copy)]
pub enum Bound {
    /// At least `least`, and preferably `goal`.
    AtLeast { value: f64, least: f64, goal: f64 },
    /// At most `most`.
    AtMost { value: f64, most: f64, unit: &'static str },
}

impl Bound {
    fn holds(self) -> bool {
        match self {
            Self::AtLeast { value, least, .. } => value >= least,
            Self::AtMost { value, most, .. } => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast { least, goal, .. } if goal > least => format!(">= {least}, goal {goal}"),
            Self::AtLeast { least, .. } => format!(">= {least}"),
            Self::AtMost { most, unit, .. } => format!("<= {most}{unit}"),
        }
    }
}

/// The median of the figures; with an even number of them, the lower one of the two in the middle.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
