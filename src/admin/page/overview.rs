//! `/`: how it goes.

use askama::Template;
use axum::response::Response;

use super::{
    frame::{Frame, Visit},
    sorry::Sorry,
};

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
}

/// `GET /`
pub(super) async fn overview(visit: Visit) -> Result<Response, Sorry> {
    visit.show(|frame| Page { frame })
}
