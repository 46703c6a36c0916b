//! `/metrics`: the metrics in OpenMetrics format.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::header::CONTENT_TYPE, response::IntoResponse};
use tokio::time::timeout;

use super::AdminState;

/// The content type that the OpenMetrics specification requires ("Overall Structure").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long a scrape waits for figures that must be read from the journal or from insight.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn metrics(State(shared): State<Arc<AdminState>>) -> impl IntoResponse {
    let metrics = &shared.parts.metrics;
    for lane in shared.parts.desk.status() {
        let labels = vec![("handler", lane.handler), ("lane", lane.lane.into())];
        let gauge = metrics.lag_seconds.get_or_create_owned(&labels);
        gauge.set(i64::try_from(lane.lag_seconds).unwrap_or(i64::MAX));
    }
    tokio::join!(of_the_journal(&shared), of_insight(&shared));
    ([(CONTENT_TYPE, OPENMETRICS)], metrics.render())
}

// If the journal or insight fails, the scrape still returns the other metrics, which are needed most in that case.

async fn of_the_journal(shared: &AdminState) {
    match timeout(PATIENCE, shared.parts.journal.figures()).await {
        Ok(Ok(figures)) => {
            for (handler, dead) in figures.dead {
                let gauge =
                    shared.parts.metrics.dead_letters.get_or_create_owned(&vec![("handler", handler)]);
                gauge.set(i64::try_from(dead).unwrap_or(i64::MAX));
            }
        }
        Ok(Err(error)) => tracing::warn!(error = error.class(), "journal metrics not updated"),
        Err(_elapsed) => tracing::warn!("journal metrics not updated: reading them timed out"),
    }
}

async fn of_insight(shared: &AdminState) {
    let Some(insight) = &shared.parts.insight else { return };
    match timeout(PATIENCE, insight.measure(shared.parts.journal.clock().now())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = error.class(), "insight metrics not updated"),
        Err(_elapsed) => tracing::warn!("insight metrics not updated: reading them timed out"),
    }
}
