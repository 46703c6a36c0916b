//! Insight's figures as metrics. A scrape updates the metrics, unless the update of another scrape is running.
//!
//! The labels do not depend on what BIK sends: they are the categories of owners ([`Category`]), the configured
//! [`FailureClasses`], and the configured sources. An owner without a category counts as [`OTHER`], and so does a
//! failure class that is no longer configured.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::Connection;

use super::{
    Error, FailureClasses, Insight,
    ask::{self, Dimension, FigureQuery, FunnelRow, Percentiles, WaitingSpan},
    failures::UNKNOWN,
    hour::HOUR_MS,
};
use crate::{clock::Timestamp, event::Category, metrics::Metrics};

/// The label of owners without a category, and of failure classes that are no longer configured.
const OTHER: &str = "other";
/// Maximum number of waiting customers that are counted.
const WAITING_MOST: usize = 10_000;

impl Insight {
    /// Updates the metrics that come from insight. Does nothing if another update is running.
    ///
    /// # Errors
    /// Returns an [`Error`] if insight's file cannot be read.
    pub async fn measure(&self, now: Timestamp) -> Result<(), Error> {
        let Ok(place) = Arc::clone(&self.measuring).try_acquire_owned() else { return Ok(()) };
        let (metrics, classes) = (Arc::clone(&self.metrics), self.failures.clone());
        self.ask(move |connection| {
            // Held until the update ends, even if the caller no longer waits for it.
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
    let (customers, oldest) = ask::count_waiting(connection, WaitingSpan::recent(now), WAITING_MOST)?;
    let (missed, _) = ask::count_waiting(connection, WaitingSpan::missed(now), WAITING_MOST)?;
    metrics.customers_waiting.set(i64::try_from(customers).unwrap_or(i64::MAX));
    metrics.customers_missed.set(i64::try_from(missed).unwrap_or(i64::MAX));
    metrics.customer_waiting_seconds.set(oldest.map_or(0, |at| now.ms_since(at).max(0) / 1_000));
    Ok(())
}

/// Sets the time since the last event of each configured source. That event may be older than this process.
fn show_silence(connection: &Connection, metrics: &Metrics, now: Timestamp) -> rusqlite::Result<()> {
    for row in ask::sources(connection, now)? {
        // A source that is no longer configured has no metric, because it would be silent forever.
        if let Some(silence) = metrics.silence.get(&vec![("source", row.source)]) {
            // `last_at` is later than `now` if the clock was fast when the event came. Then the event counts as
            // received now.
            silence.record(now.ms_since(row.last_at).max(0));
        }
    }
    Ok(())
}

fn show_messages(connection: &Connection, metrics: &Metrics, now: Timestamp) -> rusqlite::Result<()> {
    let mut sums: BTreeMap<&str, [i64; STEPS.len()]> =
        categories().map(|category| (category, [0; STEPS.len()])).collect();
    let mut took: BTreeMap<&str, Percentiles> = BTreeMap::new();
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
    // `OTHER` gets no percentiles. Each owner without a category has its own row with percentiles, and the percentiles
    // of several rows cannot be combined.
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
    classes: &FailureClasses,
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

/// Selects messages first seen in the current hour or the one before. Figures are kept per hour, and the current hour
/// may have begun only a moment ago.
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

/// Returns the category of a row that is grouped by category.
fn category_of(group: &[Option<Arc<str>>]) -> &'static str {
    let named = group.first().and_then(Option::as_deref);
    named.and_then(|name| categories().find(|category| *category == name)).unwrap_or(OTHER)
}

const STEPS: [&str; 8] = ["incoming", "all", "sent", "delivered", "read", "played", "failed", "deleted"];

/// Returns the counts of a row, in the order of [`STEPS`].
const fn counts(row: &FunnelRow) -> [i64; STEPS.len()] {
    [row.incoming, row.messages, row.sent, row.delivered, row.read, row.played, row.failed, row.deleted]
}
