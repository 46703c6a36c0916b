//! `bikhook events`: lists received events.

use std::io::Write;

use serde_json::value::RawValue;

use super::{
    Cli, Error, line,
    output::{cell, lines, parse, stdout, table},
    selection::Selection,
    store::{Limit, StoreArgs, newest},
};
use crate::{
    admin::wire::StoredBytes,
    event::{View, joined},
    journal::EventQuery,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Only events of this source; bikhook's own notices of dead letters have the source bikhook, and are left out
    /// unless a source or an event name is given
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
    table(out, HEADER, cells)
}

/// The header of the table whose rows are [`cells`].
pub(super) const HEADER: [&str; 8] =
    ["SEQ", "RECEIVED", "SOURCE", "EVENT", "STATUS", "CHANNEL", "ID", "MESSAGE"];

/// The cells of an event's row. `MESSAGE` shows the first message id, which may contain an encoded phone number.
/// `bikhook message` takes this id. `ID` may end with a phone number if the event is a subscribed event (BIK §3). The
/// other cells have no personal data.
pub(super) fn cells(row: &RawValue) -> Result<[String; 8], Error> {
    let (line, element) = line::read(row)?;
    let view = element.view();
    Ok([
        line.seq.to_string(),
        line.received_at.to_string(),
        line.source.into_owned(),
        element.name().to_owned(),
        cell(joined(view.statuses().map(|status| status.as_str().to_owned()), ",")),
        cell(joined(view.channels().map(|channel| channel.as_str().to_owned()), ",")),
        cell(element.id()),
        message_id(&view),
    ])
}

/// The first message id of an event, and the number of further ones.
fn message_id(view: &View<'_>) -> String {
    let mut ids: Vec<&str> = view.message_ids().collect();
    ids.dedup();
    match &*ids {
        [first, _, ..] => format!("{first} +{}", ids.len() - 1),
        _ => cell(ids.first()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_status_and_the_channel_of_an_event_of_any_shape() {
        let info = r#"{"status":"read","channelId":"whatsapp","message":"\ud83d"}"#;
        for (members, shown) in [
            (format!(r#""eventInfo":{info}"#), ["read", "whatsapp"]),
            (format!(r#""eventInfo":[{info},{{}}]"#), ["read", "whatsapp"]),
            (r#""channel":"sms","eventProperties":{}"#.to_owned(), ["-", "sms"]),
            (r#""eventInfo":{"status":"","channelId":5}"#.to_owned(), ["-", "-"]),
            (r#""eventInfo":7"#.to_owned(), ["-", "-"]),
        ] {
            let line = format!(
                r#"{{"seq":7,"receivedAt":"2026-01-31T09:30:00.000Z","source":"bik","event":{{"eventName":"x",{members}}}}}"#
            );
            let [.., status, channel, _, _] = cells(&RawValue::from_string(line).unwrap()).unwrap();
            assert_eq!([status, channel], shown, "{members}");
        }
    }

    #[test]
    fn the_table_shows_the_message_id_that_bikhook_message_takes() {
        for (info, shown) in [
            (r#"{"messageId":"m-1"}"#, "m-1"),
            (r#"[{"messageId":"m-1"},{"messageId":"m-2"},{"messageId":"m-3"}]"#, "m-1 +2"),
            ("{}", "-"),
        ] {
            let line = format!(
                r#"{{"seq":7,"receivedAt":"2026-01-31T09:30:00.000Z","source":"bik","event":{{"eventName":"x","eventInfo":{info}}}}}"#
            );
            let [.., id] = cells(&RawValue::from_string(line).unwrap()).unwrap();
            assert_eq!(id, shown, "{info}");
        }
    }
}
