//! `/handlers`: the progress of each handler per lane, and the page of each handler with its actions.

mod lanes;
mod summary;

pub(super) use summary::{HandlerRow, summaries};

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::Path,
    response::{IntoResponse, Redirect},
};

use super::{
    error_page::PageResult,
    form::Posted,
    format::{When, quantity},
    frame::Frame,
    links, replays,
    visit::PageVisit,
};
use crate::{
    admin::decision::handlers::{self, running_handler},
    dispatch::LaneCondition,
    journal::{self, HandlerPlace},
};
use lanes::LaneRow;

/// A handler with its lanes.
struct HandlerWithLanes {
    row: HandlerRow,
    lanes: Vec<LaneRow>,
    /// When and why the handler was paused.
    paused: Option<(When, String)>,
}

impl HandlerWithLanes {
    async fn all(visit: &PageVisit) -> Result<Vec<Self>, journal::Error> {
        let (figures, now) = (visit.journal().figures().await?, visit.now());
        let paused = Arc::clone(&visit.journal().paused().borrow());
        let status = visit.shared.parts.desk.status();
        let with_lanes = |row: HandlerRow| {
            let own = status.iter().filter(|lane| lane.handler == row.name);
            let lanes = own.map(|lane| LaneRow::of(lane, now)).collect();
            let paused = paused.get(&row.name).map(|pause| (When::from(pause.at), pause.reason.clone()));
            Self { row, lanes, paused }
        };
        Ok(summaries(&visit.shared, &figures).into_iter().map(with_lanes).collect())
    }

    /// Returns whether the handler waits for its destination or has events set aside.
    const fn waits(&self) -> bool {
        matches!(self.row.condition, LaneCondition::Waiting | LaneCondition::Full) || self.row.set_aside > 0
    }

    /// The error class of the failure in doubt: see `LaneStatus::refused`. If both lanes have such a failure, this is
    /// the error class of the first lane's failure. [`believe`] turns events of both lanes into dead letters, if they
    /// fail with the error class of their own lane.
    fn refused(&self) -> Option<&str> {
        self.lanes.iter().find_map(|lane| lane.refused.as_deref())
    }

    /// The number of dead letters with its noun: `3 dead letters`.
    fn dead(&self) -> String {
        quantity(self.row.dead, "dead letter", "dead letters")
    }

    /// An explanation of the state; empty if the state needs none.
    fn explanation(&self) -> &'static str {
        match self.row.condition {
            LaneCondition::Running | LaneCondition::Stopped | LaneCondition::NotConfigured => "",
            LaneCondition::Waiting => {
                "The destination is unwell. Deliveries are retried automatically; no event is lost or skipped."
            }
            LaneCondition::Paused => {
                "The handler delivers nothing until it is resumed. The journal keeps its undelivered events."
            }
            LaneCondition::Full => {
                "The number of set-aside events has reached aside_limit: the destination fails for single events. See the last failure."
            }
            LaneCondition::Stuck => {
                "The journal cannot be read at the cursor, or cannot be written. See the log for the error."
            }
        }
    }
}

#[derive(Template)]
#[template(path = "handlers.html")]
struct HandlerListPage {
    frame: Frame,
    handlers: Vec<HandlerWithLanes>,
    /// Descriptions of handlers that are no longer in the configuration.
    removed: Vec<String>,
    /// The label of the link to the replays, with the number of active ones if there are any.
    replays: String,
}

/// `GET /handlers`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let handlers = HandlerWithLanes::all(&visit).await?;
    let known = Arc::clone(&visit.journal().replays().borrow());
    let active = known.values().filter(|replay| !replay.state.has_ended()).count();
    let replays = match active {
        0 => "Replays".to_owned(),
        _ => quantity(active as u64, "active replay", "active replays"),
    };
    let places = visit.journal().handlers().await?;
    let removed = places.iter().filter(|place| !place.configured).map(not_configured).collect();
    visit.show(|frame| HandlerListPage { frame, handlers, removed, replays })
}

fn not_configured(place: &HandlerPlace) -> String {
    let undelivered = quantity(place.undelivered(), "event is undelivered", "events are undelivered");
    let name = &place.handler;
    format!(
        "{name} is not configured any more: {undelivered}. `bikhook handlers rename {name} NEW` moves its cursors and dead letters to another name."
    )
}

#[derive(Template)]
#[template(path = "handler.html")]
struct HandlerPage {
    frame: Frame,
    handler: HandlerWithLanes,
    /// The events that the handler gets, in words.
    wants: String,
    masks: Option<String>,
    replays: Vec<replays::ReplayTableRow>,
}

/// `GET /handlers/{name}?of=&event=&status=&phone=&message=&since=&until=&rate=`: the parameters are the initial values
/// of the replay form.
pub(super) async fn one(Path(name): Path<String>, visit: PageVisit) -> PageResult {
    let name = running_handler(&visit.shared, &name)?;
    let handler = HandlerWithLanes::all(&visit).await?.into_iter().find(|handler| handler.row.name == name);
    // The `else` branch is never taken, because `running_handler` has found the handler.
    let Some(handler) = handler else { return Ok(Redirect::to("/handlers").into_response()) };
    let about = visit.shared.parts.handlers.iter().find(|about| about.handler == name);
    let wants = match about {
        Some(about) if about.dead_letters => "the dead letters of other handlers".to_owned(),
        about => about.and_then(|about| about.wants.clone()).unwrap_or_else(|| "every event".to_owned()),
    };
    let masks = about.and_then(|about| about.masks.clone());
    let replays = replays::ReplayTableRow::all(&visit.shared, Some(&name))?;
    visit.show(|frame| HandlerPage { frame, handler, wants, masks, replays })
}

/// `GET /handlers/{name}/replay`: redirects to the replay form on the handler's page. The form is posted to this
/// address, so a browser sends a GET to it if somebody opens the address again.
pub(super) async fn replay_form(Path(name): Path<String>) -> Redirect {
    Redirect::to(&format!("{}#replay", links::handler(&name)))
}

/// `POST /handlers/{name}/pause`, with the field `reason`.
pub(super) async fn pause(Path(name): Path<String>, posted: Posted) -> PageResult {
    let shared = &posted.visit.shared;
    let name = running_handler(shared, &name)?;
    let was = shared.parts.journal.paused().borrow().contains_key(&name);
    handlers::pause(shared, &name, posted.fields.text("reason")).await?;
    let what = if was {
        format!("{name} was already paused; the first reason is kept.")
    } else {
        format!("{name} is paused: it starts no delivery until it is resumed.")
    };
    posted.says(&links::handler(&name), !was, what)
}

/// `POST /handlers/{name}/resume`
pub(super) async fn resume(Path(name): Path<String>, posted: Posted) -> PageResult {
    let shared = &posted.visit.shared;
    let name = running_handler(shared, &name)?;
    let was = handlers::resume(shared, &name).await?;
    let what = if was {
        format!("{name} is resumed and continues at its cursors.")
    } else {
        format!("{name} was not paused.")
    };
    posted.says(&links::handler(&name), was, what)
}

/// `POST /handlers/{name}/retry`
pub(super) async fn retry(Path(name): Path<String>, posted: Posted) -> PageResult {
    let shared = &posted.visit.shared;
    let name = running_handler(shared, &name)?;
    handlers::retry(shared, &name).await;
    posted.says(&links::handler(&name), true, format!("{name} retries now."))
}

/// `POST /handlers/{name}/believe`
pub(super) async fn believe(Path(name): Path<String>, posted: Posted) -> PageResult {
    let shared = &posted.visit.shared;
    let name = running_handler(shared, &name)?;
    let believed = handlers::believe(shared, &name).await;
    let any = !believed.classes.is_empty();
    let what = if any {
        let (classes, upto) = (believed.classes.join(", "), believed.upto);
        format!("{name}: events up to seq {upto} that are refused ({classes}) become dead letters.")
    } else {
        format!("{name} has no refused events that wait for a decision.")
    };
    posted.says(&links::handler(&name), any, what)
}
