//! A summary of each handler over both of its lanes.

use std::{collections::HashMap, sync::Arc};

use crate::{
    admin::{
        AdminState,
        page::{
            format::{Tag, duration_of_secs, number},
            links::{self, encoded},
        },
    },
    dispatch::{LaneCondition, LaneStatus},
    journal::JournalFigures,
};

/// A handler, summarized over its lanes.
#[derive(Default)]
pub(in crate::admin::page) struct HandlerRow {
    pub(in crate::admin::page) name: Arc<str>,
    pub(in crate::admin::page) kind: &'static str,
    pub(in crate::admin::page) destination: Arc<str>,
    /// The worse state of the two lanes.
    pub(in crate::admin::page) condition: LaneCondition,
    pub(in crate::admin::page) dead: u64,
    pub(in crate::admin::page) set_aside: usize,
    pub(in crate::admin::page) last_failure: Option<String>,
    /// The error if the handler could not be opened.
    pub(in crate::admin::page) open_error: Option<String>,
    lag: u64,
    lag_seconds: u64,
}

/// The handlers in the order of the configuration.
pub(in crate::admin::page) fn summaries(shared: &AdminState, figures: &JournalFigures) -> Vec<HandlerRow> {
    let dead: HashMap<&str, u64> = figures.dead.iter().map(|(name, dead)| (&**name, *dead)).collect();
    let mut rows: Vec<HandlerRow> = Vec::new();
    for lane in shared.parts.desk.status() {
        if rows.last().is_none_or(|row| row.name != lane.handler) {
            rows.push(HandlerRow::new(&lane, dead.get(&*lane.handler).copied().unwrap_or_default()));
        }
        if let Some(row) = rows.last_mut() {
            row.add(&lane);
        }
    }
    rows
}

impl HandlerRow {
    fn new(lane: &LaneStatus, dead: u64) -> Self {
        Self {
            name: Arc::clone(&lane.handler),
            kind: lane.kind,
            destination: Arc::clone(&lane.destination),
            condition: lane.state,
            dead,
            ..Self::default()
        }
    }

    fn add(&mut self, lane: &LaneStatus) {
        if severity(lane.state) > severity(self.condition) {
            self.condition = lane.state;
        }
        self.set_aside += lane.set_aside;
        // The lag of a lane counts every seq after its cursor, including the seqs of the other lane's events. The sum
        // would count seqs twice, so use the larger lag.
        self.lag = self.lag.max(lane.lag);
        self.lag_seconds = self.lag_seconds.max(lane.lag_seconds);
        if self.open_error.is_none() {
            self.open_error.clone_from(&lane.open_error);
        }
        if lane.failures > 0 {
            self.last_failure = lane.last_failure.clone().or_else(|| self.last_failure.take());
        }
    }

    pub(in crate::admin::page) fn link(&self) -> String {
        links::handler(&self.name)
    }

    /// The URL of the list of the handler's dead letters.
    pub(in crate::admin::page) fn dead_link(&self) -> String {
        format!("/dead?handler={}", encoded(&self.name))
    }

    pub(in crate::admin::page) fn tag(&self) -> Tag {
        Tag::of_condition(self.condition)
    }

    pub(in crate::admin::page) fn lag(&self) -> String {
        number(self.lag)
    }

    /// How long the oldest undelivered event has waited; a dash for less than a second.
    pub(in crate::admin::page) fn waited(&self) -> String {
        if self.lag_seconds == 0 { "–".to_owned() } else { duration_of_secs(self.lag_seconds) }
    }
}

const fn severity(condition: LaneCondition) -> u8 {
    match condition {
        LaneCondition::Running => 0,
        LaneCondition::Stopped | LaneCondition::NotConfigured => 1,
        LaneCondition::Paused => 2,
        LaneCondition::Waiting => 3,
        LaneCondition::Full => 4,
        LaneCondition::Stuck => 5,
    }
}
