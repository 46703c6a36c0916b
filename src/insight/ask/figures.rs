//! Figures of messages, grouped as requested: the funnel, durations, and failures.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, params_from_iter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        failures::FailureClasses,
        hour::{begin_of, hour_of},
        spread::Spread,
        vocabulary::OTHER,
    },
    message::category_of,
    words::WordLookup,
};
use crate::{clock::Timestamp, event::Owner, names::names};

/// Maximum number of groups in an answer. The groups with the most messages are shown; the rest is one group, named
/// `other`. A group that is split by hour or day counts once.
pub const GROUPS: usize = 500;
/// Maximum total size of the groups' texts, in bytes.
const GROUP_BYTES: usize = 256 << 10;
/// The number of groups is limited only if there are more slices than this. A slice is a combination of values (source,
/// store, channel, owner, owner id) by which messages are counted.
const FEW_SLICES: i64 = 64;

names! {
    /// The dimensions that figures can be grouped by. The names are those in requests and answers.
    pub enum Dimension {
        /// BIK's category of the owner; the owner itself if BIK documents no category.
        Category = "category",
        /// BIK's word for the sender.
        Owner = "owner",
        /// The id of the sender, such as the id of a broadcast or an automation.
        OwnerId = "ownerId",
        /// The source that received the message's events.
        Source = "source",
        Store = "store",
        Channel = "channel",
        /// The hour in which a message was first seen (UTC); the day, for messages older than `insight.retention`.
        Hour = "hour",
        /// The day in which a message was first seen (UTC).
        Day = "day",
    }
}

impl Dimension {
    const fn is_time(self) -> bool {
        matches!(self, Self::Hour | Self::Day)
    }

    const fn column(self) -> &'static str {
        match self {
            // Owners are merged into categories after the query.
            Self::Category | Self::Owner => "slice.owner",
            Self::OwnerId => "slice.owner_id",
            Self::Source => "slice.source",
            Self::Store => "slice.store",
            Self::Channel => "slice.channel",
            Self::Hour => "at",
            Self::Day => "at / 24 * 24",
        }
    }

    fn value(self, number: Option<i64>, words: &WordLookup<'_>) -> rusqlite::Result<Option<Arc<str>>> {
        match self {
            Self::Hour | Self::Day => Ok(number.map(|hour| begin_of(hour).to_string().into())),
            Self::Category => {
                Ok(words.optional(number)?.map(|owner| category_of(&owner).map_or(owner, Arc::from)))
            }
            _ => words.optional(number),
        }
    }
}

/// Selects and groups figures.
#[derive(Clone, Debug, Default)]
pub struct FigureQuery {
    /// Only messages first seen in the hour of this time or later.
    pub since: Option<Timestamp>,
    /// Only messages first seen before the hour of this time.
    pub until: Option<Timestamp>,
    /// Only messages with these values in these dimensions. Hours and days are not allowed here.
    pub only: Vec<(Dimension, String)>,
    /// The dimensions that the figures are grouped by.
    pub by: Vec<Dimension>,
    /// Whether to include test broadcasts (`TEST_CAMPAIGN`, BIK T14).
    pub tests: bool,
}

/// The funnel of a group of messages. Each of `sent`, `delivered` and `read` includes the messages that got further.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunnelRow {
    /// The values of the group, in the order of `by`. An unknown value is null.
    pub group: Vec<Option<Arc<str>>>,
    /// Number of messages from customers.
    pub incoming: i64,
    /// Number of messages to customers. The fields from `sent` to `deleted` each count some of these messages.
    pub messages: i64,
    /// Number of messages handed over to the channel.
    pub sent: i64,
    /// Number of messages that reached a device.
    pub delivered: i64,
    /// Number of messages that were opened.
    pub read: i64,
    /// Number of messages that were played.
    pub played: i64,
    /// Number of messages that failed and have not arrived since.
    pub failed: i64,
    /// Number of messages that were deleted.
    pub deleted: i64,
    /// The time from sent to delivered.
    pub to_deliver: Percentiles,
    /// The time from sent to read.
    pub to_read: Percentiles,
}

/// Median, p90 and p99 of a duration, in milliseconds. Each value may be up to 1/64 longer than the exact one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Took")]
pub struct Percentiles {
    /// Number of messages that were measured.
    pub messages: u64,
    /// Median in milliseconds; null without messages.
    pub p50_ms: Option<i64>,
    /// 90th percentile in milliseconds; null without messages.
    pub p90_ms: Option<i64>,
    /// 99th percentile in milliseconds; null without messages.
    pub p99_ms: Option<i64>,
}

impl From<&Spread> for Percentiles {
    fn from(spread: &Spread) -> Self {
        Self {
            messages: spread.count(),
            p50_ms: spread.percentile(0.5),
            p90_ms: spread.percentile(0.9),
            p99_ms: spread.percentile(0.99),
        }
    }
}

/// The number of failed messages of one group and one class of failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRow {
    /// The values of the group, in the order of `by`. An unknown value is null.
    pub group: Vec<Option<Arc<str>>>,
    pub class: Arc<str>,
    /// The meaning of the class; empty if the table of failure classes has none for it.
    pub about: String,
    /// Number of messages that failed and have not arrived since.
    pub messages: i64,
}

type GroupValues = Vec<Option<Arc<str>>>;
/// Called for each row of sums, with three arguments. The first has the numbers that stand for the values of the row's
/// group, the second is the row, and the third is the index of the first column after those of the group.
type VisitSums<'a> = dyn FnMut(Vec<Option<i64>>, &rusqlite::Row<'_>, usize) -> rusqlite::Result<()> + 'a;

/// Returns the funnel of each group, sorted by the values of the group.
///
/// # Errors
/// Returns SQLite errors.
pub fn funnel(connection: &Connection, query: &FigureQuery) -> rusqlite::Result<Vec<FunnelRow>> {
    let words = WordLookup::new(connection);
    let Some(compiled) = CompiledQuery::new(connection, query, &words)? else { return Ok(Vec::new()) };
    let mut rows: BTreeMap<GroupValues, FunnelRow> = BTreeMap::new();
    let sums = "sum(incoming), sum(messages), sum(sent), sum(delivered), sum(read), sum(played), sum(failed), sum(deleted)";
    compiled.each(connection, "figure", "", sums, &mut |group, row, at| {
        let group = compiled.group(group, &words)?;
        let sum = rows.entry(group.clone()).or_insert_with(|| FunnelRow { group, ..FunnelRow::default() });
        let count = |column: usize| row.get::<_, i64>(at + column);
        sum.incoming += count(0)?;
        sum.messages += count(1)?;
        sum.sent += count(2)?;
        sum.delivered += count(3)?;
        sum.read += count(4)?;
        sum.played += count(5)?;
        sum.failed += count(6)?;
        sum.deleted += count(7)?;
        Ok(())
    })?;
    let mut spreads: BTreeMap<(GroupValues, i64), Spread> = BTreeMap::new();
    compiled.each(connection, "spread", "measure, bucket", "sum(messages)", &mut |group, row, at| {
        let group = compiled.group(group, &words)?;
        let messages: i64 = row.get(at + 2)?;
        let spread = spreads.entry((group, row.get(at)?)).or_default();
        spread.add(row.get(at + 1)?, messages.try_into().unwrap_or(0));
        Ok(())
    })?;
    for ((group, measure), spread) in &spreads {
        if let Some(row) = rows.get_mut(group) {
            let took = if *measure == 0 { &mut row.to_deliver } else { &mut row.to_read };
            *took = Percentiles::from(spread);
        }
    }
    // A message moves to another group when one of its unknown values becomes known. A group that all messages have
    // left has only zeros.
    Ok(rows.into_values().filter(|row| row.incoming != 0 || row.messages != 0).collect())
}

/// Returns the failures by group and class; within a group, the most frequent class first.
///
/// # Errors
/// Returns SQLite errors.
pub fn failures(
    connection: &Connection,
    query: &FigureQuery,
    classes: &FailureClasses,
) -> rusqlite::Result<Vec<FailureRow>> {
    let words = WordLookup::new(connection);
    let Some(compiled) = CompiledQuery::new(connection, query, &words)? else { return Ok(Vec::new()) };
    let mut sums: BTreeMap<(GroupValues, Arc<str>), i64> = BTreeMap::new();
    compiled.each(connection, "failure", "class", "sum(messages)", &mut |group, row, at| {
        let class = words.text(row.get(at)?)?;
        *sums.entry((compiled.group(group, &words)?, class)).or_default() += row.get::<_, i64>(at + 1)?;
        Ok(())
    })?;
    let mut rows: Vec<FailureRow> = sums
        .into_iter()
        .filter(|(_, messages)| *messages != 0)
        .map(|((group, class), messages)| FailureRow {
            group,
            about: classes.about(&class).to_owned(),
            class,
            messages,
        })
        .collect();
    rows.sort_by(|one, other| {
        one.group.cmp(&other.group).then(other.messages.cmp(&one.messages)).then(one.class.cmp(&other.class))
    });
    Ok(rows)
}

/// A figure query, translated to SQL.
struct CompiledQuery<'a> {
    by: &'a [Dimension],
    conditions: String,
    values: Vec<i64>,
    /// The groups that are shown and not counted as `other`, each without its hour or day; `None` if all are shown.
    shown: Option<HashSet<Vec<Option<i64>>>>,
}

impl<'a> CompiledQuery<'a> {
    /// Returns `None` if a requested value was never stored.
    fn new(
        connection: &Connection,
        query: &'a FigureQuery,
        words: &WordLookup<'_>,
    ) -> rusqlite::Result<Option<Self>> {
        let mut conditions = vec!["1".to_owned()];
        let mut values = Vec::new();
        for (column, time) in [("at >=", query.since), ("at <", query.until)] {
            if let Some(time) = time {
                values.push(hour_of(time));
                conditions.push(format!("{column} ?{}", values.len()));
            }
        }
        for (dimension, value) in &query.only {
            let owners = Owner::KNOWN.iter().copied().filter(|owner| category_of(owner) == Some(value));
            let texts: Vec<&str> =
                if *dimension == Dimension::Category { owners.collect() } else { vec![value] };
            let mut ids = Vec::new();
            for text in texts {
                ids.extend(words.id(text)?);
            }
            if ids.is_empty() {
                return Ok(None);
            }
            let places: Vec<String> =
                ids.iter().zip(values.len() + 1..).map(|(_, at)| format!("?{at}")).collect();
            conditions.push(format!("{} IN ({})", dimension.column(), places.join(", ")));
            values.extend(ids);
        }
        let test = if query.tests { None } else { words.id(Owner::TestCampaign.as_str())? };
        if let Some(test) = test {
            values.push(test);
            conditions.push(format!("slice.owner IS NOT ?{}", values.len()));
        }
        let mut compiled = Self { by: &query.by, conditions: conditions.join(" AND "), values, shown: None };
        compiled.shown = compiled.largest(connection, words)?;
        Ok(Some(compiled))
    }

    /// Returns the largest groups if there are too many to show; `None` if all can be shown. For a grouping by
    /// category, these are groups by owner, which are merged into categories later. In this case, groups of owners that
    /// BIK documents are chosen before larger groups of other owners.
    fn largest(
        &self,
        connection: &Connection,
        words: &WordLookup<'_>,
    ) -> rusqlite::Result<Option<HashSet<Vec<Option<i64>>>>> {
        let kinds: Vec<Dimension> =
            self.by.iter().copied().filter(|dimension| !dimension.is_time()).collect();
        if kinds.is_empty() {
            return Ok(None);
        }
        let slices: i64 = connection
            .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM slice LIMIT ?1)")?
            .query_row([FEW_SLICES + 1], |row| row.get(0))?;
        if slices <= FEW_SLICES {
            return Ok(None);
        }
        let columns = kinds.iter().map(|dimension| dimension.column()).collect::<Vec<_>>().join(", ");
        let known = if kinds.contains(&Dimension::Category) { known_owners(words)? } else { String::new() };
        let sql = format!(
            "SELECT {columns} FROM figure JOIN slice ON slice.id = figure.slice WHERE {}
             GROUP BY {columns} ORDER BY slice.owner IN ({known}) DESC, sum(incoming + messages) DESC, {columns} LIMIT {}",
            self.conditions,
            GROUPS + 1
        );
        let mut select = connection.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(&self.values))?;
        let (mut shown, mut bytes) = (HashSet::new(), 0);
        while let Some(row) = rows.next()? {
            let group: Vec<Option<i64>> =
                (0..kinds.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?;
            for word in &group {
                bytes += words.optional(*word)?.map_or(0, |text| text.len());
            }
            if shown.len() == GROUPS || bytes > GROUP_BYTES {
                return Ok(Some(shown));
            }
            shown.insert(group);
        }
        Ok(None)
    }

    /// Calls `visit` for each row of sums.
    fn each(
        &self,
        connection: &Connection,
        table: &str,
        further: &str,
        sums: &str,
        visit: &mut VisitSums<'_>,
    ) -> rusqlite::Result<()> {
        let by = self.by.iter().map(|dimension| dimension.column());
        let groups: Vec<&str> = by.chain(Some(further).filter(|further| !further.is_empty())).collect();
        let columns = groups.iter().copied().chain(Some(sums)).collect::<Vec<_>>().join(", ");
        let grouped =
            if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
        let sql = format!(
            "SELECT {columns} FROM {table} JOIN slice ON slice.id = {table}.slice WHERE {}{grouped} HAVING count(*) > 0",
            self.conditions
        );
        let mut select = connection.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(&self.values))?;
        while let Some(row) = rows.next()? {
            let group = (0..self.by.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?;
            visit(group, row, self.by.len())?;
        }
        Ok(())
    }

    fn group(&self, numbers: Vec<Option<i64>>, words: &WordLookup<'_>) -> rusqlite::Result<GroupValues> {
        let is_shown = self.shown.as_ref().is_none_or(|shown| {
            let of_kinds = self.by.iter().zip(&numbers).filter(|(dimension, _)| !dimension.is_time());
            shown.contains(&of_kinds.map(|(_, number)| *number).collect::<Vec<_>>())
        });
        let value = |(dimension, number): (&Dimension, Option<i64>)| match is_shown || dimension.is_time() {
            true => dimension.value(number, words),
            false => Ok(Some(OTHER.into())),
        };
        self.by.iter().zip(numbers).map(value).collect()
    }
}

/// Returns the [`WordLookup`] ids of the owners that BIK documents, as an SQL list; may be empty.
fn known_owners(words: &WordLookup<'_>) -> rusqlite::Result<String> {
    let mut numbers = Vec::new();
    for owner in Owner::KNOWN {
        numbers.extend(words.id(owner)?.map(|number| number.to_string()));
    }
    Ok(numbers.join(", "))
}
