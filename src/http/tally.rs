//! Counters and log lines of one source. The metric handles are looked up once, because every request uses them.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use axum::http::StatusCode;
use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

use super::{limits::LogLimiter, problem::RequestId};
use crate::{event::Decoded, journal::AppendReceipt, metrics::Metrics};

/// Every status that the public side answers with. Any other would be counted as the last one, 500.
const STATUSES: [StatusCode; 13] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::INTERNAL_SERVER_ERROR,
];

/// The counters of one source, or of all requests that belong to no source: either no source has their path, or their
/// head is incomplete or invalid.
pub(super) struct Tally {
    source: Arc<str>,
    answers: [Answers; STATUSES.len()],
    seconds: Histogram,
    accepted: Counter,
    duplicates: Counter,
    quarantined: Counter,
    conflicts: Counter,
    repaired: Counter,
    warnings: Counter,
}

struct Answers {
    count: Counter,
    log: LogLimiter,
}

impl Tally {
    pub(super) fn new(source: &Arc<str>, metrics: &Metrics) -> Self {
        let label = || ("source", Arc::clone(source));
        let events =
            |result: &str| metrics.events.get_or_create_owned(&vec![label(), ("result", result.into())]);
        Self {
            source: Arc::clone(source),
            answers: STATUSES.map(|status| Answers {
                count: metrics
                    .requests
                    .get_or_create_owned(&vec![label(), ("status", status.as_str().into())]),
                log: LogLimiter::default(),
            }),
            seconds: metrics.request_seconds.clone(),
            accepted: events("accepted"),
            duplicates: events("duplicate"),
            quarantined: events("quarantined"),
            conflicts: events("conflict"),
            repaired: metrics.repaired.get_or_create_owned(&vec![label()]),
            warnings: metrics.field_warnings.get_or_create_owned(&vec![label()]),
        }
    }

    /// The name of the source; empty if the counters belong to no source.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Counts an answer, observes its duration, and logs it at DEBUG.
    pub(super) fn answered(&self, status: StatusCode, id: RequestId, took: Duration) {
        self.counted(status);
        self.seconds.observe(took.as_secs_f64());
        // A `u128` would be written as a string in the JSON log.
        let ms = || u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(request_id = %id, source = %self.source, status = status.as_u16(), ms = ms(), "request answered");
    }

    /// Counts an answer by its status. If the head of a request is incomplete or invalid, this is called instead of
    /// `answered`.
    pub(super) fn counted(&self, status: StatusCode) {
        self.answers(status).count.inc();
    }

    /// Logs a refusal at INFO, at most once a minute per source and status.
    pub(super) fn refused(&self, status: StatusCode, context: &RequestContext, why: &dyn fmt::Display) {
        if let Some(more_before) = self.answers(status).log.allow() {
            let source = (!self.source.is_empty()).then_some(&*self.source);
            let RequestContext { id, peer } = context;
            tracing::info!(
                request_id = %id,
                source,
                status = status.as_u16(),
                %peer,
                more_before,
                "request refused: {why}"
            );
        }
    }

    /// Counts repaired elements and field warnings of a decoded body.
    pub(super) fn decoded(&self, decoded: &Decoded) {
        self.repaired.inc_by(u64::from(decoded.repaired));
        self.warnings.inc_by(u64::from(decoded.warnings));
    }

    /// Counts the results of an append.
    pub(super) fn stored(&self, receipt: &AppendReceipt) {
        self.accepted.inc_by(u64::from(receipt.accepted));
        self.duplicates.inc_by(u64::from(receipt.duplicates));
        self.quarantined.inc_by(u64::from(receipt.quarantined.saturating_sub(receipt.conflicts)));
        self.conflicts.inc_by(u64::from(receipt.conflicts));
    }

    /// The totals since the start.
    pub(super) fn totals(&self) -> Totals {
        let refused = STATUSES.iter().zip(&self.answers).filter(|(status, _)| !status.is_success());
        Totals {
            accepted: self.accepted.get(),
            duplicates: self.duplicates.get(),
            quarantined: self.quarantined.get() + self.conflicts.get(),
            refused: refused.map(|(_, answers)| answers.count.get()).sum(),
        }
    }

    fn answers(&self, status: StatusCode) -> &Answers {
        let known = STATUSES.iter().position(|known| *known == status);
        &self.answers[known.unwrap_or(STATUSES.len() - 1)]
    }
}

/// The request's id and peer, for the log.
pub(super) struct RequestContext {
    pub(super) id: RequestId,
    pub(super) peer: IpAddr,
}

/// Numbers of events and of refused requests. The log summary, once a minute, shows how much they grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) quarantined: u64,
    pub(super) refused: u64,
}

impl Totals {
    pub(super) fn plus(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    fn each(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            accepted: with(self.accepted, other.accepted),
            duplicates: with(self.duplicates, other.duplicates),
            quarantined: with(self.quarantined, other.quarantined),
            refused: with(self.refused, other.refused),
        }
    }
}
