//! The status of the receiver, and the credentials of its public side.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::admin::{
    Shared,
    fault::Fault,
    health::Health,
    question::Parameters,
    rows::{CredentialRow, FiguresRow},
};

/// `GET status`
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        version: &'static str,
        uptime_secs: u64,
        #[serde(flatten)]
        health: Health,
        tip: u64,
        journal: FiguresRow,
    }
    let figures = shared.state.journal.figures().await?;
    Ok(Json(Answer {
        version: env!("CARGO_PKG_VERSION"),
        uptime_secs: shared.started.elapsed().as_secs(),
        health: Health::of(&shared),
        tip: *shared.state.journal.tip().borrow(),
        journal: FiguresRow::from(&figures),
    })
    .into_response())
}

/// `GET credentials`
pub(super) async fn credentials(
    State(shared): State<Arc<Shared>>,
    parameters: Parameters,
) -> Result<Response, Fault> {
    parameters.end()?;
    #[derive(Serialize)]
    struct Answer {
        credentials: Vec<CredentialRow>,
    }
    let credentials = (shared.state.credentials)().into_iter().map(CredentialRow::from).collect();
    Ok(Json(Answer { credentials }).into_response())
}
