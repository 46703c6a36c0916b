//! Which events are meant, as a form asks for it: by time, and by what is in them.

use super::{asked::Asked, period::Period};
use crate::{
    admin::{fault::Fault, narrow::Narrowed, question::Chosen},
    clock::Timestamp,
    handler::{Filter, FilterSettings},
};

/// The fields, as they were filled in.
pub(super) struct Choice {
    pub(super) event: String,
    pub(super) status: String,
    pub(super) phone: String,
    pub(super) message: String,
    /// As a browser's field for times writes it, where it is a time.
    pub(super) since: String,
    pub(super) until: String,
}

/// The names of the fields.
pub(super) const FIELDS: [&str; 6] = ["event", "status", "phone", "message", "since", "until"];

impl Choice {
    /// As it was asked for.
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

    /// What it chooses.
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

    /// The filter that it makes; `None` where any event will do.
    pub(super) fn filter(asked: &Asked) -> Result<Option<Filter>, Fault> {
        let Chosen { settings, filter } = Self::chosen(asked)?;
        Ok((settings != FilterSettings::default()).then_some(filter))
    }

    /// From when to when.
    pub(super) fn times(asked: &Asked) -> Result<(Option<Timestamp>, Option<Timestamp>), Fault> {
        Ok((asked.time("since")?, asked.time("until")?))
    }

    /// Whether an event is meant.
    pub(super) fn narrowed(asked: &Asked) -> Result<Narrowed, Fault> {
        let (since, until) = Self::times(asked)?;
        Ok(Narrowed { since, until, filter: Self::chosen(asked)?.filter })
    }
}
