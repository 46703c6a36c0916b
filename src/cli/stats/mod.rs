//! `bikhook stats`: figures about messages, failures, sources, handlers, and insight.

mod tables;

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Cli, Error,
    client::{AdminArgs, Client, Parameter},
    output::{json_line, stdout},
    selection::time,
};
use crate::{
    admin::wire::{FigureList, HandlerList, SourceList},
    clock::Timestamp,
    insight::ask::Dimension,
};

#[derive(clap::Args)]
pub(super) struct StatsArgs {
    /// Group by these dimensions: category, owner, ownerId, source, store, channel, hour, day
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "category", value_parser = dimension)]
    by: Vec<&'static str>,
    /// Only messages first seen in the hour of this time, or later [default: 7 days ago]
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only messages first seen before this time, rounded up to a full hour [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only messages of this category: crm, broadcast, automation, dev_api
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Only messages sent by this owner, named as in BIK's events, such as CAMPAIGN
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only messages whose owner has this id, such as the id of a broadcast or of an automation
    #[arg(long, value_name = "ID")]
    owner_id: Option<String>,
    /// Only messages of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only messages of this store
    #[arg(long, value_name = "ID")]
    store: Option<String>,
    /// Only messages of this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Include test broadcasts, which are excluded by default
    #[arg(long)]
    tests: bool,
    /// Print one JSON object with all figures
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn dimension(name: &str) -> Result<&'static str, String> {
    let known = Dimension::ALL.map(Dimension::as_str);
    let found = known.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("use one of {}", known.join(", ")))
}

pub(super) fn run(args: &StatsArgs, cli: &Cli) -> Result<(), Error> {
    let stats = args.fetch(&args.admin.client(cli)?)?;
    let out = &mut stdout();
    if args.json {
        json_line(out, &stats)?;
        return Ok(out.flush()?);
    }
    stats.show(out)
}

/// All figures, as the API returns them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    since: Timestamp,
    until: Timestamp,
    by: Vec<String>,
    funnel: Vec<Box<RawValue>>,
    failures: Vec<Box<RawValue>>,
    sources: Vec<Box<RawValue>>,
    handlers: Vec<Box<RawValue>>,
    insight: Box<RawValue>,
}

impl StatsArgs {
    fn fetch(&self, client: &Client) -> Result<Stats, Error> {
        let mut query = self.parameters();
        let FigureList { since, until, by, rows: funnel } = client.get(&["funnel"], &query)?;
        // The default period depends on the current time, so the next requests use the period of the first answer.
        query.retain(|(key, _)| !["since", "until"].contains(key));
        query.extend([("since", since.to_string()), ("until", until.to_string())]);
        let failures = client.get::<FigureList<_>>(&["failures"], &query)?.rows;
        let SourceList { sources } = client.get(&["sources"], &[("since", since.to_string())])?;
        let HandlerList { handlers } = client.get(&["handlers"], &[])?;
        let insight = client.get(&["insight"], &[])?;
        Ok(Stats { since, until, by, funnel, failures, sources, handlers, insight })
    }

    fn parameters(&self) -> Vec<Parameter> {
        let times = [("since", self.since), ("until", self.until)];
        let times = times.into_iter().filter_map(|(key, time)| Some((key, time?.to_string())));
        let only = [
            ("category", &self.category),
            ("owner", &self.owner),
            ("ownerId", &self.owner_id),
            ("source", &self.source),
            ("store", &self.store),
            ("channel", &self.channel),
        ];
        let only = only.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        let by = [("by", self.by.join(",")), ("tests", u8::from(self.tests).to_string())];
        times.chain(only).chain(by).collect()
    }
}
