//! `bikhook events`: lists received events.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    output::{cell, lines, parse, stdout, table},
    selection::Selection,
    store::{Limit, StoreArgs, newest},
};
use crate::{
    admin::wire::{EventLine, StoredBytes},
    journal::EventQuery,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    limit: Limit,
    /// Print one JSON object per line, with the whole event (contains personal data)
    #[arg(long)]
    json: bool,
    /// Print the stored bytes of each event, followed by a line break (contains personal data)
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    let store = args.store.open(cli)?;
    let rows = newest(&args.limit, |before, limit| {
        let query = EventQuery {
            name: args.selection.name(),
            source: args.source.clone(),
            before,
            limit,
            ..EventQuery::default()
        };
        store.events(&query, &args.selection, args.raw)
    })?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &rows);
    }
    if args.raw {
        for row in &rows {
            let StoredBytes { raw, .. } = parse(row)?;
            writeln!(out, "{raw}")?;
        }
        return Ok(out.flush()?);
    }
    let cells = rows.iter().map(|row| cells(row)).collect::<Result<Vec<_>, _>>()?;
    table(out, ["SEQ", "RECEIVED", "SOURCE", "EVENT", "STATUS", "CHANNEL", "ID"], cells)
}

/// The members of an element that the table shows. Serde rejects duplicate keys; the columns of such an element are
/// blank.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Element<'a> {
    #[serde(borrow)]
    event_info: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_id: Option<&'a RawValue>,
}

/// The cells of an event's row.
pub(super) fn cells(row: &RawValue) -> Result<[String; 7], Error> {
    let line: EventLine<'_> = parse(row)?;
    let element: Element<'_> = serde_json::from_str(line.event.get()).unwrap_or_default();
    let info = element.event_info.map(first_info).unwrap_or_default();
    let channel = info.channel_id.or(element.channel);
    Ok([
        line.seq.to_string(),
        line.received_at.to_string(),
        line.source.into_owned(),
        line.event_name.into_owned(),
        cell(info.status.and_then(word)),
        cell(channel.and_then(word)),
        cell(line.id),
    ])
}

/// The `eventInfo` object, or the first one of an array.
fn first_info(info: &RawValue) -> Info<'_> {
    let one =
        serde_json::from_str::<Vec<&RawValue>>(info.get()).ok().and_then(|infos| infos.first().copied());
    serde_json::from_str(one.unwrap_or(info).get()).unwrap_or_default()
}

/// A non-empty string.
fn word(value: &RawValue) -> Option<String> {
    serde_json::from_str::<String>(value.get()).ok().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(event: &str) -> [String; 7] {
        let line = format!(
            r#"{{"seq":7,"receivedAt":"2026-01-31T09:30:00.000Z","source":"bik","eventName":"x","id":null,"event":{event}}}"#
        );
        cells(&RawValue::from_string(line).unwrap()).unwrap()
    }

    #[test]
    fn the_table_shows_the_status_and_the_channel_of_an_event_of_any_shape() {
        let status = |event: &str| {
            let [.., status, channel, _] = shown(event);
            (status, channel)
        };
        let both = |status: &str, channel: &str| (status.to_owned(), channel.to_owned());
        let info = r#"{"status":"read","channelId":"whatsapp","message":"\ud83d"}"#;
        assert_eq!(status(&format!(r#"{{"eventInfo":{info}}}"#)), both("read", "whatsapp"));
        assert_eq!(status(&format!(r#"{{"eventInfo":[{info},{{}}]}}"#)), both("read", "whatsapp"));
        assert_eq!(status(r#"{"channel":"sms"}"#), both("-", "sms"));
        assert_eq!(status(r#"{"eventInfo":{"status":"","channelId":5}}"#), both("-", "-"));
        assert_eq!(status(r#"{"eventInfo":7}"#), both("-", "-"));
    }
}
