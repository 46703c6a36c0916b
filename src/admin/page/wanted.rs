//! Which events a page shows: the fields of its form, and the filter that they make.

use super::asked::Asked;
use crate::{
    admin::fault::Fault,
    handler::{Filter, FilterSettings},
};

/// The fields, as they were filled in.
pub(super) struct Wanted {
    pub(super) event: String,
    pub(super) status: String,
    pub(super) source: String,
    pub(super) phone: String,
    pub(super) message: String,
}

impl Wanted {
    /// As they were asked for.
    pub(super) fn of(asked: &Asked) -> Self {
        let text = |name: &str| asked.text(name).unwrap_or_default().to_owned();
        Self {
            event: text("event"),
            status: text("status"),
            source: text("source"),
            phone: text("phone"),
            message: text("message"),
        }
    }

    /// The source, if only one is wanted.
    pub(super) fn source(&self) -> Option<String> {
        (!self.source.is_empty()).then(|| self.source.clone())
    }

    /// What must be in the events; `None` where that is nothing.
    pub(super) fn filter(&self) -> Result<Option<Filter>, Fault> {
        let one = |text: &String| (!text.is_empty()).then(|| vec![text.clone()]);
        let settings = FilterSettings {
            events: one(&self.event),
            statuses: one(&self.status),
            messages: one(&self.message),
            phones: one(&self.phone),
            ..FilterSettings::default()
        };
        if settings == FilterSettings::default() {
            return Ok(None);
        }
        let filter = Filter::new(&settings);
        filter.map(Some).map_err(|error| Fault::parameter("event", error.to_string()))
    }

    /// Something is filled in.
    pub(super) fn is_narrow(&self) -> bool {
        [&self.event, &self.status, &self.source, &self.phone, &self.message]
            .iter()
            .any(|text| !text.is_empty())
    }
}
