//! A change of dead letters or of quarantine entries.

use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The body: either `ids`, or for dead letters `handler` and `all`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RowsRequest<F> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<F>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// How many rows a request changes: `{"dropped":2,"unknown":[7]}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    /// Only in the answer to a dry run.
    #[serde(default, skip_serializing_if = "Not::not")]
    dry_run: bool,
    #[serde(flatten)]
    pub rows: ChangedRows,
    /// The requested ids that no row has.
    pub unknown: Vec<i64>,
}

/// The number of changed rows, under the name of the change.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ChangedRows {
    Retried(usize),
    Dropped(usize),
    /// A dry run: the rows that would be changed.
    Matches(usize),
}

impl Changed {
    pub(crate) fn new(rows: ChangedRows, unknown: Vec<i64>) -> Self {
        Self { dry_run: matches!(rows, ChangedRows::Matches(_)), rows, unknown }
    }

    /// Adds the rows and the unknown ids of another answer.
    pub(crate) fn add(&mut self, mut other: Self) {
        *self.rows.count() += *other.rows.count();
        self.unknown.append(&mut other.unknown);
    }
}

impl ChangedRows {
    pub(crate) fn count(&mut self) -> &mut usize {
        let (Self::Retried(count) | Self::Dropped(count) | Self::Matches(count)) = self;
        count
    }
}
