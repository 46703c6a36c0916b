//! The event selection in a form: by time and by content.

use super::{form_fields::FormFields, period::FigurePeriod};
use crate::{
    admin::{
        error::RequestError,
        selection::{EventSelection, FilterSelection},
    },
    clock::Timestamp,
    handler::{Filter, FilterSettings},
};

/// The fields as they were filled in.
pub(super) struct SelectionForm {
    pub(super) event: String,
    pub(super) status: String,
    pub(super) phone: String,
    pub(super) message: String,
    /// Formatted for a browser's time field if it is a valid time; otherwise as entered.
    pub(super) since: String,
    pub(super) until: String,
}

pub(super) const FIELDS: [&str; 6] = ["event", "status", "phone", "message", "since", "until"];

impl SelectionForm {
    /// Reads the fields of a request.
    pub(super) fn of(form: &FormFields) -> Self {
        let text = |name: &str| form.text(name).unwrap_or_default().to_owned();
        let time = |name: &'static str| match form.time(name) {
            Ok(Some(time)) => FigurePeriod::field(time),
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
    pub(super) fn filter_selection(form: &FormFields) -> Result<FilterSelection, RequestError> {
        let one = |name: &str| form.text(name).map(|text| vec![text.to_owned()]);
        let settings = FilterSettings {
            events: one("event"),
            statuses: one("status"),
            messages: one("message"),
            phones: one("phone"),
            ..FilterSettings::default()
        };
        FilterSelection::try_from(settings).map_err(|error| RequestError::parameter("event", error))
    }

    /// The filter of the request; `None` if it matches all events.
    pub(super) fn filter(form: &FormFields) -> Result<Option<Filter>, RequestError> {
        let FilterSelection { settings, filter } = Self::filter_selection(form)?;
        Ok((settings != FilterSettings::default()).then_some(filter))
    }

    /// The times `since` and `until` of the request.
    pub(super) fn times(form: &FormFields) -> Result<(Option<Timestamp>, Option<Timestamp>), RequestError> {
        Ok((form.time("since")?, form.time("until")?))
    }

    /// The selection of the request: its times and its filter.
    pub(super) fn events(form: &FormFields) -> Result<EventSelection, RequestError> {
        let (since, until) = Self::times(form)?;
        Ok(EventSelection { since, until, filter: Self::filter_selection(form)?.filter })
    }
}
