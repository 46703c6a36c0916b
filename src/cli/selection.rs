//! Options that select events by time and by content.

use serde_json::{Map, Value, json};

use super::{Error, client::Parameter};
use crate::{
    admin::{
        selection::EventSelection,
        wire::{ReplayRequest, RowsRequest},
    },
    clock::Timestamp,
    handler::{Filter, FilterSettings},
};

/// A filter as JSON, with only the keys that are set.
pub(super) type FilterJson = Map<String, Value>;

/// Options that select events; an event must match all that are given.
#[derive(Default, clap::Args)]
pub(super) struct Selection {
    /// Only events received at this time or later, such as 2026-01-31T09:30:00Z or 2026-01-31
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only events received before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    content: ContentArgs,
}

/// Options that select events by their content.
#[derive(Default, clap::Args)]
pub(super) struct ContentArgs {
    /// Only these event names; * and ? are wildcards (may be repeated)
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Only these statuses, such as failed (may be repeated)
    #[arg(long = "status", value_name = "STATUS")]
    statuses: Vec<String>,
    /// Only these message ids (may be repeated)
    #[arg(long = "message", value_name = "ID")]
    messages: Vec<String>,
    /// Only events of customers with these phone numbers, compared by their digits (may be repeated)
    #[arg(long = "phone", value_name = "PHONE")]
    phones: Vec<String>,
}

impl Selection {
    /// Returns whether no option is given, which selects everything.
    pub(super) fn is_everything(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.content.filter().is_empty()
    }

    /// The request for a replay of the selected events.
    pub(super) fn replay(&self, handler: String) -> ReplayRequest<FilterJson> {
        let Self { since, until, .. } = *self;
        ReplayRequest { handler, since, until, filter: self.content.filter(), rate: None, dry_run: false }
    }

    /// The request for a change of the selected dead letters.
    pub(super) fn dead_letters(&self, handler: String) -> RowsRequest<FilterJson> {
        RowsRequest {
            handler: Some(handler),
            all: Some(true),
            since: self.since,
            until: self.until,
            filter: Some(self.content.filter()).filter(|filter| !filter.is_empty()),
            ..RowsRequest::default()
        }
    }

    /// The event name, if exactly one name is given and it has no wildcards. The journal finds events with one name
    /// faster than a filter does.
    pub(super) fn name(&self) -> Option<String> {
        match self.content.events.as_slice() {
            [name] if !name.contains(['*', '?', '[', '{', '\\']) => Some(name.clone()),
            _ => None,
        }
    }

    /// The parameters for the URL of a list request.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let times = [("since", self.since), ("until", self.until)];
        let times = times.into_iter().filter_map(|(key, time)| Some((key, time?.to_string())));
        times.chain(self.content.parameters()).collect()
    }

    /// The same selection for the journal of a stopped receiver. Returns an error if an option is invalid.
    pub(super) fn narrowed(&self) -> Result<EventSelection, Error> {
        let settings: FilterSettings = serde_json::from_value(self.content.filter().into())
            .map_err(|error| Error::Failed(error.to_string()))?;
        let filter = Filter::new(&settings).map_err(|error| Error::Failed(error.to_string()))?;
        Ok(EventSelection { since: self.since, until: self.until, filter })
    }
}

impl ContentArgs {
    /// The lists, each with its parameter in a URL and its key in a filter.
    const fn lists(&self) -> [(&'static str, &'static str, &Vec<String>); 4] {
        [
            ("event", "events", &self.events),
            ("status", "statuses", &self.statuses),
            ("message", "messages", &self.messages),
            ("phone", "phones", &self.phones),
        ]
    }

    /// The parameters for the URL of a list or tail request.
    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter> {
        let lists = self.lists().into_iter();
        lists.flat_map(|(parameter, _, list)| list.iter().map(move |one| (parameter, one.clone())))
    }

    fn filter(&self) -> FilterJson {
        let set = self.lists().into_iter().filter(|(_, _, list)| !list.is_empty());
        set.map(|(_, key, list)| (key.to_owned(), json!(list))).collect()
    }
}
