//! `bikhook message`: the state of a message, and the events about it.

use std::io::Write;

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{duration, lines, parse, plain, stdout, table},
};
use crate::{
    admin::wire::{TimelineList, TimelineReport},
    insight::ask::{MessageRow, Sighting, Timeline},
};

#[derive(clap::Args)]
pub(super) struct MessageArgs {
    /// BIK's messageId. `bikhook events` and `bikhook dead list` show it in the column MESSAGE. The admin page shows it
    /// after you press "Show personal data"
    #[arg(value_name = "MESSAGE_ID")]
    id: String,
    /// Print one JSON object per line: one for each source that has a message with this id
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &MessageArgs, cli: &Cli) -> Result<(), Error> {
    let client = args.admin.client(cli)?;
    let TimelineList { messages } = client.get(&["messages", &args.id], &[])?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &messages);
    }
    for (at, message) in messages.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        show(&parse(message)?, out)?;
    }
    Ok(out.flush()?)
}

fn show(report: &TimelineReport<String>, out: &mut impl Write) -> Result<(), Error> {
    let sightings = &report.timeline.sightings;
    for (label, value) in head(report) {
        if let Some(value) = value {
            writeln!(out, "{label:<10}{}", plain(&value))?;
        }
    }
    writeln!(out)?;
    let first = sightings.first().map(|sighting| sighting.at);
    let cells = sightings.iter().map(|sighting| {
        let since = first.map_or(0, |first| sighting.at.ms_since(first));
        [
            sighting.at.to_string(),
            if since == 0 { String::new() } else { format!("+{}", duration(since)) },
            sighting.status.as_deref().unwrap_or("the message itself").to_owned(),
            sighting.seq.to_string(),
            notes(sighting),
        ]
    });
    table(out, ["RECEIVED", "AFTER", "STATUS", "SEQ", ""], cells)
}

fn head(report: &TimelineReport<String>) -> [(&'static str, Option<String>); 10] {
    let Timeline { message, sightings } = &report.timeline;
    let text = Some(report.content.to_string()).filter(|text| !text.is_empty());
    let MessageRow { name, address, .. } = message;
    let customer = name.iter().chain(address).cloned().collect::<Vec<_>>().join(", ");
    let customer = (!customer.is_empty()).then_some(customer);
    let state = match (&message.state, &message.failure) {
        (Some(state), Some(failure)) => Some(format!("{state}: {failure}")),
        (state, _) => state.clone(),
    };
    let deleted = if message.deleted { " (deleted)" } else { "" };
    let state = state.or_else(|| message.incoming.then(|| "received".to_owned()));
    // The sender, for example "broadcast (CAMPAIGN) 57": "broadcast" is BIK's category of the owner, "CAMPAIGN" is the
    // owner, and 57 is the owner's id.
    let owner = message.owner.as_ref().filter(|_| !message.incoming).map(|owner| {
        let id = message.owner_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        match &message.category {
            Some(category) => format!("{category} ({owner}){id}"),
            None => format!("{owner}{id}"),
        }
    });
    let place = [Some(&message.source), message.store.as_ref(), message.channel.as_ref()];
    let place = place.into_iter().flatten().map(|name| &**name).collect::<Vec<_>>().join(", ");
    [
        ("message", Some(message.message_id.clone())),
        ("state", state.map(|state| state + deleted)),
        // BIK's text about the failure. It is shown even if the message was delivered after that failure.
        ("reason", message.reason.clone()),
        ("text", text),
        (if message.incoming { "from" } else { "to" }, customer),
        ("sent by", owner),
        ("source", Some(place)),
        ("created", message.created_at.map(|at| at.to_string())),
        // The delay of the message's first event. DELAY of `bikhook stats` is computed from such delays.
        ("delay", sightings.first().and_then(delay).map(duration)),
        ("events", sightings.is_empty().then(|| "none".to_owned())),
    ]
}

/// The time from BIK's `createdAt` to receipt of an event, in milliseconds.
fn delay(sighting: &Sighting) -> Option<i64> {
    Some(sighting.at.ms_since(sighting.created_at?).max(0))
}

/// Anomalies of an event: out of order, repeated, or late.
fn notes(sighting: &Sighting) -> String {
    let late = delay(sighting).filter(|_| sighting.late);
    let late = late.map(|late| format!("late: {} after BIK created it", duration(late)));
    let notes = [
        sighting.disordered.then(|| "out of order".to_owned()),
        sighting.repeated.then(|| "repeated".to_owned()),
        late,
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
