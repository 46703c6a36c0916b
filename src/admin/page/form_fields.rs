//! The form fields of a request, from its URL or its body. A form sends an empty field as an empty string, which counts
//! as not given. Unknown fields are ignored.

use std::{fmt::Display, str::FromStr};

use axum::{extract::Query, http::Uri};

use super::{format::time_field, links};
use crate::{
    admin::{
        error::RequestError,
        selection::{EventSelection, FilterSelection},
    },
    clock::{NotATime, Timestamp},
    handler::{Filter, FilterSettings},
};

/// The fields that select events by content and by time.
pub(super) const SELECTION: [&str; 6] = ["event", "status", "phone", "message", "since", "until"];

/// The non-empty fields, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// The query of a URL; an invalid query counts as empty.
    pub(super) fn of(uri: &Uri) -> Self {
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_or_else(|_invalid| Self::default(), |query| Self::from(query.0))
    }

    /// The value of a field, trimmed; `None` if it is not given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, text)| text.as_str())
    }

    /// The value of a field, trimmed; empty if it is not given.
    pub(super) fn value(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// Returns whether the field has this value.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.text(name) == Some(value)
    }

    /// The parsed value of a field.
    pub(super) fn read<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, RequestError> {
        let read = |text: &str| {
            text.parse().map_err(|error: T::Err| RequestError::parameter(name, error.to_string()))
        };
        self.text(name).map(read).transpose()
    }

    /// The parsed value of a time field. The value may be a time (RFC 3339), a date, or a time in the format of a
    /// browser's time field. A time without a zone is UTC.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, RequestError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let is_civil = text.contains('T') && !text.ends_with(['Z', 'z']);
        let text = match text.len() {
            16 if is_civil => format!("{text}:00Z"),
            19 if is_civil => format!("{text}Z"),
            _ => text.to_owned(),
        };
        text.parse().map(Some).map_err(|error: NotATime| RequestError::parameter(name, error.to_string()))
    }

    /// The value of a time field, in the format of a browser's time field; unchanged if it is not a valid time.
    pub(super) fn time_value(&self, name: &'static str) -> String {
        match self.time(name) {
            Ok(Some(time)) => time_field(time),
            _ => self.value(name).to_owned(),
        }
    }

    /// The fields `since` and `until`.
    pub(super) fn times(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), RequestError> {
        Ok((self.time("since")?, self.time("until")?))
    }

    /// The filter of the request: its settings and the compiled filter.
    pub(super) fn filter_selection(&self) -> Result<FilterSelection, RequestError> {
        let one = |name: &str| self.text(name).map(|text| vec![text.to_owned()]);
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
    pub(super) fn filter(&self) -> Result<Option<Filter>, RequestError> {
        let FilterSelection { settings, filter } = self.filter_selection()?;
        Ok((settings != FilterSettings::default()).then_some(filter))
    }

    /// The selection of the request: its times and its filter.
    pub(super) fn events(&self) -> Result<EventSelection, RequestError> {
        let (since, until) = self.times()?;
        Ok(EventSelection { since, until, filter: self.filter_selection()?.filter })
    }

    /// The given fields with these names, for a link or a form.
    pub(super) fn kept(&self, names: &[&str]) -> Vec<(String, String)> {
        self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).cloned().collect()
    }

    /// The link to the page of older rows of a list.
    pub(super) fn older(&self, path: &str, before: impl Display) -> String {
        self.with(path, "before", &before.to_string())
    }

    /// A link to `path` with the current fields except `before`, and with the field `name` set to `value`.
    pub(super) fn with(&self, path: &str, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(given, _)| given != name && given != "before");
        let fields: Vec<(String, String)> =
            kept.cloned().chain(Some((name.to_owned(), value.to_owned()))).collect();
        links::with_query(path, &fields)
    }
}

impl From<Vec<(String, String)>> for FormFields {
    fn from(fields: Vec<(String, String)>) -> Self {
        let trimmed = fields.into_iter().map(|(name, text)| (name, text.trim().to_owned()));
        Self(trimmed.filter(|(_, text)| !text.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(query: &str) -> FormFields {
        FormFields::of(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn times_of_browser_fields_are_parsed() {
        let time =
            |text: &str| form(&format!("t={text}")).time("t").map(|time| time.map(|time| time.to_string()));
        for text in ["2026-01-31T09:30", "2026-01-31T09:30:00", "2026-01-31T09:30:00Z"] {
            assert_eq!(time(text).unwrap().unwrap(), "2026-01-31T09:30:00.000Z", "{text}");
        }
        assert_eq!(time("2026-01-31").unwrap().unwrap(), "2026-01-31T00:00:00.000Z");
        assert!(time("").unwrap().is_none());
        assert!(time("soon").is_err());
    }

    #[test]
    fn a_link_keeps_the_other_fields_and_encodes_them() {
        let form = form("a=x%26y&before=7&b=&c=1");
        assert_eq!(form.with("/p", "c", "é/"), "/p?a=x%26y&c=%C3%A9%2F");
        assert_eq!(form.with("/p", "before", "3"), "/p?a=x%26y&c=1&before=3");
    }
}
