//! `bikhook check --against-journal N`: runs the last stored events through the handlers of a configuration file, and
//! delivers nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    ops::Not,
    sync::Arc,
};

use serde::{Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    Error,
    output::{json_line, parse, table},
    selection::Selection,
    settings::HandlerConfig,
    store::{Store, take},
};
use crate::{
    admin::wire::{HandlerReport, StoredBytes},
    event::{Class, Element, Event, Pointer},
    handler::Delivery,
    journal::EventQuery,
    plural::counted,
};

/// The events that a handler would take.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandlerPreview<'a> {
    handler: &'a str,
    kind: &'static str,
    /// The number of events tested.
    #[serde(rename = "looked")]
    tested: usize,
    /// The number of tested events that the handler's filter selects.
    takes: usize,
    /// How many of `takes` are customers' messages.
    incoming: usize,
    /// How many of `takes` would not be delivered, because the mask leaves no valid event.
    lost: usize,
    /// The number of selected events with each event name.
    names: BTreeMap<String, usize>,
    /// Pointers in `where` and `mask` that match nothing in any tested event.
    #[serde(rename = "nowhere", skip_serializing_if = "Vec::is_empty")]
    unmatched: Vec<&'a str>,
    /// True if `start` is configured but has no effect, because the handler already has cursors in the journal.
    #[serde(rename = "startUnread", skip_serializing_if = "Not::not")]
    start_ignored: bool,
    /// The newest selected events as the destination would see them, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shown: Vec<Box<RawValue>>,
}

/// Tests every handler with the last `count` events, and shows `show` events per handler, as its destination would see
/// them.
pub(super) fn run(
    handlers: &[HandlerConfig],
    store: &Store,
    count: usize,
    show: usize,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let rows = take(count, |before, limit| {
        let query = EventQuery { before, limit, ..EventQuery::default() };
        store.events(&query, &Selection::default(), true)
    })?;
    let events = rows.iter().map(|row| event(row)).collect::<Result<Vec<_>, _>>()?;
    let enrolled = enrolled(store)?;
    let previews = handlers
        .iter()
        .map(|handler| HandlerPreview::of(handler, &events, show, &enrolled))
        .collect::<Result<Vec<_>, _>>()?;
    if json {
        return previews.iter().try_for_each(|preview| json_line(out, preview));
    }
    let tested = counted(events.len() as u64, "event", "events");
    writeln!(out, "\nOf the last {tested}, each handler would take:")?;
    let cells = previews.iter().map(|row| {
        [
            row.handler.to_owned(),
            row.kind.to_owned(),
            row.takes.to_string(),
            row.incoming.to_string(),
            row.lost.to_string(),
            row.names.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
        ]
    });
    table(out, ["HANDLER", "KIND", "TAKES", "INCOMING", "LOST", "BY NAME"], cells)?;
    for row in &previews {
        row.warn(out)?;
    }
    for row in previews.iter().filter(|row| !row.shown.is_empty()) {
        writeln!(out, "\n{}:", row.handler)?;
        for line in &row.shown {
            writeln!(out, "{}", line.get())?;
        }
    }
    Ok(())
}

/// The names of the handlers that have cursors in the journal.
fn enrolled(store: &Store) -> Result<BTreeSet<Arc<str>>, Error> {
    store
        .handlers()?
        .iter()
        .map(|row| parse::<HandlerReport<IgnoredAny>>(row).map(|row| row.handler))
        .collect()
}

/// A stored event, decoded again from its bytes.
fn event(row: &RawValue) -> Result<Arc<Event>, Error> {
    let StoredBytes { seq, received_at, source, raw } = parse(row)?;
    let element = Element::read(raw.as_bytes())
        .map_err(|error| Error::Failed(format!("cannot read the stored event {seq}: {error}")))?;
    Ok(Arc::new(Event { seq, came_at: received_at, received_at, source, element: Arc::new(element) }))
}

impl<'a> HandlerPreview<'a> {
    fn of(
        handler: &'a HandlerConfig,
        events: &[Arc<Event>],
        show: usize,
        enrolled: &BTreeSet<Arc<str>>,
    ) -> Result<Self, Error> {
        let wanted: Vec<_> = events.iter().filter(|event| handler.filter.wants(event)).collect();
        let incoming = wanted.iter().filter(|event| event.element.class() == Class::Incoming).count();
        let mut names = BTreeMap::new();
        for event in &wanted {
            *names.entry(event.element.name().to_owned()).or_default() += 1;
        }
        let masked = |event: &Arc<Event>| Delivery::new(Arc::clone(event), 1, false).masked(&handler.mask);
        let newest = wanted.iter().skip(wanted.len().saturating_sub(show));
        let shown =
            newest.filter_map(|event| masked(event).ok()).map(|delivery| (handler.preview)(&delivery));
        Ok(Self {
            handler: &handler.name,
            kind: handler.kind.name,
            tested: events.len(),
            takes: wanted.len(),
            incoming,
            lost: wanted.iter().filter(|event| masked(event).is_err()).count(),
            names,
            unmatched: unmatched(handler, events),
            start_ignored: handler.start.is_some() && enrolled.contains(&*handler.name),
            shown: shown
                .map(RawValue::from_string)
                .collect::<Result<_, _>>()
                .map_err(std::io::Error::from)?,
        })
    }

    /// Prints warnings about settings that are valid but probably not intended.
    fn warn(&self, out: &mut impl Write) -> Result<(), Error> {
        let handler = self.handler;
        let tested = counted(self.tested as u64, "event", "events");
        for pointer in &self.unmatched {
            writeln!(
                out,
                "warning: handlers.{handler}: none of the last {tested} has a field at {pointer:?}: check its \
                 spelling"
            )?;
        }
        if self.start_ignored {
            writeln!(
                out,
                "warning: handlers.{handler}.start is ignored: the handler already has cursors in the journal; \
                 `bikhook replay --handler {handler} --since TIME` delivers stored events again"
            )?;
        }
        Ok(())
    }
}

/// Pointers that match no value in any of the events. A `null` is a value. Empty if there are no events.
fn unmatched<'a>(handler: &'a HandlerConfig, events: &[Arc<Event>]) -> Vec<&'a str> {
    let pointers = handler
        .filter
        .pointers()
        .chain(handler.mask.kept())
        .chain(handler.mask.dropped())
        .chain(handler.mask.hashed());
    let is_unmatched = |pointer: &&Pointer| !events.iter().any(|event| pointer.any(&event.element, |_| true));
    if events.is_empty() { Vec::new() } else { pointers.filter(is_unmatched).map(Pointer::as_str).collect() }
}
