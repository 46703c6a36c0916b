//! Flattens an event into rows: one per info, or one row if the event has no info.

use serde_json::value::RawValue;

use super::super::{Error, line};
use crate::{
    admin::wire::EventLine,
    clock::Timestamp,
    event::{Channel, Element, Fact, Owner, Status},
};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Number,
    Time,
    Text,
}

/// A column of the rows. Only Parquet uses the type.
#[cfg_attr(not(feature = "parquet"), allow(dead_code))]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    /// Every row has a value in this column.
    pub(super) required: bool,
}

const fn column(name: &'static str, holds: Holds, required: bool) -> Column {
    Column { name, holds, required }
}

/// All columns, in the order of [`Row::cells`].
pub(super) const COLUMNS: [Column; 16] = [
    column("seq", Holds::Number, true),
    column("received_at", Holds::Time, true),
    column("source", Holds::Text, true),
    column("event_name", Holds::Text, true),
    column("id", Holds::Text, false),
    column("message_id", Holds::Text, false),
    column("status", Holds::Text, false),
    column("channel", Holds::Text, false),
    column("owner", Holds::Text, false),
    column("owner_id", Holds::Text, false),
    column("store", Holds::Text, false),
    column("phone", Holds::Text, false),
    column("name", Holds::Text, false),
    column("text", Holds::Text, false),
    column("failure_reason", Holds::Text, false),
    column("created_at", Holds::Time, false),
];

/// The value of a row in a column.
pub(super) enum Cell<'a> {
    Number(u64),
    Time(Option<Timestamp>),
    Text(Option<&'a str>),
}

/// One row: an event with one of its infos.
pub(super) struct Row<'a> {
    line: &'a EventLine<'a>,
    element: &'a Element,
    fact: Fact<'a>,
    name: Option<String>,
}

/// Calls `see` with each row of an event, given as its JSON line.
pub(super) fn each(line: &RawValue, mut see: impl FnMut(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let (line, element) = &line::read(line)?;
    let view = element.view();
    view.facts().try_for_each(|fact| see(&Row { line, element, fact, name: fact.name() }))
}

impl Row<'_> {
    /// The cells, in the order of [`COLUMNS`].
    pub(super) fn cells(&self) -> [Cell<'_>; COLUMNS.len()] {
        let Self { line, element, fact, name } = self;
        [
            Cell::Number(line.seq),
            Cell::Time(Some(line.received_at)),
            Cell::Text(Some(&line.source)),
            Cell::Text(Some(element.name())),
            Cell::Text(element.id()),
            Cell::Text(fact.message_id),
            Cell::Text(fact.status.map(Status::as_str)),
            Cell::Text(fact.channel.map(Channel::as_str)),
            Cell::Text(fact.owner.map(Owner::as_str)),
            Cell::Text(fact.owner_id),
            Cell::Text(fact.store_id),
            Cell::Text(fact.address),
            Cell::Text(name.as_deref()),
            Cell::Text(fact.text),
            Cell::Text(fact.failure_reason),
            Cell::Time(fact.time()),
        ]
    }

    #[cfg(feature = "parquet")]
    pub(super) fn event(&self) -> &str {
        self.line.event.get()
    }
}
