//! Events. The JSON form of an event is [`Event::push_json_line`].

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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

/// The state of an event in one lane of a handler: the lane that the event goes through.
#[derive(Serialize)]
pub(crate) struct HandlerProgressRow {
    handler: Arc<str>,
    lane: &'static str,
    /// The lane is past the event: it was delivered, filtered out, set aside or became a dead letter.
    passed: bool,
    /// When the lane passed the event; null if that time is not stored, or no longer stored.
    at: Option<Timestamp>,
    /// The event is set aside and waits for a retry.
    aside: bool,
    /// The id of the dead letter that the event became.
    dead: Option<i64>,
}

impl From<HandlerProgress> for HandlerProgressRow {
    fn from(progress: HandlerProgress) -> Self {
        let HandlerProgress { handler, class, passed, at, aside, dead } = progress;
        Self { handler, lane: class.as_str(), passed, at, aside, dead }
    }
}
