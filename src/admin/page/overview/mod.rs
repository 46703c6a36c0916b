//! `/`, the overview: message figures, items that need attention, sources, and handlers.

mod figures;
mod needs;

use askama::Template;

use super::{
    error_page::PageResult,
    format::quantity,
    frame::Frame,
    handlers::{self, HandlerRow},
    period::FigurePeriod,
    visit::PageVisit,
};
use figures::MessageFigures;
use needs::Need;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    /// No event was ever stored.
    is_empty: bool,
    needs: Vec<Need>,
    handlers: Vec<HandlerRow>,
    /// `None` if insight is disabled or could not be opened.
    figures: Option<MessageFigures>,
    /// The progress of a rebuild of insight, or how far insight is behind, as text. `None` if insight is not available,
    /// or if no rebuild runs and insight is at most 1,000 events behind.
    behind: Option<String>,
}

/// `GET /?range=&since=&until=&category=&channel=&store=&source=`
pub(super) async fn overview(visit: PageVisit) -> PageResult {
    let (journal, form, now) = (visit.journal(), visit.form(), visit.now());
    let tip = *journal.tip().borrow();
    let insight = visit.insight().ok();
    let figures = match insight {
        Some(insight) => Some(MessageFigures::of(insight, FigurePeriod::of(form, now)?, form, now).await?),
        None => None,
    };
    let stored = journal.figures().await?;
    let handlers = handlers::summaries(&visit.shared, &stored);
    let waiting = figures.as_ref().map_or((0, 0), |figures| (figures.waiting, figures.missed));
    let needs = needs::all(&journal.clock().status(), &handlers, &stored, waiting);
    let behind = insight.and_then(|insight| {
        let progress = *insight.progress().borrow();
        if let Some(end) = progress.rebuilding_to {
            return Some(format!("They are being rebuilt: event {} of {end} is processed.", progress.cursor));
        }
        // A small lag is normal.
        let lag = tip.saturating_sub(progress.cursor);
        (lag > 1_000).then(|| format!("{} are not counted yet.", quantity(lag, "event", "events")))
    });
    visit.show(|frame| OverviewPage { frame, is_empty: tip == 0, needs, handlers, figures, behind })
}
