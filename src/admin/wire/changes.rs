//! A change of dead letters or of quarantine entries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The maximum number of ids in a body, and of rows in a list.
pub(crate) const LIMIT: usize = 1_000;

/// The selected rows, given either by `ids` or, for dead letters, by `handler` and `all`.
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
    /// Selects all dead letters of the handler. With `since`, `until` or `filter`, selects only those that match.
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

/// How many rows are marked for retry, and which ids do not exist.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct RetriedRows {
    pub retried: usize,
    /// The requested ids that no row has.
    pub unknown: Vec<i64>,
}

/// How many rows were dropped, and which ids do not exist.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct DroppedRows {
    pub dropped: usize,
    /// The requested ids that no row has.
    pub unknown: Vec<i64>,
}

/// A dry run: how many rows match, and which ids do not exist.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MatchingRows {
    #[schemars(extend("const" = true))]
    pub dry_run: bool,
    pub matches: usize,
    /// The requested ids that no row has.
    pub unknown: Vec<i64>,
}

/// How many dead letters are changed, and which ids do not exist; with `dryRun`, how many match.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "{R}OrDryRun")]
pub(crate) enum RowsOrDryRun<R> {
    Rows(R),
    DryRun(MatchingRows),
}
