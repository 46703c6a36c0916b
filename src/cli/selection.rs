//! Options that select events by time and by content.

use serde_json::{Map, Value, json};

use super::{Error, client::Parameter};
use crate::{
    admin::{
        selection::EventSelection,
        wire::{ReplayRequest, RowsRequest},
    },
    clock::{self, Timestamp},
    handler::{Filter, FilterSettings},
    settings::Period,
};

const DAY_MS: i64 = 24 * 3_600_000;

/// A filter as JSON, with only the keys that are set.
pub(super) type FilterJson = Map<String, Value>;

/// Options that select events; an event must match all that are given.
#[derive(Default, clap::Args)]
pub(super) struct Selection {
    /// Only events received at this time or later: 2026-01-31T09:30:00Z, 2026-01-31, 2h (ago), today or yesterday (from
    /// 00:00 UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only events received before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
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
    /// Only these statuses, such as `read`; `failed` also selects `undelivered` and `bounced` (may be repeated)
    #[arg(long = "status", value_name = "STATUS")]
    statuses: Vec<String>,
    /// Only these message ids (may be repeated)
    #[arg(long = "message", value_name = "ID")]
    messages: Vec<String>,
    /// Only events of customers with these phone numbers, compared by their digits (may be repeated)
    #[arg(long = "phone", value_name = "PHONE")]
    phones: Vec<String>,
}

/// Parses the value of a time option: a time, a date, `today`, `yesterday`, or a period before now, such as `2h`.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    time_at(text, clock::now())
}

fn time_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let midnight = now.plus_ms(-now.as_ms().rem_euclid(DAY_MS));
    match text {
        "today" => return Ok(midnight),
        "yesterday" => return Ok(midnight.plus_ms(-DAY_MS)),
        _ => {}
    }
    if let Some(ago) = Period::parse(text) {
        return Ok(now.plus_ms(-ago.as_ms()));
    }
    text.parse().map_err(|_not_a_time| {
        format!(
            "{text:?} is not a time: use a time such as 2026-01-31T09:30:00Z, a date such as 2026-01-31, a period \
             before now such as 2h or 7d, today, or yesterday"
        )
    })
}

impl Selection {
    /// Returns whether no option is given. Without options, everything is selected.
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

    /// The event name, if exactly one name is given and it has no wildcards. The journal itself can select the events
    /// of one name. This is faster than to load all events and apply a filter to them.
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

    /// Converts the options to a selection for the journal of a stopped receiver. Returns an error if an option is
    /// invalid.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_also_a_period_before_now_today_or_yesterday() {
        let now: Timestamp = "2026-03-01T09:30:00Z".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-03-01T07:30:00Z"),
            ("30m", "2026-03-01T09:00:00Z"),
            ("7d", "2026-02-22T09:30:00Z"),
            ("today", "2026-03-01"),
            ("yesterday", "2026-02-28"),
            ("2026-01-31", "2026-01-31"),
            ("2026-01-31T09:30:00+05:30", "2026-01-31T04:00:00Z"),
        ] {
            assert_eq!(time_at(text, now), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "2", "h", "-2h", "tomorrow", "2026-01-31T09:30"] {
            assert!(time_at(text, now).is_err_and(|error| error.contains("today, or yesterday")), "{text}");
        }
    }
}
