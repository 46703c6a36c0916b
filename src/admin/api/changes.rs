//! The bodies of requests that change dead letters or quarantine entries.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::{
    decision::dead::{DeadFilter, DeadSelection},
    selection::{EventSelection, FilterSelection},
    wire::{LIMIT, RowsRequest},
};

/// The quarantine entries that a request changes.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "RowsRequest<FilterSelection>")]
#[schemars(!try_from, rename = "Ids", deny_unknown_fields, extend("example" = {"ids": [1]}))]
pub(super) struct IdList {
    /// The ids of the quarantine entries.
    #[schemars(length(min = 1, max = LIMIT))]
    pub(super) ids: Vec<i64>,
}

/// The dead letters that a request changes: `{"ids":[…]}`, or `{"handler":"x","all":true}`, which may have `since`,
/// `until` and `filter`. Both forms may have `"dryRun":true`.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "RowsRequest<FilterSelection>")]
#[schemars(!try_from, rename = "DeadWish", with = "RowsRequest<FilterSelection>")]
pub(super) struct DeadChangeRequest {
    pub(super) selection: DeadSelection,
    /// Only count the dead letters; change nothing.
    pub(super) dry_run: bool,
}

impl TryFrom<RowsRequest<FilterSelection>> for DeadChangeRequest {
    type Error = String;

    fn try_from(mut written: RowsRequest<FilterSelection>) -> Result<Self, String> {
        let dry_run = written.dry_run.take().unwrap_or(false);
        let selection = match written {
            RowsRequest {
                ids: None, handler: Some(handler), all: Some(true), since, until, filter, ..
            } => {
                let filter = filter.map(|filter| filter.filter).unwrap_or_default();
                let events = EventSelection { since, until, filter };
                DeadSelection::Matching(Box::new(DeadFilter {
                    handler: Some(handler),
                    events,
                    ..DeadFilter::default()
                }))
            }
            RowsRequest { ids: Some(_), .. } => DeadSelection::Ids(IdList::try_from(written)?.ids),
            _ => return Err("give either \"ids\", or \"handler\" and \"all\": true".to_owned()),
        };
        Ok(Self { selection, dry_run })
    }
}

impl TryFrom<RowsRequest<FilterSelection>> for IdList {
    type Error = String;

    fn try_from(written: RowsRequest<FilterSelection>) -> Result<Self, String> {
        match written {
            RowsRequest {
                ids: Some(ids),
                handler: None,
                all: None,
                since: None,
                until: None,
                filter: None,
                dry_run: None,
            } if (1..=LIMIT).contains(&ids.len()) => Ok(Self { ids }),
            _ => Err(format!("ids: give 1 to {LIMIT} ids, and no other member")),
        }
    }
}
