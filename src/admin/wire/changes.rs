//! A change of dead letters or of quarantine entries.

use std::ops::Not;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The maximum number of ids in a body, and of rows in a list.
pub(crate) const LIMIT: usize = 1_000;

/// The selected rows: either `ids`, or for dead letters `handler` and `all`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{"required": ["ids"]}, {"required": ["handler", "all"]}]))]
#[schemars(extend("dependentRequired" = {
    "handler": ["all"], "all": ["handler"], "since": ["all"], "until": ["all"], "filter": ["all"]
}))]
#[schemars(extend("example" = {"handler": "crm", "all": true, "filter": {"statuses": ["failed"]}}))]
pub(crate) struct RowsRequest<F> {
    /// The ids of the rows.
    #[schemars(default, with = "Vec<i64>", length(min = 1, max = LIMIT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<i64>>,
    /// The handler whose dead letters are selected.
    #[schemars(default, with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// All dead letters of the handler, or those that also match `since`, `until` and `filter`.
    #[schemars(default, with = "bool", extend("const" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Only events received at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only events received before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only events that match this filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<F>,
    /// Only count the dead letters; change nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// How many rows are changed, and which ids do not exist: `{"dropped":2,"unknown":[7]}`; in a dry run, how many match.
#[derive(Serialize, Deserialize, JsonSchema)]
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
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ChangedRows {
    /// The rows that are marked for retry.
    Retried(usize),
    /// The rows that were dropped.
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
