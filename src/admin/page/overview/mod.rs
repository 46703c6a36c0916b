//! `/`, the overview: message figures, items that need attention, sources, and handlers.

mod figures;
mod needs;

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    frame::{Frame, Visit},
    handlers::{self, HandlerRow},
    period::Period,
    shown::counted,
    sorry::Sorry,
};
use crate::admin::Shared;
use figures::Figures;
use needs::Need;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    /// Nothing was ever received.
    is_empty: bool,
    needs: Vec<Need>,
    handlers: Vec<HandlerRow>,
    /// `None` if insight is disabled.
    figures: Option<Figures>,
    /// How far insight is behind; `None` if it is up to date.
    behind: Option<String>,
}

/// `GET /?range=&since=&until=&category=&channel=&store=&source=`
pub(super) async fn overview(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let now = shared.state.journal.clock().now();
    let tip = *shared.state.journal.tip().borrow();
    let insight = shared.state.insight.as_ref();
    let figures = match insight {
        Some(insight) => {
            let period = Period::of(&visit.asked, now)?;
            Some(Figures::of(insight, period, &visit.asked, now).await?)
        }
        None => None,
    };
    let journal = shared.state.journal.figures().await?;
    let handlers = handlers::summaries(&shared, &journal);
    let waiting = figures.as_ref().map_or(0, |figures| figures.waiting);
    let needs =
        needs::all(&shared.state.journal.clock().status(), &handlers, &journal, waiting, &visit.frame);
    let behind = insight.and_then(|insight| {
        let progress = *insight.progress().borrow();
        if let Some(end) = progress.rebuilding_to {
            return Some(format!("They are being rebuilt: event {} of {end} is processed.", progress.cursor));
        }
        // A small lag is normal.
        let lag = tip.saturating_sub(progress.cursor);
        (lag > 1_000).then(|| format!("{} are not counted yet.", counted(lag, "event", "events")))
    });
    visit.show(|frame| Page { frame, is_empty: tip == 0, needs, handlers, figures, behind })
}
