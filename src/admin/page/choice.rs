//! The event selection in a form: by time and by content.

use super::{asked::Asked, period::Period};
use crate::{
    admin::{fault::Fault, narrow::Narrowed, question::Chosen},
    clock::Timestamp,
    handler::{Filter, FilterSettings},
};

/// The fields as they were filled in.
pub(super) struct Choice {
    pub(super) event: String,
    pub(super) status: String,
    pub(super) phone: String,
    pub(super) message: String,
    /// Formatted for a browser's time field if it is a valid time; otherwise as entered.
    pub(super) since: String,
    pub(super) until: String,
}

pub(super) const FIELDS: [&str; 6] = ["event", "status", "phone", "message", "since", "until"];

impl Choice {
    /// Reads the fields of a request.
    pub(super) fn of(asked: &Asked) -> Self {
        let text = |name: &str| asked.text(name).unwrap_or_default().to_owned();
        let time = |name: &'static str| match asked.time(name) {
            Ok(Some(time)) => Period::field(time),
            _ => text(name),
        };
        Self {
            event: text("event"),
            status: text("status"),
            phone: text("phone"),
            message: text("message"),
            since: time("since"),
            until: time("until"),
        }
    }

    /// The filter of the request, with its settings.
    pub(super) fn chosen(asked: &Asked) -> Result<Chosen, Fault> {
        let one = |name: &str| asked.text(name).map(|text| vec![text.to_owned()]);
        let settings = FilterSettings {
            events: one("event"),
            statuses: one("status"),
            messages: one("message"),
            phones: one("phone"),
            ..FilterSettings::default()
        };
        Chosen::try_from(settings).map_err(|error| Fault::parameter("event", error))
    }

    /// The filter of the request; `None` if it matches all events.
    pub(super) fn filter(asked: &Asked) -> Result<Option<Filter>, Fault> {
        let Chosen { settings, filter } = Self::chosen(asked)?;
        Ok((settings != FilterSettings::default()).then_some(filter))
    }

    /// The times `since` and `until` of the request.
    pub(super) fn times(asked: &Asked) -> Result<(Option<Timestamp>, Option<Timestamp>), Fault> {
        Ok((asked.time("since")?, asked.time("until")?))
    }

    /// The selection of the request: its times and its filter.
    pub(super) fn narrowed(asked: &Asked) -> Result<Narrowed, Fault> {
        let (since, until) = Self::times(asked)?;
        Ok(Narrowed { since, until, filter: Self::chosen(asked)?.filter })
    }
}
