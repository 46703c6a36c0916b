//! Insight's figures as metrics: gathered when somebody scrapes them, once at a time.
//!
//! Whatever BIK sends, the labels stay the same: categories of this code and classes of the table. An owner of no category
//! counts as [`OTHER`], and so does a class that the table had once.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::Connection;

use super::{
    Error, Failures, Insight, UNKNOWN,
    ask::{self, Dimension, FigureQuery, FunnelRow, Took, WINDOW_MS},
    hour::HOUR_MS,
};
use crate::{clock::Timestamp, event::Category, metrics::Metrics};

/// What is of no known category or class.
const OTHER: &str = "other";
/// More customers who wait are not counted.
const WAITING_MOST: usize = 10_000;

impl Insight {
    /// Brings the metrics that come from here up to date. Where somebody is at it already, that is enough.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn measure(&self, now: Timestamp) -> Result<(), Error> {
        let Ok(place) = Arc::clone(&self.measuring).try_acquire_owned() else { return Ok(()) };
        let (metrics, classes) = (Arc::clone(&self.metrics), self.failures.clone());
        self.ask(move |connection| {
            // Kept until it has ended, also where nobody waits for it any longer.
            let _place = place;
            show_waiting(connection, &metrics, now)?;
            show_silence(connection, &metrics, now)?;
            show_messages(connection, &metrics, now)?;
            show_failures(connection, &metrics, &classes, now)
        })
        .await
    }
}

fn show_waiting(connection: &Connection, metrics: &Metrics, now: Timestamp) -> rusqlite::Result<()> {
    let (customers, oldest) = ask::waiting_since(connection, now.plus_ms(-WINDOW_MS), WAITING_MOST)?;
    metrics.customers_waiting.set(i64::try_from(customers).unwrap_or(i64::MAX));
    metrics.customer_waiting_seconds.set(oldest.map_or(0, |at| now.ms_since(at).max(0) / 1_000));
    Ok(())
}

/// What was heard before this process began.
fn show_silence(connection: &Connection, metrics: &Metrics, now: Timestamp) -> rusqlite::Result<()> {
    for row in ask::sources(connection, now)? {
        // One that is configured no more is silent for good.
        if let Some(silence) = metrics.silence.get(&vec![("source", row.source)]) {
            // One that came while the clock was ahead was not heard later than now.
            silence.heard(now.ms_since(row.last_at).max(0));
        }
    }
    Ok(())
}

fn show_messages(connection: &Connection, metrics: &Metrics, now: Timestamp) -> rusqlite::Result<()> {
    let mut sums: BTreeMap<&str, [i64; STEPS.len()]> =
        categories().map(|category| (category, [0; STEPS.len()])).collect();
    let mut took: BTreeMap<&str, Took> = BTreeMap::new();
    for row in ask::funnel(connection, &recent(now))? {
        let category = category_of(&row.group);
        took.insert(category, row.to_deliver);
        let sum = sums.entry(category).or_default();
        sum.iter_mut().zip(counts(&row)).for_each(|(sum, count)| *sum += count);
    }
    for (category, sum) in sums {
        for (step, count) in STEPS.into_iter().zip(sum) {
            let labels = vec![("category", category.into()), ("step", step.into())];
            metrics.recent_messages.get_or_create(&labels).set(count);
        }
    }
    // Of the others there may be many owners, each with its own: no percentile is of all of them.
    for category in categories().filter(|category| *category != OTHER) {
        let took = took.get(category).copied().unwrap_or_default();
        for (quantile, ms) in [("0.5", took.p50_ms), ("0.9", took.p90_ms), ("0.99", took.p99_ms)] {
            let labels = vec![("category", category.into()), ("quantile", quantile.into())];
            #[allow(clippy::cast_precision_loss)] // durations far below 2^52 ms
            let seconds = ms.map_or(f64::NAN, |ms| ms as f64 / 1_000.0);
            metrics.recent_delivery_seconds.get_or_create(&labels).set(seconds);
        }
    }
    Ok(())
}

fn show_failures(
    connection: &Connection,
    metrics: &Metrics,
    classes: &Failures,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let names: Vec<&str> = classes.names().chain([UNKNOWN, OTHER]).collect();
    let mut sums: BTreeMap<(&str, &str), i64> =
        categories().flat_map(|category| names.iter().map(move |class| ((category, *class), 0))).collect();
    for row in ask::failures(connection, &recent(now), classes)? {
        let class = names.iter().find(|name| **name == &*row.class).copied().unwrap_or(OTHER);
        *sums.entry((category_of(&row.group), class)).or_default() += row.messages;
    }
    for ((category, class), messages) in sums {
        let labels = vec![("category", category.into()), ("class", class.into())];
        metrics.recent_failures.get_or_create(&labels).set(messages);
    }
    Ok(())
}

/// Of messages first seen in this hour or the last one: figures are kept by the hour.
fn recent(now: Timestamp) -> FigureQuery {
    FigureQuery {
        since: Some(now.plus_ms(-HOUR_MS)),
        by: vec![Dimension::Category],
        ..FigureQuery::default()
    }
}

fn categories() -> impl Iterator<Item = &'static str> {
    Category::ALL.into_iter().map(Category::as_str).chain([OTHER])
}

/// The category of a group that was told apart by it.
fn category_of(group: &[Option<Arc<str>>]) -> &'static str {
    let named = group.first().and_then(Option::as_deref);
    named.and_then(|name| categories().find(|category| *category == name)).unwrap_or(OTHER)
}

const STEPS: [&str; 8] = ["incoming", "all", "sent", "delivered", "read", "played", "failed", "deleted"];

/// In the order of [`STEPS`].
const fn counts(row: &FunnelRow) -> [i64; STEPS.len()] {
    [row.incoming, row.messages, row.sent, row.delivered, row.read, row.played, row.failed, row.deleted]
}
