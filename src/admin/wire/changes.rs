//! The answer to a change of dead letters or of quarantine entries.

use std::ops::Not;

use serde::{Deserialize, Serialize};

/// How many rows a request changes: `{"dropped":2,"unknown":[7]}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Only in the answer to a dry run.
    #[serde(default, skip_serializing_if = "Not::not")]
    dry_run: bool,
    #[serde(flatten)]
    pub rows: Rows,
    /// The requested ids that no row has.
    pub unknown: Vec<i64>,
}

/// The number of changed rows, under the name of the change.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rows {
    Retried(usize),
    Dropped(usize),
    /// A dry run: the rows that would be changed.
    Matches(usize),
}

impl Changed {
    pub fn new(rows: Rows, unknown: Vec<i64>) -> Self {
        Self { dry_run: matches!(rows, Rows::Matches(_)), rows, unknown }
    }

    /// Adds the rows and the unknown ids of another answer.
    pub fn add(&mut self, mut other: Self) {
        *self.rows.count() += *other.rows.count();
        self.unknown.append(&mut other.unknown);
    }
}

impl Rows {
    pub fn count(&mut self) -> &mut usize {
        let (Self::Retried(count) | Self::Dropped(count) | Self::Matches(count)) = self;
        count
    }
}
