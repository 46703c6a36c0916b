//! `bikhook message`: the state of a message, and the events about it.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::AdminArgs,
    output::{duration, lines, parse, plain, stdout, table},
};
use crate::clock::Timestamp;

#[derive(clap::Args)]
pub(super) struct Args {
    /// BIK's messageId, as `bikhook events --json` and the page show it; the column ID of `bikhook events` is the id of
    /// the event
    #[arg(value_name = "MESSAGE_ID")]
    id: String,
    /// Print one JSON object per line: one for each source that has such a message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Deserialize)]
struct Answer {
    messages: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timeline {
    message_id: String,
    source: String,
    store: Option<String>,
    channel: Option<String>,
    incoming: bool,
    owner: Option<String>,
    owner_id: Option<String>,
    category: Option<String>,
    state: Option<String>,
    deleted: bool,
    reason: Option<String>,
    failure: Option<String>,
    address: Option<String>,
    name: Option<String>,
    created_at: Option<Timestamp>,
    sightings: Vec<Sighting>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sighting {
    seq: u64,
    status: Option<String>,
    at: Timestamp,
    disordered: bool,
    repeated: bool,
    late: bool,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Error> {
    let client = args.admin.client(cli)?;
    let Answer { messages } = client.get(&["api", "v1", "messages", &args.id], &[])?;
    let out = &mut stdout();
    if args.json {
        return lines(out, &messages);
    }
    for (at, message) in messages.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        parse::<Timeline>(message)?.show(out)?;
    }
    Ok(out.flush()?)
}

impl Timeline {
    fn show(&self, out: &mut impl Write) -> Result<(), Error> {
        for (label, value) in self.head() {
            if let Some(value) = value {
                writeln!(out, "{label:<10}{}", plain(&value))?;
            }
        }
        writeln!(out)?;
        let first = self.sightings.first().map(|sighting| sighting.at);
        let cells = self.sightings.iter().map(|sighting| {
            let since = first.map_or(0, |first| sighting.at.ms_since(first));
            [
                sighting.at.to_string(),
                if since == 0 { String::new() } else { format!("+{}", duration(since)) },
                sighting.status.clone().unwrap_or_else(|| "the message itself".to_owned()),
                sighting.seq.to_string(),
                self.notes(sighting),
            ]
        });
        table(out, ["RECEIVED", "AFTER", "STATUS", "SEQ", ""], cells)
    }

    fn head(&self) -> [(&'static str, Option<String>); 8] {
        let Self { name, address, .. } = self;
        let customer = name.iter().chain(address).cloned().collect::<Vec<_>>().join(", ");
        let customer = (!customer.is_empty()).then_some(customer);
        let state = match (&self.state, &self.failure) {
            (Some(state), Some(failure)) => Some(format!("{state}: {failure}")),
            (state, _) => state.clone(),
        };
        let deleted = if self.deleted { " (deleted)" } else { "" };
        let state = state.or_else(|| self.incoming.then(|| "received".to_owned()));
        // For example "broadcast (CAMPAIGN) 57": BIK's category, the owner in BIK's spelling, and its id.
        let owner = self.owner.as_ref().map(|owner| match &self.category {
            Some(category) => format!("{category} ({owner})"),
            None => owner.clone(),
        });
        let owner = owner.map(|owner| match &self.owner_id {
            Some(id) => format!("{owner} {id}"),
            None => owner,
        });
        let place = [Some(&self.source), self.store.as_ref(), self.channel.as_ref()];
        let place = place.into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        [
            ("message", Some(self.message_id.clone())),
            ("state", state.map(|state| state + deleted)),
            // BIK's failure text. It is shown even if the message was delivered after an earlier failure.
            ("reason", self.reason.clone()),
            (if self.incoming { "from" } else { "to" }, customer),
            ("sent by", owner.filter(|_| !self.incoming)),
            ("source", Some(place)),
            ("created", self.created_at.map(|at| at.to_string())),
            ("events", self.sightings.is_empty().then(|| "none".to_owned())),
        ]
    }

    /// Anomalies of an event: out of order, repeated, or late.
    fn notes(&self, sighting: &Sighting) -> String {
        let late = self.created_at.map(|made| sighting.at.ms_since(made)).filter(|_| sighting.late);
        let late = late.map(|late| format!("{} after creation", duration(late)));
        let notes = [
            sighting.disordered.then(|| "out of order".to_owned()),
            sighting.repeated.then(|| "repeated".to_owned()),
            late,
        ];
        notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
