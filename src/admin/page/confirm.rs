//! The page that asks the operator to confirm an action.

use askama::Template;

use super::frame::Frame;

/// The question, with the form that performs the action and a link back.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    pub(super) frame: Frame,
    pub(super) title: String,
    /// The effects of the action, one paragraph per entry.
    pub(super) what: Vec<String>,
    /// The target of the form; `None` if there is nothing to do.
    pub(super) action: Option<String>,
    /// Hidden fields of the form.
    pub(super) fields: Vec<(String, String)>,
    /// The label of the form's button.
    pub(super) button: String,
    /// The action cannot be undone.
    pub(super) for_good: bool,
    /// The link back: its URL and its label.
    pub(super) back: (String, &'static str),
}

impl Confirm {
    /// Asks whether to permanently delete a dead letter or a quarantine entry. `page` is the path of its page.
    pub(super) fn drop(frame: Frame, page: String, title: String, what: String) -> Self {
        Self {
            frame,
            title,
            what: vec![what],
            action: Some(format!("{page}/drop")),
            fields: Vec::new(),
            button: "Drop permanently".to_owned(),
            for_good: true,
            back: (page, "Keep it"),
        }
    }
}
