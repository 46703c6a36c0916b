//! Figures: the message funnel, failures, arrivals, and sources.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};
use serde::Serialize;

use super::{ApiResult, insight};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, no_such_word},
        wire::{ArrivalList, FigureList, SourceList, SourceReport},
    },
    clock::Timestamp,
    insight::{
        HOUR_MS,
        ask::{self, Dimension, FailureRow, FigureQuery, SourceRow},
    },
};

/// The default period of figures: the last 7 days.
const SINCE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// The maximum number of rows in an answer.
const ROWS: usize = 20_000;
/// The dimensions that a query can filter by.
const ONLY: [Dimension; 6] = [
    Dimension::Category,
    Dimension::Owner,
    Dimension::OwnerId,
    Dimension::Source,
    Dimension::Store,
    Dimension::Channel,
];

/// `GET funnel?since=&until=&by=&category=&owner=&ownerId=&source=&store=&channel=&tests=`: `by` is a comma-separated
/// list of [`Dimension::ALL`].
pub(super) async fn funnel(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let request = FigureRequest::take(&shared, &mut parameters)?;
    parameters.end()?;
    let query = request.query.clone();
    let rows = insight::of(&shared)?.ask(move |file| ask::funnel(file, &query)).await?;
    request.answer(rows)
}

/// `GET failures`: same parameters as `funnel`.
pub(super) async fn failures(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let request = FigureRequest::take(&shared, &mut parameters)?;
    parameters.end()?;
    let query = request.query.clone();
    let insight = insight::of(&shared)?;
    let classes = insight.failures().clone();
    let rows: Vec<FailureRow> = insight.ask(move |file| ask::failures(file, &query, &classes)).await?;
    request.answer(rows)
}

/// The parameters of a query for figures.
struct FigureRequest {
    span: Span,
    query: FigureQuery,
}

impl FigureRequest {
    fn take(shared: &AdminState, parameters: &mut Parameters) -> Result<Self, RequestError> {
        let span = Span::take(shared, parameters)?;
        let by = match parameters.take::<String>("by")? {
            Some(names) if !names.is_empty() => dimensions(&names)?,
            _ => Vec::new(),
        };
        let mut only = Vec::new();
        for dimension in ONLY {
            if let Some(value) = parameters.take(dimension.as_str())? {
                only.push((dimension, value));
            }
        }
        let tests = parameters.flag("tests")?;
        let query =
            FigureQuery { since: Some(span.since), until: Some(span.last_hour_too()), only, by, tests };
        Ok(Self { span, query })
    }

    fn answer<T: Serialize>(self, rows: Vec<T>) -> ApiResult {
        bounded(&rows, "by")?;
        let Span { since, until } = self.span;
        let by = self.query.by.into_iter().map(|by| by.as_str().to_owned()).collect();
        Ok(Json(FigureList { since, until, by, rows }).into_response())
    }
}

/// Parses a comma-separated list of dimension names.
fn dimensions(names: &str) -> Result<Vec<Dimension>, RequestError> {
    let mut by = Vec::new();
    for name in names.split(',').map(str::trim) {
        let dimension = Dimension::from_name(name)
            .ok_or_else(|| no_such_word("by", name, &Dimension::ALL.map(Dimension::as_str)))?;
        if by.contains(&dimension) {
            return Err(RequestError::parameter("by", format!("{name} is given more than once")));
        }
        by.push(dimension);
    }
    Ok(by)
}

/// `GET arrivals?since=&until=&by=`: grouped by `hour` (the default) or by `day`.
pub(super) async fn arrivals(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let span = Span::take(&shared, &mut parameters)?;
    let by_day = |name: &str| match name {
        "hour" => Some(false),
        "day" => Some(true),
        _ => None,
    };
    let by_day = parameters.word("by", by_day, &["hour", "day"])?.unwrap_or(false);
    parameters.end()?;
    let rows =
        insight::of(&shared)?.ask(move |file| ask::arrivals(file, span.since, span.until, by_day)).await?;
    bounded(&rows, "since")?;
    Ok(Json(ArrivalList { rows }).into_response())
}

/// `GET sources?since=`: what each source sent since then.
pub(super) async fn sources(State(shared): State<Arc<AdminState>>, mut parameters: Parameters) -> ApiResult {
    let now = shared.parts.journal.clock().now();
    let since = parameters.take("since")?.unwrap_or_else(|| now.plus_ms(-SINCE_MS));
    parameters.end()?;
    let rows = insight::of(&shared)?.ask(move |file| ask::sources(file, since)).await?;
    let row = |row: SourceRow| SourceReport { silent_seconds: now.ms_since(row.last_at).max(0) / 1_000, row };
    Ok(Json(SourceList { sources: rows.into_iter().map(row).collect() }).into_response())
}

/// The period of a query.
#[derive(Clone, Copy)]
struct Span {
    since: Timestamp,
    until: Timestamp,
}

impl Span {
    fn take(shared: &AdminState, parameters: &mut Parameters) -> Result<Self, RequestError> {
        let until = parameters.take("until")?.unwrap_or_else(|| shared.parts.journal.clock().now());
        let since = parameters.take("since")?.unwrap_or_else(|| until.plus_ms(-SINCE_MS));
        Ok(Self { since, until })
    }

    /// The end of the period, moved so that an hour which has only begun counts too.
    fn last_hour_too(self) -> Timestamp {
        self.until.plus_ms(HOUR_MS - 1)
    }
}

/// Rejects an answer with more than [`ROWS`] rows. `by` is the parameter that the error names.
fn bounded<T>(rows: &[T], by: &'static str) -> Result<(), RequestError> {
    if rows.len() > ROWS {
        let what = format!(
            "gives {} rows, more than {ROWS}: choose a shorter period or a coarser grouping",
            rows.len()
        );
        return Err(RequestError::parameter(by, what));
    }
    Ok(())
}
