//! Claims events from the journal, reads retried dead letters, and settles redelivered events after a restart.

use super::{super::policy, Lane, WINDOW_BYTES};
use crate::{clock::Timestamp, journal};

/// Maximum number of events that one claim reads to give a probe more messages to choose from.
const CLAIM_EVENTS: usize = 1_000;
/// After a restart, redelivered events are settled as soon as there is one unsettled event per this many settled ones.
const RESETTLED_PART: u64 = 4;

impl Lane {
    /// Claims events while there is room. Events that the window holds (see `Window::hold`) are set aside first, so
    /// that later events of their messages can queue behind them. Returns whether the lane read further in the journal.
    pub(super) async fn claim(&mut self, now: Timestamp) -> Result<bool, journal::Error> {
        self.set_aside_held(now);
        if self.aside_is_full() {
            self.window.pin();
        }
        let (most, target) = policy::window(self.batch, self.share());
        if self.window.len() == 0 && now < self.condition.next_claim {
            return Ok(false);
        }
        let lacks_choice = self.lacks_choice(now);
        let probes_ahead = self.probes_ahead(now);
        let needs_more = lacks_choice || probes_ahead;
        if self.window.bytes() >= WINDOW_BYTES && (needs_more || self.window.ready() == 0) {
            self.window.drop_failed_bodies();
        }
        let enough = self.window.ready() > most || self.window.len() >= policy::DOUBTED_MAX + most;
        let room = self.room_ahead().max(usize::from(probes_ahead));
        if self.window.bytes() >= WINDOW_BYTES || room == 0 || (enough && !needs_more) {
            return Ok(false);
        }
        let read_to = self.window.read_to();
        let end = self.reach();
        if read_to >= end.min(*self.tip.borrow()) {
            return Ok(false);
        }
        let set_aside_by_own = self.set_aside_by_own(end).await?;
        let wanted = if lacks_choice { self.choice().min(CLAIM_EVENTS) } else { target };
        let max = wanted.saturating_sub(self.window.ready()).min(room).max(policy::PROBE_EVENTS);
        let claim = self.context.journal.claim(self.id.class, read_to, max).await?;
        if claim.events.len() < self.batch {
            self.condition.next_claim = now.plus_ms(policy::GATHER_MS);
        }
        let before = self.window.len();
        for event in claim.events {
            let seq = event.seq;
            if seq > end {
                break;
            }
            if self.window.len() - before >= room {
                return Ok(self.window.read_to() > read_to);
            }
            // Counts the same events as `ReplayProgress::events`: those that the filters of the handler and of the
            // replay both select.
            self.claimed += u64::from(self.replay.is_some() && self.wants(&event));
            if !self.settled.remove(&seq) && !set_aside_by_own.contains(&seq) && self.wants(&event) {
                let unanswered = seq <= self.redelivered.upto;
                match event.order_key().filter(|key| self.aside.holds(*key)) {
                    // There is no room to set the event aside, or earlier events of its message are held in the window.
                    Some(key) if self.aside_is_full() || self.window.is_held(Some(key)) => {
                        self.window.hold(key);
                        self.window.push(event, unanswered);
                    }
                    Some(_) => self.set_aside_in_order(seq, event.order_key(), now),
                    None => self.window.push(event, unanswered),
                }
            }
            self.window.advance(seq);
        }
        self.window.advance(claim.through.min(end));
        Ok(self.window.read_to() > read_to)
    }

    /// How many more events the lane may add to its window: see [`policy::AHEAD_MAX`].
    fn room_ahead(&self) -> usize {
        let claimed = self.window.claimed_past_pinned();
        claimed.map_or(usize::MAX, |claimed| policy::AHEAD_MAX.saturating_sub(claimed))
    }

    /// Returns whether the lane may add no more events to its window: see [`policy::AHEAD_MAX`].
    pub(super) fn is_far_ahead(&self) -> bool {
        self.room_ahead() == 0
    }

    /// Returns whether a lane with a pinned event (see `Window::pin`) claims although its window has reached the limit
    /// of [`policy::window`] or [`policy::AHEAD_MAX`]. Beyond [`policy::AHEAD_MAX`], the lane claims one event. It
    /// claims because a new event may succeed. Without a success, set-aside events would not expire, and there would
    /// never be room to set the pinned event aside.
    fn probes_ahead(&self, now: Timestamp) -> bool {
        self.probe_ahead_at().is_some_and(|at| at <= now)
            && self.window.len() < policy::DOUBTED_MAX
            && (self.condition.failures == 0 || self.is_time_to_probe(now))
            && !self.window.has_untried()
    }

    /// The time from which a lane with a pinned event may claim beyond its limits (see [`Self::probes_ahead`]). Each
    /// success postpones it.
    pub(super) fn probe_ahead_at(&self) -> Option<Timestamp> {
        self.window.claimed_past_pinned()?;
        Some(self.condition.last_success.plus_ms(self.settings().probe_max.as_ms()))
    }

    /// Returns whether the next probe has too few messages to choose from. If the destination refuses all messages in
    /// the window, only later messages can show whether it accepts any.
    pub(super) fn lacks_choice(&self, now: Timestamp) -> bool {
        if !self.is_time_to_probe(now) || self.window.len() >= policy::DOUBTED_MAX {
            return false;
        }
        match self.searches() {
            true => self.window.untried() < self.choice(),
            false => self.window.width() < self.choice(),
        }
    }

    /// How many messages the next probe needs to choose from.
    pub(super) fn choice(&self) -> usize {
        match self.searches() {
            true => policy::search_events(self.condition.searches, self.is_refused()),
            false if self.condition.misconfigured => 0,
            false => policy::probe_width(self.condition.failures, self.batch),
        }
    }

    /// Reads the dead letters that somebody asked to retry. If there are new ones, retries start at once.
    pub(super) async fn load_dead_retries(&mut self, now: Timestamp) -> Result<(), journal::Error> {
        // Delivered dead letters must not be read again, so their results are made durable first.
        self.settle().await?;
        self.context.journal.flush().await?;
        let retrying = self.context.journal.retrying(self.id.clone()).await?;
        self.reload_dead_retries = false;
        if self.dead_retries.extend(retrying) {
            self.retry_now(now);
        }
        Ok(())
    }

    /// Settles redelivered events durably before further events are delivered. Redelivered events are those that the
    /// previous process may already have delivered. Without this, a process that is killed repeatedly would deliver the
    /// same events each time. The more events are settled, the more may be delivered before the next settle.
    pub(super) async fn settle_redelivered(&mut self) -> Result<(), journal::Error> {
        if self.redelivered.unsettled == 0 {
            return Ok(());
        }
        let is_last = !self.redelivered.backlog_is_settled && self.window.done_to() >= self.redelivered.upto;
        if !is_last && self.redelivered.unsettled * RESETTLED_PART < self.redelivered.settled {
            return Ok(());
        }
        self.redelivered.backlog_is_settled |= is_last;
        self.settle().await?;
        self.redelivered.settled += std::mem::take(&mut self.redelivered.unsettled);
        if let Err(error) = self.context.journal.flush().await {
            // The disk may be full. Deliveries continue, and are settled once there is room.
            tracing::warn!(
                lane = %self.name(),
                error = error.class(),
                "redelivered events could not be settled yet; deliveries continue"
            );
        }
        Ok(())
    }
}
