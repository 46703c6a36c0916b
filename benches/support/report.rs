//! What is printed: lines as it goes, and a table at the end.

use comfy_table::{Table, presets::ASCII_MARKDOWN};

/// The table at the end of a run.
pub struct Report {
    table: Table,
}

impl Report {
    /// An empty table.
    pub fn new() -> Self {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(["measured", "figure", "to be shown", ""]);
        Self { table }
    }

    /// A figure, the bound that is to be shown, and whether it was.
    pub fn figure(&mut self, what: &str, figure: String, bound: Bound) {
        let verdict = if bound.holds() { "yes" } else { "NO" };
        println!("  => {what}: {figure} (to be shown: {}): {verdict}", bound.text());
        self.table.add_row([what, &figure, &bound.text(), verdict]);
    }

    /// A figure that nothing is asked of.
    pub fn note(&mut self, what: &str, figure: String) {
        println!("  => {what}: {figure}");
        self.table.add_row([what, &figure, "", ""]);
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}", self.table);
    }
}

/// What is to be shown of a figure.
#[derive(Clone, Copy)]
pub enum Bound {
    /// At least this, and better that.
    AtLeast { value: f64, least: f64, goal: f64 },
    /// At most this.
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

/// The middle of some figures; of an even number the lower one of the two.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
