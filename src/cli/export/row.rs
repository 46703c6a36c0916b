//! Flattens an event into rows: one per info (an object in `eventInfo`), or one row if the event has no info.

use serde_json::value::RawValue;

use super::super::{Error, line};
use crate::{
    admin::wire::EventLine,
    clock::Timestamp,
    event::{Channel, Element, Fact, Owner, Status},
};

/// A column of the rows.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Every row has a value in this column. Only the Parquet format uses this field.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub(super) required: bool,
    pub(super) holds: Holds,
}

/// The type of a column, and how to read its value.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    Number(fn(&Row<'_>) -> u64),
    Time(fn(&Row<'_>) -> Option<Timestamp>),
    Text(for<'r> fn(&'r Row<'_>) -> Option<&'r str>),
}

const fn column(name: &'static str, required: bool, holds: Holds) -> Column {
    Column { name, required, holds }
}

/// The columns that CSV and Parquet have in common, in their order.
pub(super) static COLUMNS: [Column; 16] = [
    column("seq", true, Holds::Number(|row| row.line.seq)),
    column("received_at", true, Holds::Time(|row| Some(row.line.received_at))),
    column("source", true, Holds::Text(|row| Some(&row.line.source))),
    column("event_name", true, Holds::Text(|row| Some(row.element.name()))),
    column("id", false, Holds::Text(|row| row.element.id())),
    column("message_id", false, Holds::Text(|row| row.fact.message_id)),
    column("status", false, Holds::Text(|row| row.fact.status.map(Status::as_str))),
    column("channel", false, Holds::Text(|row| row.fact.channel.map(Channel::as_str))),
    column("owner", false, Holds::Text(|row| row.fact.owner.map(Owner::as_str))),
    column("owner_id", false, Holds::Text(|row| row.fact.owner_id)),
    column("store", false, Holds::Text(|row| row.fact.store_id)),
    column("phone", false, Holds::Text(|row| row.fact.address)),
    column("name", false, Holds::Text(|row| row.name.as_deref())),
    column("text", false, Holds::Text(|row| row.text.as_deref())),
    column("failure_reason", false, Holds::Text(|row| row.fact.failure_reason)),
    column("created_at", false, Holds::Time(|row| row.fact.time())),
];

/// The column with the whole event as JSON, after the other columns. Only the Parquet format has it.
#[cfg(feature = "parquet")]
pub(super) static EVENT: Column = column("event", true, Holds::Text(|row| Some(row.line.event.get())));

/// One row: an event with one of its infos.
pub(super) struct Row<'a> {
    line: &'a EventLine<'a>,
    element: &'a Element,
    fact: Fact<'a>,
    name: Option<String>,
    /// The text of the message, or a description of its content.
    text: Option<String>,
}

/// Calls `see` with each row of an event. `line` is the JSON line of the event.
pub(super) fn each(line: &RawValue, mut see: impl FnMut(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let (line, element) = &line::read(line)?;
    let view = element.view();
    view.facts().try_for_each(|fact| {
        let text = fact.content().map(|content| content.to_string());
        see(&Row { line, element, fact, name: fact.name(), text })
    })
}
