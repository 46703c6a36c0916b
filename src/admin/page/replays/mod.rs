//! `/replays`: the replays, their progress, and their actions. A new replay is first counted; the page with the count
//! has the form that starts it.

mod count;
mod row;
mod starts;

pub(super) use count::{count, start};
pub(super) use row::Row;
pub(in crate::admin) use starts::Starts;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{
    confirm::Confirm,
    form::Posted,
    frame::{Frame, Visit},
    handlers::path_of,
    sorry::Sorry,
};
use crate::{
    admin::{Shared, decision::replays, fault::Fault, wire::ReplayRow},
    journal::ReplayState,
};

#[derive(Template)]
#[template(path = "replays.html")]
struct Page {
    frame: Frame,
    replays: Vec<Row>,
    /// The handlers: path of the page, and name.
    handlers: Vec<(String, Arc<str>)>,
    /// At least one replay has not ended.
    at_work: bool,
}

/// `GET /replays`
pub(super) async fn list(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let replays = Row::all(&shared, None)?;
    let mut handlers: Vec<(String, Arc<str>)> =
        shared.state.desk.status().into_iter().map(|lane| (path_of(&lane.handler), lane.handler)).collect();
    handlers.dedup();
    let at_work = replays.iter().any(|replay| replay.ended_at.is_none());
    visit.show(|frame| Page { frame, replays, handlers, at_work })
}

/// `POST /replays/{id}/pause`
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    change(&shared, &id, &posted, ReplayState::Paused, "is paused").await
}

/// `POST /replays/{id}/resume`
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    change(&shared, &id, &posted, ReplayState::Running, "is resumed").await
}

/// `GET /replays/{id}/cancel`: asks for confirmation.
pub(super) async fn ask_to_cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    let row = ReplayRow::one(&shared, read(&id)?)?;
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
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    change(&shared, &id, &posted, ReplayState::Cancelled, "is cancelled").await
}

async fn change(
    shared: &Shared,
    id: &str,
    posted: &Posted,
    to: ReplayState,
    done: &str,
) -> Result<Response, Sorry> {
    let id = read(id)?;
    let (is_done, what) = match replays::change(shared, id, to).await {
        Ok(true) => (true, format!("Replay {id} {done}.")),
        Ok(false) => (true, format!("Replay {id} was already in this state.")),
        // The replay ended while the operator looked at the page.
        Err(error @ Fault::Nothing(_)) if ReplayRow::one(shared, id).is_ok() => {
            (false, format!("Nothing was changed: {error}."))
        }
        Err(error) => return Err(error.into()),
    };
    // Do not return to the confirmation page.
    let back = if to == ReplayState::Cancelled { "/replays" } else { posted.back_to() };
    Ok(posted.says(shared, back, is_done, what))
}

fn read(id: &str) -> Result<i64, Fault> {
    id.parse().map_err(|_invalid| Fault::parameter("id", "is not a number"))
}
