//! Message figures for a period: the funnel, the figures over time, failures, and sources.

use std::{collections::BTreeMap, sync::Arc};

use super::needs::WAITING_MAX;
use crate::{
    admin::page::{
        error_page::ErrorPage,
        form_fields::FormFields,
        format::{Percentage, When, duration, maybe_duration, number, time_field},
        links::encoded,
        period::{FigurePeriod, RANGES},
    },
    clock::Timestamp,
    insight::{
        Insight,
        ask::{self, Dimension, FigureQuery, FunnelRow, SourceRow, WaitingSpan},
    },
};

/// The maximum number of values to choose from in a field of the form. The selected value is shown even beyond this
/// limit.
const CHOICES_MAX: usize = 200;
/// The maximum total size of the values of one field, in bytes. The selected value is shown even beyond this limit.
const CHOICE_BYTES: usize = 16 << 10;
/// The maximum number of funnel groups. A group is a category of BIK or, for messages without a category, an owner
/// (BIK's word for the sender).
const GROUPS_MAX: usize = 20;

/// All figures of the page.
pub(super) struct MessageFigures {
    pub(super) period: FigurePeriod,
    pub(super) choices: Vec<FilterField>,
    pub(super) groups: Vec<Funnel>,
    pub(super) total: Funnel,
    /// No message to a customer in the period matches the filters.
    pub(super) is_empty: bool,
    /// The number of messages from customers.
    pub(super) incoming: String,
    pub(super) steps: Vec<PeriodStep>,
    pub(super) failures: Vec<FailureCount>,
    pub(super) sources: Vec<SourceFigures>,
    /// Customers who have waited for an answer for at most 24 hours; counted up to `WAITING_MAX` + 1.
    pub(super) waiting: usize,
    /// Customers who have waited for longer; counted up to `WAITING_MAX` + 1.
    pub(super) missed: usize,
}

/// A field that filters the figures.
pub(super) struct FilterField {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) values: Vec<Arc<str>>,
}

/// The message outcomes of a group.
pub(super) struct Funnel {
    pub(super) name: String,
    pub(super) messages: String,
    /// Sent, delivered, read and failed.
    pub(super) shares: [Percentage; 4],
    /// Time to deliver, median and p90; time to read, median and p90.
    pub(super) times: [String; 4],
}

/// The figures of one hour or one day.
pub(super) struct PeriodStep {
    pub(super) at: When,
    /// Messages to customers; those delivered, read, and failed; and messages from customers. Each as a number and as
    /// text.
    pub(super) columns: [(i64, String); 5],
}

/// The messages whose failures are of one class.
pub(super) struct FailureCount {
    pub(super) class: Arc<str>,
    pub(super) about: String,
    pub(super) messages: String,
    pub(super) share: Percentage,
}

/// A source with its figures since the start of the period, and the time since its last event.
pub(super) struct SourceFigures {
    pub(super) name: Arc<str>,
    pub(super) link: String,
    pub(super) last_at: When,
    /// The time since `last_at`.
    pub(super) silent: String,
    pub(super) events: String,
    /// The delay from BIK's timestamp to receipt, median and p90.
    pub(super) late: [String; 2],
    pub(super) disordered: Percentage,
    pub(super) repeated: Percentage,
}

/// The fields of the form: name, label, and the dimension that each filters by.
const FIELDS: [(&str, &str, Dimension); 4] = [
    ("category", "Category", Dimension::Category),
    ("channel", "Channel", Dimension::Channel),
    ("store", "Store", Dimension::Store),
    ("source", "Source", Dimension::Source),
];

impl MessageFigures {
    pub(super) async fn of(
        insight: &Insight,
        period: FigurePeriod,
        form: &FormFields,
        now: Timestamp,
    ) -> Result<Self, ErrorPage> {
        let classes = insight.failures().clone();
        let only: Vec<(Dimension, String)> = FIELDS
            .iter()
            .filter_map(|(name, _, dimension)| Some((*dimension, form.text(name)?.to_owned())))
            .collect();
        let all =
            FigureQuery { since: Some(period.since), until: Some(period.until), ..FigureQuery::default() };
        let since = period.since;
        let step = period.step();
        let answer = insight.ask(move |connection| {
            let by = |by: &[Dimension]| FigureQuery { by: by.to_vec(), only: only.clone(), ..all.clone() };
            let mut choices = Vec::new();
            for (_, _, dimension) in FIELDS {
                let rows = ask::funnel(connection, &FigureQuery { by: vec![dimension], ..all.clone() })?;
                choices.push(rows.into_iter().filter_map(|row| row.group.into_iter().next()?));
            }
            Ok((
                choices,
                ask::funnel(connection, &by(&[Dimension::Category]))?,
                ask::funnel(connection, &by(&[]))?,
                ask::funnel(connection, &by(&[step]))?,
                ask::failures(connection, &by(&[]), &classes)?,
                ask::sources(connection, since)?,
                ask::count_waiting(connection, WaitingSpan::recent(now), WAITING_MAX + 1)?.0,
                ask::count_waiting(connection, WaitingSpan::missed(now), WAITING_MAX + 1)?.0,
            ))
        });
        let (choices, groups, total, steps, failures, sources, waiting, missed) = answer.await?;
        let total = total.into_iter().next().unwrap_or_default();
        let failed: i64 = failures.iter().map(|failure| failure.messages).sum();
        Ok(Self {
            choices: FIELDS.iter().zip(choices).map(|(field, values)| choice(field, values, form)).collect(),
            groups: largest(groups).iter().map(Funnel::of_group).collect(),
            is_empty: total.messages == 0,
            incoming: number(total.incoming),
            total: Funnel::new("All", &total),
            steps: by_step(&period, steps),
            failures: failures
                .into_iter()
                .map(|row| FailureCount {
                    class: row.class,
                    about: row.about,
                    messages: number(row.messages),
                    share: Percentage::new(row.messages, failed, "bad"),
                })
                .collect(),
            sources: sources.into_iter().map(|row| SourceFigures::of(row, now)).collect(),
            waiting,
            missed,
            period,
        })
    }

    pub(super) fn ranges(&self) -> [(&'static str, &'static str); 4] {
        RANGES
    }

    pub(super) fn since(&self) -> String {
        time_field(self.period.since)
    }

    pub(super) fn until(&self) -> String {
        time_field(self.period.until)
    }

    /// The length of one step: `hour` or `day`.
    pub(super) fn step(&self) -> &'static str {
        if self.period.step() == Dimension::Hour { "hour" } else { "day" }
    }
}

/// The groups with the most messages to customers, sorted by name. Groups without messages are omitted.
fn largest(groups: Vec<FunnelRow>) -> Vec<FunnelRow> {
    let mut rows: Vec<FunnelRow> = groups.into_iter().filter(|row| row.messages > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.messages));
    rows.truncate(GROUPS_MAX);
    rows.sort_by(|one, other| one.group.cmp(&other.group));
    rows
}

fn choice(
    (name, label, _): &(&'static str, &'static str, Dimension),
    values: impl Iterator<Item = Arc<str>>,
    form: &FormFields,
) -> FilterField {
    let mut bytes = 0;
    let fits = |value: &Arc<str>| {
        bytes += value.len();
        bytes <= CHOICE_BYTES
    };
    let values = values.take(CHOICES_MAX).take_while(fits);
    let mut values: Vec<Arc<str>> = values.collect();
    // A selected value stays in the list even if it has no messages or is beyond the limits.
    if let Some(chosen) = form.text(name).filter(|chosen| values.iter().all(|value| **value != **chosen)) {
        values.push(chosen.into());
    }
    FilterField { name, label, values }
}

/// The steps (hours or days) of the period. Steps without messages are included if the period has at most 400 steps.
fn by_step(period: &FigurePeriod, rows: Vec<FunnelRow>) -> Vec<PeriodStep> {
    let mut steps: BTreeMap<Timestamp, FunnelRow> =
        period.steps().into_iter().map(|at| (at, FunnelRow::default())).collect();
    for row in rows {
        if let Some(at) = row.group.first().and_then(|at| at.as_ref()?.parse().ok()) {
            steps.insert(at, row);
        }
    }
    let step = |(at, row): (Timestamp, FunnelRow)| PeriodStep {
        at: When::from(at),
        columns: [row.messages, row.delivered, row.read, row.failed, row.incoming]
            .map(|value| (value, number(value))),
    };
    steps.into_iter().map(step).collect()
}

impl Funnel {
    fn of_group(row: &FunnelRow) -> Self {
        let name = match row.group.first().and_then(Option::as_deref) {
            None => "unknown",
            Some("crm") => "CRM",
            Some("broadcast") => "Broadcast",
            Some("automation") => "Automation",
            Some("dev_api") => "Dev API",
            Some(owner) => owner,
        };
        Self::new(name, row)
    }

    fn new(name: &str, row: &FunnelRow) -> Self {
        let share = |part, colour| Percentage::new(part, row.messages, colour);
        let FunnelRow { to_deliver, to_read, .. } = row;
        Self {
            name: name.to_owned(),
            messages: number(row.messages),
            shares: [
                share(row.sent, ""),
                share(row.delivered, "ok"),
                share(row.read, "ok"),
                share(row.failed, "bad"),
            ],
            times: [to_deliver.p50_ms, to_deliver.p90_ms, to_read.p50_ms, to_read.p90_ms].map(maybe_duration),
        }
    }
}

impl SourceFigures {
    fn of(row: SourceRow, now: Timestamp) -> Self {
        Self {
            link: format!("/events?source={}", encoded(&row.source)),
            name: row.source,
            last_at: When::from(row.last_at),
            silent: duration(now.ms_since(row.last_at).max(0)),
            events: number(row.events),
            late: [row.late.p50_ms, row.late.p90_ms].map(maybe_duration),
            disordered: Percentage::new(row.disordered, row.events, ""),
            repeated: Percentage::new(row.repeated, row.events, ""),
        }
    }
}
