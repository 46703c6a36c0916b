//! One replay as a table row.

use crate::{
    admin::{
        AdminState,
        error::RequestError,
        page::{
            format::{Percentage, Tag, When, number},
            links,
        },
        wire::ReplayRow,
    },
    dispatch::LaneStatus,
    handler::FilterSettings,
    journal::ReplayState,
};

/// A replay in the list.
pub(in crate::admin::page) struct ReplayTableRow {
    pub(in crate::admin::page) row: ReplayRow,
    /// The link to the handler's page, if the handler is configured.
    pub(in crate::admin::page) link: Option<String>,
    pub(in crate::admin::page) tag: Tag,
    pub(in crate::admin::page) through: Percentage,
    pub(in crate::admin::page) delivered: String,
    /// The filter and the maximum rate in words.
    pub(in crate::admin::page) chosen: String,
    pub(in crate::admin::page) created_at: When,
    pub(in crate::admin::page) ended_at: Option<When>,
    pub(in crate::admin::page) is_paused: bool,
}

impl ReplayTableRow {
    /// The active and the most recently ended replays, newest first; with `of`, only those of this handler.
    pub(in crate::admin::page) fn all(
        shared: &AdminState,
        of: Option<&str>,
    ) -> Result<Vec<Self>, RequestError> {
        let lanes = shared.parts.desk.status();
        let known = ReplayRow::all(shared)?.into_iter().rev();
        let wanted = known.filter(|row| of.is_none_or(|of| *row.handler == *of));
        Ok(wanted.map(|row| Self::new(row, &lanes)).collect())
    }

    fn new(row: ReplayRow, lanes: &[LaneStatus]) -> Self {
        let tag = match row.state {
            ReplayState::Running if row.waits.is_some() => Tag::new("warn", "waits"),
            ReplayState::Running => Tag::new("ok", "running"),
            ReplayState::Paused => Tag::new("warn", "paused"),
            ReplayState::Done => Tag::new("", "done"),
            ReplayState::Cancelled => Tag::new("", "cancelled"),
        };
        let signed = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let by_seq = row.cursor.map(|cursor| (cursor.saturating_sub(row.after), row.upto - row.after));
        let through = row.done.zip(row.events).filter(|(_, events)| *events > 0).or(by_seq);
        // In the state `done`, the progress is always known. In any other state, it is unknown if the lanes of the
        // replay have not run since the process started.
        let through = through.map_or_else(
            || Percentage::new(0, 0, ""),
            |(done, all)| Percentage::new(signed(done), signed(all), "ok"),
        );
        let rate = row.rate.map(|rate| format!("at most {} per second", number(rate.get())));
        let settings: Option<FilterSettings> = serde_json::from_str(row.filter.get()).ok();
        let chosen = settings.and_then(|settings| settings.in_words());
        Self {
            link: links::handler_of(lanes, &row.handler),
            tag,
            through,
            delivered: match (row.delivered, row.events) {
                (Some(delivered), Some(events)) => format!("{} of {}", number(delivered), number(events)),
                (delivered, _) => delivered.map_or_else(|| "–".to_owned(), number),
            },
            chosen: chosen.into_iter().chain(rate).collect::<Vec<_>>().join("; "),
            created_at: When::from(row.created_at),
            ended_at: row.ended_at.map(When::from),
            is_paused: row.state == ReplayState::Paused,
            row,
        }
    }
}
