//! Flattens an event into rows: one per info, or one row if the event has no info.

use serde_json::value::RawValue;

use super::super::{Error, output::parse};
use crate::{
    admin::wire::EventLine,
    clock::Timestamp,
    event::{Customer, Element, OtherInfo, Stamp, View},
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
    store: Option<&'a str>,
    name: Option<String>,
    info: Info<'a>,
}

/// The columns that come from an info.
#[derive(Default)]
struct Info<'a> {
    message_id: Option<&'a str>,
    status: Option<&'a str>,
    channel: Option<&'a str>,
    owner: Option<&'a str>,
    owner_id: Option<&'a str>,
    phone: Option<&'a str>,
    text: Option<&'a str>,
    failure_reason: Option<&'a str>,
    created_at: Option<Timestamp>,
}

/// Calls `see` with each row of an event, given as its JSON line.
pub(super) fn each(line: &RawValue, mut see: impl FnMut(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let line: EventLine<'_> = parse(line)?;
    let element = Element::read(line.event.get().as_bytes())
        .map_err(|error| Error::Failed(format!("cannot read the stored event {}: {error}", line.seq)))?;
    let view = element.view();
    let mut infos = Info::all(&view);
    if infos.is_empty() {
        infos.push(Info::default());
    }
    for info in infos {
        see(&Row { line: &line, store: view.store_id(), name: name_of(&view), info })?;
    }
    Ok(())
}

impl Row<'_> {
    /// The cells, in the order of [`COLUMNS`].
    pub(super) fn cells(&self) -> [Cell<'_>; COLUMNS.len()] {
        let Self { line, info, .. } = self;
        [
            Cell::Number(line.seq),
            Cell::Time(Some(line.received_at)),
            Cell::Text(Some(&line.source)),
            Cell::Text(Some(&line.event_name)),
            Cell::Text(line.id.as_deref()),
            Cell::Text(info.message_id),
            Cell::Text(info.status),
            Cell::Text(info.channel),
            Cell::Text(info.owner),
            Cell::Text(info.owner_id),
            Cell::Text(self.store),
            Cell::Text(info.phone),
            Cell::Text(self.name.as_deref()),
            Cell::Text(info.text),
            Cell::Text(info.failure_reason),
            Cell::Time(info.created_at),
        ]
    }

    #[cfg(feature = "parquet")]
    pub(super) fn event(&self) -> &str {
        self.line.event.get()
    }
}

/// Reads the columns that the infos of incoming messages and of statuses have in common.
macro_rules! message_info {
    ($info:expr) => {
        Info {
            message_id: $info.message_id.as_deref(),
            status: $info.status.as_ref().map(|status| status.as_str()),
            channel: $info.channel.as_ref().map(|channel| channel.as_str()),
            owner: $info.owner.as_ref().map(|owner| owner.as_str()),
            owner_id: $info.owner_id.as_deref(),
            phone: $info.asset_value.as_deref(),
            text: $info.message.as_deref(),
            failure_reason: $info.failure_reason.as_deref(),
            created_at: $info.created_at.as_ref().and_then(Stamp::time),
        }
    };
}

impl<'a> Info<'a> {
    fn all(view: &'a View<'a>) -> Vec<Self> {
        match view {
            View::Incoming(message) => message.infos.iter().map(|info| message_info!(info)).collect(),
            View::Status(update) => update.infos.iter().map(|info| message_info!(info)).collect(),
            View::Subscribed(event) => vec![Self {
                message_id: event.message_id.as_deref(),
                channel: event.channel.as_ref().map(|channel| channel.as_str()),
                phone: event.assets.first().map(AsRef::as_ref),
                created_at: event.created_at.as_ref().and_then(Stamp::time),
                ..Self::default()
            }],
            View::Other(event) => {
                let info = |info: &'a OtherInfo<'a>| Self {
                    message_id: info.message_id.as_deref(),
                    status: info.status.as_ref().map(|status| status.as_str()),
                    channel: info.channel.as_ref().map(|channel| channel.as_str()),
                    owner: info.owner.as_ref().map(|owner| owner.as_str()),
                    created_at: info.created_at.as_ref().and_then(Stamp::time),
                    ..Self::default()
                };
                event.infos.iter().map(info).collect()
            }
        }
    }
}

/// First and last name of the customer; `None` if the event has neither.
fn name_of(view: &View<'_>) -> Option<String> {
    let customer: &Customer<'_> = match view {
        View::Incoming(message) => &message.customer,
        View::Status(update) => &update.customer,
        View::Other(event) => &event.customer,
        View::Subscribed(_) => return None,
    };
    let names = [customer.first_name.as_deref(), customer.last_name.as_deref()];
    let name = names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}
