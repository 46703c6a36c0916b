//! One lane of a handler as a table row.

use crate::{
    admin::page::format::{Tag, When, duration, duration_of_secs, number},
    clock::Timestamp,
    dispatch::{LaneCondition, LaneStatus},
    event::Class,
};

/// A customer's message that has waited at least this long, in seconds, is highlighted.
const WAITS_SECS: u64 = 10;

pub(super) struct LaneRow {
    pub(super) lane: &'static str,
    /// A description of the events in the lane.
    pub(super) of: &'static str,
    pub(super) tag: Tag,
    /// Details of the state.
    pub(super) state: String,
    pub(super) lag: String,
    /// How long the oldest undelivered event has waited.
    pub(super) waited: String,
    /// A customer's message has waited for at least [`WAITS_SECS`].
    pub(super) customer_waits: bool,
    pub(super) set_aside: String,
    /// The number of events delivered since the process started.
    pub(super) delivered: String,
    pub(super) last_success: Option<When>,
    /// The error class of the failure in doubt: see [`LaneStatus::refused`].
    pub(super) refused: Option<String>,
    /// The error class of the last failure, and its time.
    pub(super) last_failure: Option<(String, Option<When>)>,
}

impl LaneRow {
    pub(super) fn of(lane: &LaneStatus, now: Timestamp) -> Self {
        let is_incoming = lane.lane == Class::Incoming.as_str();
        let ago = |at: Timestamp| When::ago(at, now);
        Self {
            lane: lane.lane,
            of: if is_incoming { "messages from customers" } else { "statuses and other events" },
            tag: Tag::of_condition(lane.state),
            state: details(lane, now),
            lag: number(lane.lag),
            waited: lane
                .oldest_at
                .map_or_else(|| "–".to_owned(), |_oldest| duration_of_secs(lane.lag_seconds)),
            customer_waits: is_incoming && lane.lag_seconds >= WAITS_SECS,
            set_aside: number(lane.set_aside as u64),
            delivered: number(lane.delivered),
            refused: lane.refused.clone(),
            last_success: lane.delivered_at.map(ago),
            last_failure: lane.last_failure.clone().map(|class| (class, lane.last_failure_at.map(ago))),
        }
    }
}

/// Details of the state; empty if there are none.
fn details(lane: &LaneStatus, now: Timestamp) -> String {
    match lane.state {
        LaneCondition::Waiting => {
            let since = lane.unwell_since.map(|since| duration(now.ms_since(since).max(0)));
            let since = since.map(|since| format!("for {since}; ")).unwrap_or_default();
            let next = match lane.next_try {
                Some(at) => format!("retries in {}", duration(at.ms_since(now).max(0))),
                None => "retrying now".to_owned(),
            };
            let what = lane.waits_for.as_ref().map(|what| format!("; {what}")).unwrap_or_default();
            format!("{since}{next}{what}")
        }
        LaneCondition::Full => "aside_limit reached".to_owned(),
        LaneCondition::Stuck => "the journal cannot be read or written".to_owned(),
        LaneCondition::Running
        | LaneCondition::Paused
        | LaneCondition::Stopped
        | LaneCondition::NotConfigured => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_row_shows_the_unwell_time_and_a_waiting_customer() {
        let now = Timestamp::from_ms(1_767_225_600_000);
        let lane = LaneStatus {
            state: LaneCondition::Waiting,
            lag: 1_204,
            lag_seconds: 90,
            oldest_at: Some(now.plus_ms(-90_000)),
            unwell_since: Some(now.plus_ms(-3_600_000)),
            next_try: Some(now.plus_ms(12_000)),
            last_failure: Some("status 503".to_owned()),
            last_failure_at: Some(now.plus_ms(-5_000)),
            ..LaneStatus::new("crm".into(), "http", Class::Incoming)
        };
        let row = LaneRow::of(&lane, now);
        assert_eq!(row.state, "for 1 h; retries in 12 s");
        assert_eq!(
            (row.lag.as_str(), row.waited.as_str(), row.customer_waits),
            ("1,204", "1 min 30 s", true)
        );
        let (class, ago) = row.last_failure.unwrap();
        assert!(class == "status 503" && ago.unwrap().to_string().contains(">5.0 s ago<"));
        let other = LaneStatus { lane: Class::Other.as_str(), ..lane };
        assert!(!LaneRow::of(&other, now).customer_waits);
    }
}
