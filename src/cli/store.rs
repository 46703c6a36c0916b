//! Reads the data for commands such as `bikhook events`. The data comes from the admin API of a running receiver, or
//! from the journal of a stopped one. Both give the same JSON, except that handlers and lanes from the journal have
//! fewer members.

use std::{collections::HashMap, io::Write, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    Cli, Error,
    client::{AdminArgs, Client, Parameter},
    selection::Selection,
};
use crate::{
    admin::{
        forward_feed::{self, ForwardPage},
        selection::{EventSelection, FilteredPage, is_without_own},
        wire::{DeadDetail, DeadRow, HandlerList, QuarantineDetail, QuarantineRow, push_event},
    },
    event::Event,
    journal::{
        DeadQuery, EventPage, EventQuery, HandlerPlace, JournalOpenError, LanePlace, QuarantineEntry,
        QuarantineQuery, sqlite::Offline,
    },
};

/// The maximum number of rows per read.
const PAGE: usize = 1_000;
/// The maximum number of dead letters or quarantine entries that are read at once from the journal of a stopped
/// receiver. The number is small, because each has a payload.
const CHUNK: usize = 16;

/// The receiver to read from: a running one, or the journal of a stopped one.
#[derive(clap::Args)]
pub(super) struct StoreArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Read this journal of a stopped receiver, instead of asking a running receiver
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl StoreArgs {
    pub(super) fn open(&self, cli: &Cli) -> Result<Store, Error> {
        Ok(match &self.journal {
            Some(path) => Store::Stopped(Box::new(Offline::open(path).map_err(not_opened)?)),
            None => Store::Running(Box::new(self.admin.client(cli)?.or_journal())),
        })
    }
}

/// A receiver: the API of a running one, or the journal of a stopped one.
pub(super) enum Store {
    Running(Box<Client>),
    Stopped(Box<Offline>),
}

/// Rows as JSON, and the value from which the request for the next page continues. In an answer of the API, the rows
/// are the member `events`, `dead` or `quarantine`.
#[derive(Deserialize)]
pub(super) struct Page<C> {
    #[serde(alias = "events", alias = "dead", alias = "quarantine")]
    pub(super) rows: Vec<Box<RawValue>>,
    pub(super) next: Option<C>,
}

type ListResult<C> = Result<Page<C>, Error>;

impl Store {
    /// A page of the selected events, newest first. With `raw`, each has its stored bytes as a member.
    pub(super) fn events(&self, query: &EventQuery, selection: &Selection, raw: bool) -> ListResult<u64> {
        let limit = query.limit.min(PAGE);
        match self {
            Self::Running(client) => {
                let mut asked = vec![("limit", limit.to_string()), ("raw", u8::from(raw).to_string())];
                asked.extend(query.name.clone().map(|name| ("name", name)));
                asked.extend(query.source.clone().map(|source| ("source", source)));
                asked.extend(selection.parameters());
                asked.extend(query.before.map(|before| ("before", before.to_string())));
                client.get(&["events"], &asked)
            }
            Self::Stopped(journal) => {
                let EventSelection { since, until, filter } = selection.narrowed()?;
                let (source, name) = (query.source.as_deref(), query.name.as_deref());
                let without_own = is_without_own(source, name, Some(&filter));
                let query = EventQuery { since, until, limit, without_own, ..query.clone() };
                let mut sifted = FilteredPage::new(query);
                while sifted.take(journal.events(&sifted.reads())?, &filter) {}
                event_rows(&sifted.page(), raw)
            }
        }
    }

    /// A page of the selected events with a seq above `after`, oldest first. Its `next` is the `after` of the following
    /// page.
    pub(super) fn onward(&self, after: u64, source: Option<&str>, selection: &Selection) -> ListResult<u64> {
        match self {
            Self::Running(client) => {
                let mut asked = vec![("after", after.to_string()), ("limit", PAGE.to_string())];
                asked.extend(source.map(|source| ("source", source.to_owned())));
                asked.extend(selection.parameters());
                client.get(&["events"], &asked)
            }
            Self::Stopped(journal) => {
                let EventSelection { since, until, filter } = selection.narrowed()?;
                let mut query = EventQuery {
                    without_own: is_without_own(source, None, Some(&filter)),
                    source: source.map(str::to_owned),
                    since,
                    until,
                    limit: PAGE,
                    ..EventQuery::default()
                };
                let after = match since {
                    Some(since) => after.max(journal.before_all_since(since)?),
                    None => after,
                };
                if until.is_some() {
                    let last = journal.events(&EventQuery { until, limit: 1, ..EventQuery::default() })?;
                    query.before = Some(last.events.first().map_or(1, |last| last.seq + 1));
                }
                let mut onward = ForwardPage::new(after, query, filter);
                while let Some(after) = onward.reads() {
                    onward.take(journal.claim_all(after, forward_feed::CHUNK)?);
                }
                event_rows(&onward.page(), false)
            }
        }
    }

    /// The highest stored seq, or 0 if there is none.
    pub(super) fn tip(&self) -> Result<u64, Error> {
        match self {
            Self::Running(client) => client.tip(),
            Self::Stopped(journal) => Ok(journal.tip()?),
        }
    }

    /// A page of dead letters, newest first.
    pub(super) fn dead(&self, query: &DeadQuery, selection: &Selection) -> ListResult<i64> {
        match self {
            Self::Running(client) => {
                let mut asked = cursor(query.before, query.limit);
                asked.extend(query.handler.clone().map(|handler| ("handler", handler)));
                asked.extend(selection.parameters());
                client.get(&["dead"], &asked)
            }
            Self::Stopped(journal) => {
                let limit = query.limit.min(CHUNK);
                let dead = journal.dead_letters(&DeadQuery { limit, ..query.clone() })?;
                let next = dead.last().filter(|_| dead.len() == limit).map(|dead| dead.id);
                let selection = selection.narrowed()?;
                let selected = dead.iter().filter(|dead| selection.matches(&dead.event));
                Ok(Page { rows: raw_rows(selected.map(DeadRow::from))?, next })
            }
        }
    }

    /// One dead letter with its error and its event.
    pub(super) fn dead_letter(&self, id: i64) -> Result<Box<RawValue>, Error> {
        match self {
            Self::Running(client) => client.get(&["dead", &id.to_string()], &[]),
            Self::Stopped(journal) => {
                let dead = journal.dead_letter(id)?.ok_or_else(|| nothing("dead letter", id))?;
                raw(&DeadDetail::from(dead))
            }
        }
    }

    /// A page of quarantine entries, newest first.
    pub(super) fn quarantine(&self, before: Option<i64>, limit: usize) -> ListResult<i64> {
        match self {
            Self::Running(client) => client.get(&["quarantine"], &cursor(before, limit)),
            Self::Stopped(journal) => {
                let limit = limit.min(CHUNK);
                let entries = journal.quarantine(&QuarantineQuery { before, limit })?;
                let next = entries.last().filter(|_| entries.len() == limit).map(|entry| entry.id);
                Ok(Page { rows: raw_rows(entries.iter().map(QuarantineRow::from))?, next })
            }
        }
    }

    /// One quarantine entry with the description of its error.
    pub(super) fn quarantined(&self, id: i64) -> Result<Box<RawValue>, Error> {
        match self {
            Self::Running(client) => client.get(&["quarantine", &id.to_string()], &[]),
            Self::Stopped(journal) => raw(&QuarantineDetail::from(entry(journal, id)?)),
        }
    }

    /// The raw bytes of a quarantine entry.
    pub(super) fn quarantined_bytes(&self, id: i64) -> Result<Vec<u8>, Error> {
        match self {
            Self::Running(client) => client.get_bytes(&["quarantine", &id.to_string(), "bytes"], &[]),
            Self::Stopped(journal) => Ok(entry(journal, id)?.item.bytes),
        }
    }

    /// All handlers with their lanes. For a stopped receiver, only the state in the journal is known.
    pub(super) fn handlers(&self) -> Result<Vec<Box<RawValue>>, Error> {
        match self {
            Self::Running(client) => Ok(client.get::<HandlerList<_>>(&["handlers"], &[])?.handlers),
            Self::Stopped(journal) => stopped_handlers(journal),
        }
    }
}

fn event_rows(page: &EventPage, raw: bool) -> ListResult<u64> {
    let row = |event: &Arc<Event>| {
        let mut line = String::new();
        push_event(&mut line, event, raw).and_then(|()| RawValue::from_string(line)).map_err(failed)
    };
    Ok(Page { rows: page.events.iter().map(row).collect::<Result<_, _>>()?, next: page.next })
}

fn entry(journal: &Offline, id: i64) -> Result<QuarantineEntry, Error> {
    journal.quarantined(id)?.ok_or_else(|| nothing("quarantine entry", id))
}

fn stopped_handlers(journal: &Offline) -> Result<Vec<Box<RawValue>>, Error> {
    #[derive(Serialize)]
    struct Row {
        handler: Arc<str>,
        kind: Option<&'static str>,
        dead: u64,
        lanes: Vec<Lane>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Lane {
        lane: &'static str,
        cursor: u64,
        lag: u64,
        set_aside: u64,
    }
    let dead: HashMap<Arc<str>, u64> = journal.dead_counts()?.into_iter().collect();
    let lane = |place: LanePlace| {
        let LanePlace { class, cursor, lag, set_aside, .. } = place;
        Lane { lane: class.as_str(), cursor, lag, set_aside }
    };
    raw_rows(journal.handlers()?.into_iter().map(|HandlerPlace { handler, lanes, .. }| {
        let dead = dead.get(&handler).copied().unwrap_or_default();
        Row { handler, kind: None, dead, lanes: lanes.into_iter().map(lane).collect() }
    }))
}

/// The option that limits the number of rows in a listing.
#[derive(clap::Args)]
pub(super) struct Limit {
    /// List at most this many of the newest rows, oldest first [default: 20]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// The options that several lists share.
#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) limit: Limit,
    /// Print one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreArgs,
}

/// The default number of rows.
const ROWS: usize = 20;

/// The newest rows, oldest first. Without `--limit`, the list has at most [`ROWS`] rows, and a message on standard
/// error tells if there are older rows. Without the message, the list would look complete.
pub(super) fn newest<C: Copy>(
    Limit { limit }: &Limit,
    page: impl FnMut(Option<C>, usize) -> ListResult<C>,
) -> Result<Vec<Box<RawValue>>, Error> {
    if let Some(limit) = *limit {
        return take(limit, page);
    }
    let mut rows = take(ROWS + 1, page)?;
    if rows.len() > ROWS {
        rows.remove(0);
        // This message is only a hint. If it cannot be written, the list is still printed.
        drop(writeln!(anstream::stderr(), "only the newest {ROWS} are shown: use --limit N for more"));
    }
    Ok(rows)
}

/// Up to `limit` of the newest rows, oldest first.
pub(super) fn take<C: Copy>(
    limit: usize,
    mut page: impl FnMut(Option<C>, usize) -> ListResult<C>,
) -> Result<Vec<Box<RawValue>>, Error> {
    let progress =
        if limit > PAGE { indicatif::ProgressBar::no_length() } else { indicatif::ProgressBar::hidden() };
    let mut rows = Vec::new();
    let mut before = None;
    while rows.len() < limit {
        let Page { rows: more, next } = page(before, (limit - rows.len()).min(PAGE))?;
        progress.inc(more.len() as u64);
        rows.extend(more);
        before = next;
        if next.is_none() {
            break;
        }
    }
    rows.reverse();
    Ok(rows)
}

fn cursor(before: Option<i64>, limit: usize) -> Vec<Parameter> {
    let before = before.map(|before| ("before", before.to_string()));
    before.into_iter().chain([("limit", limit.min(PAGE).to_string())]).collect()
}

pub(super) fn raw(row: &impl Serialize) -> Result<Box<RawValue>, Error> {
    to_raw_value(row).map_err(failed)
}

fn raw_rows(rows: impl Iterator<Item: Serialize>) -> Result<Vec<Box<RawValue>>, Error> {
    rows.map(|row| raw(&row)).collect()
}

fn nothing(what: &str, id: i64) -> Error {
    Error::Failed(format!("there is no {what} {id}"))
}

pub(super) fn not_opened(error: JournalOpenError) -> Error {
    let help = match &error {
        JournalOpenError::Locked { .. } => ": omit --journal to ask the running receiver",
        _ => "",
    };
    let told = format!("{error}{help}");
    if error.is_lasting() { Error::Unusable(told) } else { Error::Failed(told) }
}

fn failed(error: serde_json::Error) -> Error {
    Error::Failed(error.to_string())
}
