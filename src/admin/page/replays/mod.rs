//! `/replays`: the replays, their progress, and their actions. Before a replay starts, its events are counted. The page
//! with the count has the form that starts the replay.

mod count;
mod row;
mod starts;

pub(super) use count::{count, start};
pub(super) use row::ReplayTableRow;
pub(in crate::admin) use starts::Starts;

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;

use super::{confirm::Confirm, error_page::PageResult, form::Posted, frame::Frame, links, visit::PageVisit};
use crate::{
    admin::{decision::replays, error::RequestError, params::parse_number, wire::ReplayRow},
    journal::ReplayState,
};

#[derive(Template)]
#[template(path = "replays.html")]
struct ReplayListPage {
    frame: Frame,
    replays: Vec<ReplayTableRow>,
    /// The handlers: path of the page, and name.
    handlers: Vec<(String, Arc<str>)>,
    /// At least one replay has not ended.
    is_active: bool,
}

/// `GET /replays`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let replays = ReplayTableRow::all(&visit.shared, None)?;
    let lanes = visit.shared.parts.desk.status().into_iter();
    let mut handlers: Vec<(String, Arc<str>)> =
        lanes.map(|lane| (links::handler(&lane.handler), lane.handler)).collect();
    handlers.dedup();
    let is_active = replays.iter().any(|replay| replay.ended_at.is_none());
    visit.show(|frame| ReplayListPage { frame, replays, handlers, is_active })
}

/// `POST /replays/{id}/pause`
pub(super) async fn pause(Path(id): Path<String>, posted: Posted) -> PageResult {
    change(&id, &posted, ReplayState::Paused, "is paused").await
}

/// `POST /replays/{id}/resume`
pub(super) async fn resume(Path(id): Path<String>, posted: Posted) -> PageResult {
    change(&id, &posted, ReplayState::Running, "is resumed").await
}

/// `GET /replays/{id}/cancel`: asks for confirmation.
pub(super) async fn ask_to_cancel(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    let row = ReplayRow::one(&visit.shared, parse_number("id", &id)?)?;
    let id = row.id;
    let has_ended = row.ended_at.is_some();
    let what = if has_ended {
        format!("The replay is already {}.", row.state.as_str())
    } else {
        "Events that the replay has delivered stay delivered; it delivers no more events. A cancelled replay cannot be resumed."
            .to_owned()
    };
    visit.show(|frame| Confirm {
        frame,
        title: format!("Cancel replay {id} to {}?", row.handler),
        what: vec![what],
        action: (!has_ended).then(|| format!("/replays/{id}/cancel")),
        fields: Vec::new(),
        button: format!("Cancel replay {id}"),
        for_good: true,
        back: ("/replays".to_owned(), "Back to the replays"),
    })
}

/// `POST /replays/{id}/cancel`: ends the replay permanently.
pub(super) async fn cancel(Path(id): Path<String>, posted: Posted) -> PageResult {
    change(&id, &posted, ReplayState::Cancelled, "is cancelled").await
}

async fn change(id: &str, posted: &Posted, to: ReplayState, done: &str) -> PageResult {
    let (shared, id) = (&posted.visit.shared, parse_number("id", id)?);
    let (is_done, what) = match replays::change(shared, id, to).await {
        Ok(true) => (true, format!("Replay {id} {done}.")),
        Ok(false) => (true, format!("Replay {id} was already in this state.")),
        // The replay ended while the operator looked at the page.
        Err(error @ RequestError::NotFound(_)) if ReplayRow::one(shared, id).is_ok() => {
            (false, format!("Nothing was changed: {error}."))
        }
        Err(error) => return Err(error.into()),
    };
    // Do not return to the confirmation page.
    let back = if to == ReplayState::Cancelled { "/replays" } else { posted.back_to() };
    posted.says(back, is_done, what)
}
