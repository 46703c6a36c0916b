//! Items that need attention: the clock, handlers, dead letters, the quarantine, and waiting customers, in this order.

use crate::{
    admin::page::{
        format::{Tag, quantity},
        frame::Frame,
        handlers::HandlerRow,
    },
    clock::ClockStatus,
    dispatch::LaneCondition,
    journal::JournalFigures,
};

/// One item that needs attention.
pub(super) struct Need {
    pub(super) tag: Tag,
    pub(super) what: String,
    /// The page to open.
    pub(super) link: Option<String>,
}

/// Waiting customers are counted up to this number.
pub(super) const WAITING_MAX: usize = 100;

pub(super) fn all(
    clock: &ClockStatus,
    handlers: &[HandlerRow],
    figures: &JournalFigures,
    waiting: usize,
    frame: &Frame,
) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |colour, word: &str, what: String, path: &str| {
        let section = path.split(['?', '/']).nth(1).unwrap_or_default();
        let link = frame.section(&format!("/{section}")).map(|_| path.to_owned());
        needs.push(Need { tag: Tag::new(colour, word), what, link });
    };
    if !clock.trusted {
        let what = format!(
            "the wall clock jumped to {} and is not trusted: correct it, or run bikhook clock accept",
            clock.wall
        );
        need("bad", "clock", what, "/clock");
    }
    for handler in handlers {
        if let Some((colour, word, what)) = of_condition(handler) {
            need(colour, word, what, &handler.link());
        }
    }
    for handler in handlers.iter().filter(|handler| handler.dead > 0) {
        let dead = quantity(handler.dead, "dead letter", "dead letters");
        need("bad", "dead", format!("{dead} of {}: retry or drop them", handler.name), &handler.dead_link());
    }
    if figures.quarantined > 0 {
        let entries = quantity(figures.quarantined, "entry", "entries");
        need(
            "warn",
            "quarantine",
            format!("{entries} in quarantine: input that could not be stored"),
            "/quarantine",
        );
    }
    if waiting > 0 {
        let many = if waiting > WAITING_MAX { "more than " } else { "" };
        let customers = quantity(waiting.min(WAITING_MAX) as u64, "customer waits", "customers wait");
        let what = format!("{many}{customers} for an answer to a message of the last 24 hours");
        need("note", "waiting", what, "/conversations?waiting=1");
    }
    needs
}

/// The tag's colour and word, and the text, of a handler whose condition needs attention.
fn of_condition(handler: &HandlerRow) -> Option<(&'static str, &'static str, String)> {
    let (name, failure) = (&handler.name, handler.last_failure.as_deref().unwrap_or("no reason given"));
    match handler.condition {
        LaneCondition::Stuck => Some(("bad", "stuck", format!("{name} cannot read or write the journal"))),
        LaneCondition::Full => {
            Some(("bad", "full", format!("{name} has reached aside_limit for set-aside events: {failure}")))
        }
        LaneCondition::Waiting => {
            Some(("warn", "unwell", format!("{name} waits for its destination: {failure}")))
        }
        LaneCondition::Paused => {
            Some(("warn", "paused", format!("{name} delivers nothing until it is resumed")))
        }
        LaneCondition::Running | LaneCondition::Stopped | LaneCondition::NotConfigured => None,
    }
}
