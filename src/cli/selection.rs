//! Which events an operator means: by time, and by what is in them.

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;

/// Options that select events; what is given must all match.
#[derive(clap::Args)]
pub(super) struct Selection {
    /// Received at this time or later: 2026-01-31T09:30:00Z, or a date
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only these event names, with * and ? (may be repeated)
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Only these statuses, such as failed (may be repeated)
    #[arg(long = "status", value_name = "STATUS")]
    statuses: Vec<String>,
    /// Only these message ids (may be repeated)
    #[arg(long = "message", value_name = "ID")]
    messages: Vec<String>,
    /// Only customers with these phone numbers, compared by their digits (may be repeated)
    #[arg(long = "phone", value_name = "PHONE")]
    phones: Vec<String>,
}

impl Selection {
    /// Whether nothing is selected: all is meant.
    pub(super) fn is_everything(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.filter().is_empty()
    }

    /// `since`, `until` and `filter`, as the API takes them, beside other members of the body.
    pub(super) fn members(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        for (key, time) in [("since", self.since), ("until", self.until)] {
            if let Some(time) = time {
                body.insert(key.to_owned(), json!(time));
            }
        }
        let filter = self.filter();
        if !filter.is_empty() {
            body.insert("filter".to_owned(), filter.into());
        }
        body
    }

    fn filter(&self) -> Map<String, Value> {
        let lists = [
            ("events", &self.events),
            ("statuses", &self.statuses),
            ("messages", &self.messages),
            ("phones", &self.phones),
        ];
        let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
        given.map(|(key, list)| (key.to_owned(), json!(list))).collect()
    }
}
