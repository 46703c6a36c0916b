//! Events. The JSON form of an event is [`Event::push_json_line`].

use std::{borrow::Cow, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    clock::Timestamp,
    event::{Class, Event},
    journal::HandlerProgress,
};

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

/// The line of an event.
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

/// The members of an event's line from which the event can be decoded again, if the line includes the stored bytes.
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

/// An event.
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
    /// `before` of the next page, or `after` if the request has one; null on the last page.
    next: Option<u64>,
}

/// An event with its state in each handler.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of events, which are written as text")]
pub(crate) struct EventWithLanes {
    #[schemars(flatten)]
    event: EventMembers,
    lanes: Vec<HandlerProgressRow>,
}

/// The state of an event in one lane of a handler: the lane that the event goes through.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Passage")]
pub(crate) struct HandlerProgressRow {
    handler: Arc<str>,
    #[schemars(with = "Class")]
    lane: &'static str,
    /// The lane is past the event: it was delivered, filtered out, set aside or became a dead letter.
    passed: bool,
    /// When the lane passed the event; null if it has not passed it, or if the time is not stored or no longer stored.
    at: Option<Timestamp>,
    /// The event is set aside and waits for a retry.
    aside: bool,
    /// The id of the dead letter that the event became; null if it became none.
    dead: Option<i64>,
}

impl From<HandlerProgress> for HandlerProgressRow {
    fn from(progress: HandlerProgress) -> Self {
        let HandlerProgress { handler, class, passed, at, aside, dead } = progress;
        Self { handler, lane: class.as_str(), passed, at, aside, dead }
    }
}
