//! Figures: the message funnel, failures, arrivals, and sources.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiResult, insight};
use crate::{
    admin::{
        AdminState,
        error::RequestError,
        params::{Parameters, TakeParameters, UrlQuery},
        wire::{ArrivalList, FigureList, SourceList, SourceReport},
    },
    clock::Timestamp,
    insight::{
        HOUR_MS,
        ask::{self, Dimension, FailureRow, FigureQuery, FunnelRow, SourceRow},
    },
};

/// The length of the default period of figures: the last 7 days.
const SINCE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// The maximum number of rows of figures or arrivals in an answer. A query that gives more is rejected.
const ROWS: usize = 20_000;
/// The dimensions that a query can filter by.
const ONLY: [(Dimension, &str); 6] = [
    (Dimension::Category, "Only messages with this category."),
    (Dimension::Owner, "Only messages with this owner."),
    (Dimension::OwnerId, "Only messages with this owner id."),
    (Dimension::Source, "Only messages from this source."),
    (Dimension::Store, "Only messages of this store."),
    (Dimension::Channel, "Only messages on this channel."),
];

/// `GET funnel`
pub(super) async fn funnel(
    State(shared): State<Arc<AdminState>>,
    Parameters(request): Parameters<FigureRequest>,
) -> ApiResult<FigureList<FunnelRow>> {
    let span = request.span.of(&shared);
    let query = request.query(span);
    let rows = insight::of(&shared)?.ask(move |file| ask::funnel(file, &query)).await?;
    request.answer(span, rows)
}

/// `GET failures`
pub(super) async fn failures(
    State(shared): State<Arc<AdminState>>,
    Parameters(request): Parameters<FigureRequest>,
) -> ApiResult<FigureList<FailureRow>> {
    let span = request.span.of(&shared);
    let query = request.query(span);
    let insight = insight::of(&shared)?;
    let classes = insight.failures().clone();
    let rows = insight.ask(move |file| ask::failures(file, &query, &classes)).await?;
    request.answer(span, rows)
}

/// The parameters of a query for figures.
pub(super) struct FigureRequest {
    span: SpanRequest,
    by: Vec<Dimension>,
    only: Vec<(Dimension, String)>,
    tests: bool,
}

impl TakeParameters for FigureRequest {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let span = SpanRequest::take(query)?;
        let names = Dimension::ALL.map(Dimension::as_str);
        let by =
            query.words("by", "Group by these dimensions, in this order.", Dimension::from_name, &names)?;
        let mut only = Vec::new();
        for (dimension, description) in ONLY {
            if let Some(value) = query.take(dimension.as_str(), description)? {
                only.push((dimension, value));
            }
        }
        Ok(Self { span, by, only, tests: query.flag("tests", "1: include test broadcasts.")? })
    }
}

impl FigureRequest {
    fn query(&self, (since, until): Span) -> FigureQuery {
        FigureQuery {
            since: Some(since),
            // Figures are kept per hour, and the query rounds `until` down. The addition makes it round up.
            until: Some(until.plus_ms(HOUR_MS - 1)),
            only: self.only.clone(),
            by: self.by.clone(),
            tests: self.tests,
        }
    }

    fn answer<R>(self, (since, until): Span, rows: Vec<R>) -> ApiResult<FigureList<R>> {
        bounded(&rows, "by")?;
        let by = self.by.into_iter().map(|by| by.as_str().to_owned()).collect();
        Ok(Json(FigureList { since, until, by, rows }))
    }
}

/// The parameters of `GET arrivals`.
pub(super) struct ArrivalQuery {
    span: SpanRequest,
    by_day: bool,
}

impl TakeParameters for ArrivalQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        let span = SpanRequest::take(query)?;
        let by_day = |name: &str| match name {
            "hour" => Some(false),
            "day" => Some(true),
            _ => None,
        };
        let by_day =
            query.word("by", "Group by hour (the default) or by day (UTC).", by_day, &["hour", "day"])?;
        Ok(Self { span, by_day: by_day.unwrap_or(false) })
    }
}

/// `GET arrivals`
pub(super) async fn arrivals(
    State(shared): State<Arc<AdminState>>,
    Parameters(ArrivalQuery { span, by_day }): Parameters<ArrivalQuery>,
) -> ApiResult<ArrivalList> {
    let (since, until) = span.of(&shared);
    let rows = insight::of(&shared)?.ask(move |file| ask::arrivals(file, since, until, by_day)).await?;
    bounded(&rows, "since")?;
    Ok(Json(ArrivalList { rows }))
}

/// The parameter of `GET sources`.
pub(super) struct SourceQuery {
    since: Option<Timestamp>,
}

impl TakeParameters for SourceQuery {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        Ok(Self { since: query.since()? })
    }
}

/// `GET sources`: what each source sent since `since`, by default in the last 7 days.
pub(super) async fn sources(
    State(shared): State<Arc<AdminState>>,
    Parameters(SourceQuery { since }): Parameters<SourceQuery>,
) -> ApiResult<SourceList<SourceReport>> {
    let now = shared.parts.journal.clock().now();
    let since = since.unwrap_or_else(|| now.plus_ms(-SINCE_MS));
    let rows = insight::of(&shared)?.ask(move |file| ask::sources(file, since)).await?;
    let row = |row: SourceRow| SourceReport { silent_seconds: now.ms_since(row.last_at).max(0) / 1_000, row };
    Ok(Json(SourceList { sources: rows.into_iter().map(row).collect() }))
}

/// The period that a request asks for. An absent `since` or `until` gets a default.
#[derive(Clone, Copy)]
struct SpanRequest {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl SpanRequest {
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError> {
        Ok(Self { until: query.until()?, since: query.since()? })
    }

    fn of(self, shared: &AdminState) -> Span {
        let until = self.until.unwrap_or_else(|| shared.parts.journal.clock().now());
        (self.since.unwrap_or_else(|| until.plus_ms(-SINCE_MS)), until)
    }
}

/// The period of a query: its start and its end.
type Span = (Timestamp, Timestamp);

/// Rejects an answer with more than [`ROWS`] rows. The argument `by` is the name of the URL parameter that the error
/// mentions.
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
