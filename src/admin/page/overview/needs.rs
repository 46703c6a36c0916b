//! What a person should look at: handlers first, then what they left lying, then customers.

use super::handlers::HandlerRow;
use crate::{
    admin::page::{
        frame::Frame,
        shown::{Tag, counted},
    },
    dispatch::LaneCondition,
    journal::Figures,
};

/// One of them.
pub(super) struct Need {
    pub(super) tag: Tag,
    pub(super) what: String,
    /// Where to go.
    pub(super) link: Option<&'static str>,
}

/// Waiting customers are counted up to this.
pub(super) const WAITING_MAX: usize = 100;

pub(super) fn all(handlers: &[HandlerRow], figures: &Figures, waiting: usize, frame: &Frame) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |colour, word: &str, what: String, path: &'static str| {
        let section = path.split('?').next().unwrap_or_default();
        let link = frame.section(section).map(|_| path);
        needs.push(Need { tag: Tag::new(colour, word), what, link });
    };
    for handler in handlers {
        let (name, failure) =
            (&handler.name, handler.last_failure.as_deref().unwrap_or("no reason was told"));
        match handler.condition {
            LaneCondition::Stuck => {
                need("bad", "stuck", format!("{name} cannot read the journal where it stands"), "/handlers");
            }
            LaneCondition::Full => need(
                "bad",
                "full",
                format!("{name} has set so many events aside that it waits: {failure}"),
                "/handlers",
            ),
            LaneCondition::Waiting => {
                need("warn", "unwell", format!("{name} waits for its destination: {failure}"), "/handlers");
            }
            LaneCondition::Paused => {
                need("warn", "paused", format!("{name} delivers nothing until it is resumed"), "/handlers");
            }
            LaneCondition::Running | LaneCondition::Stopped => {}
        }
    }
    for handler in handlers.iter().filter(|handler| handler.dead > 0) {
        let dead = counted(handler.dead, "dead letter", "dead letters");
        need("bad", "dead", format!("{dead} of {}: retry or drop them", handler.name), "/dead");
    }
    if figures.quarantined > 0 {
        let entries = counted(figures.quarantined, "entry", "entries");
        need("warn", "quarantine", format!("{entries} in quarantine: what could not be read"), "/quarantine");
    }
    if waiting > 0 {
        let many = if waiting > WAITING_MAX { "more than " } else { "" };
        let customers = counted(waiting.min(WAITING_MAX) as u64, "customer waits", "customers wait");
        let what = format!("{many}{customers} for an answer since they wrote, in the last 24 hours");
        need("note", "waiting", what, "/conversations?waiting=1");
    }
    needs
}
