//! What asks once more before something is done.

use askama::Template;

use super::frame::Frame;

/// The question, with the form that does it and a way back.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    pub(super) frame: Frame,
    pub(super) title: String,
    /// What will be done, a paragraph each.
    pub(super) what: Vec<String>,
    /// Where the form goes; `None` where there is nothing to do.
    pub(super) action: Option<String>,
    /// What it takes along.
    pub(super) fields: Vec<(String, String)>,
    /// What its button says.
    pub(super) button: String,
    /// It cannot be undone.
    pub(super) for_good: bool,
    /// Where else to go, and what that is called.
    pub(super) back: (String, &'static str),
}
