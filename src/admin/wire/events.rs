//! Events. [`Event::push_json_line`] writes the JSON form of an event.

use std::{borrow::Cow, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{clock::Timestamp, event::Event, journal::HandlerProgress};

/// Appends an event as one line of JSON. With `raw`, the line includes the stored bytes as the member `raw`.
pub(crate) fn push_event(out: &mut String, event: &Event, raw: bool) -> Result<(), serde_json::Error> {
    event.push_json_line(out);
    if raw {
        out.pop();
        out.push_str(",\"raw\":");
        out.push_str(&serde_json::to_string(event.element.raw())?);
        out.push('}');
    }
    Ok(())
}

/// The JSON line of an event, as the command line reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventLine<'a> {
    pub seq: u64,
    pub received_at: Timestamp,
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    #[serde(borrow)]
    pub event: &'a RawValue,
}

/// The line of an event with its stored bytes, from which the event can be decoded again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredBytes {
    pub seq: u64,
    pub received_at: Timestamp,
    pub source: Arc<str>,
    pub raw: String,
}

/// The members that [`Event::push_json_fields`] writes.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "the schema of events, which are written as text")]
struct EventMembers {
    seq: u64,
    received_at: Timestamp,
    source: String,
    event_name: String,
    id: Option<String>,
    /// The element that BIK posted, as strict JSON on one line. Keys and numbers are unchanged.
    event: Map<String, Value>,
}

/// A stored event.
#[derive(JsonSchema)]
#[schemars(rename = "Event")]
#[expect(dead_code, reason = "the schema of events, which are written as text")]
struct EventRow {
    #[schemars(flatten)]
    event: EventMembers,
    /// With `raw=1`: the stored bytes, as they were received.
    #[schemars(with = "String", skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

/// A page of events: the answer to `GET events`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of events, which are written as text")]
pub(crate) struct EventList {
    events: Vec<EventRow>,
    /// The value of `before` for the next page, or of `after` if the request gives `after`; null on the last page.
    next: Option<u64>,
}

/// An event with its state in each handler.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of events, which are written as text")]
pub(crate) struct EventWithLanes {
    #[schemars(flatten)]
    event: EventMembers,
    lanes: Vec<HandlerProgress>,
}
