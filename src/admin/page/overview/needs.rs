//! Items that need attention: the clock, handlers, dead letters, the quarantine, and waiting customers, in this order.

use crate::{
    admin::page::{
        format::{Tag, quantity},
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
    /// The page to open; `None` if no page can help.
    pub(super) link: Option<String>,
}

/// The maximum number of waiting customers that is shown. If more wait, the text is `more than 100 customers wait`.
pub(super) const WAITING_MAX: usize = 100;

pub(super) fn all(
    clock: &ClockStatus,
    handlers: &[HandlerRow],
    figures: &JournalFigures,
    (waiting, missed): (usize, usize),
) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |tag: Tag, what: String, link: Option<String>| needs.push(Need { tag, what, link });
    if !clock.trusted {
        let what = format!(
            "the wall clock jumped to {} and is not trusted: correct it, or run bikhook clock accept",
            clock.wall
        );
        need(Tag::new("bad", "clock"), what, None);
    }
    for handler in handlers {
        if let Some(what) = of_condition(handler) {
            need(handler.tag(), format!("{} {what}", handler.name), Some(handler.link()));
        }
    }
    for handler in handlers.iter().filter(|handler| handler.dead > 0) {
        let dead = quantity(handler.dead, "dead letter", "dead letters");
        let what = format!("{dead} of {}: retry or drop them", handler.name);
        need(Tag::new("bad", "dead"), what, Some(handler.dead_link()));
    }
    if figures.quarantined > 0 {
        let entries = quantity(figures.quarantined, "entry", "entries");
        let what = format!("{entries} in quarantine: input that could not be stored");
        need(Tag::new("warn", "quarantine"), what, Some("/quarantine".to_owned()));
    }
    for (count, tag, what, link) in [
        (waiting, Tag::new("note", "waiting"), "for an answer", "/conversations?waiting=1"),
        (
            missed,
            Tag::new("warn", "missed"),
            "for an answer for more than 24 hours",
            "/conversations?missed=1",
        ),
    ] {
        if count > 0 {
            let many = if count > WAITING_MAX { "more than " } else { "" };
            let customers = quantity(count.min(WAITING_MAX) as u64, "customer waits", "customers wait");
            need(tag, format!("{many}{customers} {what}"), Some(link.to_owned()));
        }
    }
    needs
}

/// The text about a handler whose condition needs attention. The text does not name the handler.
fn of_condition(handler: &HandlerRow) -> Option<String> {
    let failure = handler.last_failure.as_deref().unwrap_or("no reason given");
    match handler.condition {
        LaneCondition::Stuck => Some("cannot read or write the journal".to_owned()),
        LaneCondition::Full => Some(format!("has reached aside_limit for set-aside events: {failure}")),
        LaneCondition::Waiting => Some(format!("waits for its destination: {failure}")),
        LaneCondition::Paused => Some("delivers nothing until it is resumed".to_owned()),
        LaneCondition::Running | LaneCondition::Stopped | LaneCondition::NotConfigured => None,
    }
}
