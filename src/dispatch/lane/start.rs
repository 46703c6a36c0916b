//! Starts batches, probes, searches of the backlog, and exceptions: set-aside events and retried dead letters.

use std::sync::Arc;

use super::{
    super::{
        policy::{self, Mode},
        window::DueBatch,
    },
    InFlight, Lane,
};
use crate::{
    clock::Timestamp,
    event::Event,
    handler::{About, Delivery},
    journal::{self, ReplayState},
};

impl Lane {
    /// Starts all deliveries that may start now. Returns whether anything changed, even if no delivery started.
    pub(super) async fn start(&mut self, now: Timestamp) -> bool {
        if self.is_paused() || self.must_yield() {
            return false;
        }
        if let Some(started) = self.start_opening(now) {
            return started;
        }
        if self.gone_for_all() {
            return true;
        }
        if self.condition.failures > 0 {
            return self.probe(now).await;
        }
        // After an exception, batches go first. If the lane may have only one delivery in flight, exceptions could
        // otherwise take every turn.
        let mut started = std::mem::take(&mut self.exception_ended) && self.start_batches(now).await;
        if self.has_place() {
            started |= self.start_exception(now).await;
        }
        started |= self.start_batches(now).await;
        started
    }

    pub(super) fn is_paused(&self) -> bool {
        self.gone.is_some()
            || self.replay_state() == ReplayState::Paused
            || self.paused.borrow().contains_key(&self.id.handler)
    }

    pub(super) fn has_place(&self) -> bool {
        self.in_flight.len() < self.share()
    }

    async fn start_batches(&mut self, now: Timestamp) -> bool {
        let mut started = false;
        while self.has_place() {
            let batch = self.window.next_batch(self.batch, now, false);
            if batch.seqs.is_empty() {
                break;
            }
            self.spawn_events(batch.seqs, policy::mode(batch.attempts), now).await;
            started = true;
        }
        started
    }

    pub(super) fn is_time_to_probe(&self, now: Timestamp) -> bool {
        self.condition.failures > 0
            && now >= self.condition.wait_until
            && self.in_flight.is_empty()
            && self.condition.search.is_empty()
    }

    /// Returns whether the probes of an unwell destination search the backlog for an event that the destination
    /// accepts.
    pub(super) const fn searches(&self) -> bool {
        matches!(self.condition.about, About::Event | About::Repetition)
    }

    /// Probes an unwell destination when it is time.
    async fn probe(&mut self, now: Timestamp) -> bool {
        if self.searches() && self.condition.probing {
            return self.search_on(now).await;
        }
        if !self.is_time_to_probe(now) {
            return false;
        }
        // A set-aside event may succeed even if every event in the window fails.
        let mut started = self.start_aside(now).await;
        if std::mem::take(&mut self.condition.retry_requested) {
            started |= self.start_dead_retry(now).await;
        }
        if self.searches() {
            return self.search(now).await || started;
        }
        if self.batch == 1 {
            // Each probe tries another message, because the events may be the cause, not the destination.
            let heads = self.window.least_tried(1, 1);
            return self.probe_with(heads, Mode::Batch, now).await || started;
        }
        let DueBatch { seqs, attempts } = self.window.next_batch(self.batch, now, true);
        if policy::mode(attempts) == Mode::Batch {
            return self.probe_with(seqs, Mode::Batch, now).await || started;
        }
        for seq in &seqs {
            self.window.put_back(*seq, now);
        }
        let events = policy::probe_events(seqs.len());
        let heads = self.window.next_heads(events, policy::probe_turn(self.condition.failures, events));
        self.probe_with(heads, Mode::OneByOne, now).await || started
    }

    async fn probe_with(&mut self, seqs: Vec<u64>, mode: Mode, now: Timestamp) -> bool {
        if seqs.is_empty() {
            // The failed events were skipped, so nothing shows that the destination is unwell.
            self.condition.failures = 0;
            return true;
        }
        self.condition.probing = true;
        for seq in &seqs {
            self.window.take(*seq);
        }
        self.spawn_events(seqs, mode, now).await;
        if self.in_flight.is_empty() {
            // None of the events can be read.
            self.condition.wait_until = now.plus_ms(policy::UNREADABLE_MS);
        }
        true
    }

    /// Starts a search: one message per delivery, as many in flight as allowed.
    async fn search(&mut self, now: Timestamp) -> bool {
        // `condition.searches` is 0 if the destination did not answer before and now does. In that case the search
        // starts without a wait, and tries only untried messages, because the tried ones have just failed.
        let again = if self.condition.searches == 0 { 0 } else { policy::DOUBTS };
        let heads = self.window.least_tried(self.choice(), again);
        if heads.is_empty() {
            if self.window.doubted() > 0 {
                self.search_failed(now);
            } else {
                self.condition.failures = 0;
            }
            return true;
        }
        self.condition.search = heads.into();
        self.condition.probing = true;
        self.search_on(now).await
    }

    async fn search_on(&mut self, now: Timestamp) -> bool {
        let mut started = false;
        while self.has_place()
            && let Some(seq) = self.condition.search.pop_front()
        {
            if self.window.take(seq) {
                self.spawn_events(vec![seq], Mode::Batch, now).await;
                started = true;
            }
        }
        if !started && self.in_flight.is_empty() {
            self.search_failed(now);
            return true;
        }
        started
    }

    pub(super) fn exceptions_in_flight(&self) -> usize {
        let is_exception = |one: &&InFlight| matches!(one, InFlight::Aside(_) | InFlight::DeadRetry(_));
        self.in_flight.values().filter(is_exception).count()
    }

    /// Starts a set-aside event or a retried dead letter that is due. The two kinds take turns.
    async fn start_exception(&mut self, now: Timestamp) -> bool {
        if self.exceptions_in_flight() >= policy::exceptions(self.share()) {
            return false;
        }
        let dead_retry_first = std::mem::take(&mut self.dead_retry_next);
        (dead_retry_first && self.start_dead_retry(now).await)
            || self.start_aside(now).await
            || self.start_dead_retry(now).await
    }

    async fn start_dead_retry(&mut self, now: Timestamp) -> bool {
        let Some((id, delivery)) = self.dead_retries.take_due(now) else { return false };
        match self.context.journal.dead_letter(id).await {
            Ok(Some(letter)) if letter.retrying => {
                self.spawn(vec![delivery], Mode::Batch, InFlight::DeadRetry(id));
            }
            // The dead letter was dropped, or is no longer marked for retry.
            Ok(_) => self.dead_retry_done(id),
            Err(error) => {
                tracing::error!(
                    lane = %self.name(),
                    dead = id,
                    error = error.class(),
                    "dead letter cannot be read; it is retried later, and the lane continues"
                );
                self.dead_retries.put_back(id, now.plus_ms(policy::UNREADABLE_MS));
            }
        }
        true
    }

    async fn start_aside(&mut self, now: Timestamp) -> bool {
        let longest_ms = policy::longest_aside_wait_ms(self.settings());
        let Some(row) = self.aside.take_due(now, longest_ms, self.aside_upto()) else { return false };
        match self.read("set-aside", row.seq).await {
            Ok(Some(event)) => {
                let delivery = Delivery::new(Arc::clone(&event), row.attempts + 1, self.replay.is_some());
                self.spawn(vec![delivery], Mode::Batch, InFlight::Aside(event));
                self.dead_retry_next = true;
            }
            Ok(None) => self.release(row.seq, now),
            Err(_logged) => {
                self.publisher.failed("unreadable", now);
                self.aside.put_back(row.seq, now.plus_ms(policy::UNREADABLE_MS.min(longest_ms)));
            }
        }
        true
    }

    /// Set-aside events up to this seq may be tried. After a restart, the events before a set-aside event are claimed
    /// first, because they may belong to the same message. If the lane can neither set more events aside nor claim
    /// more, all set-aside events may be tried.
    pub(super) fn aside_upto(&self) -> u64 {
        let claims_no_more = self.window.len() >= policy::DOUBTED_MAX || self.is_far_ahead();
        let stands_still = self.aside_is_full() && claims_no_more;
        if stands_still { u64::MAX } else { self.window.read_to() }
    }

    pub(super) fn aside_is_full(&self) -> bool {
        self.aside.len() >= self.settings().aside_limit
    }

    /// Starts the delivery of events that are marked as in flight.
    async fn spawn_events(&mut self, seqs: Vec<u64>, mode: Mode, since: Timestamp) {
        let mut events = Vec::with_capacity(seqs.len());
        let mut ready = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if let Some((event, attempts)) = self.body(seq, since).await {
                events.push((event, attempts + 1));
                ready.push(seq);
            }
        }
        if !ready.is_empty() {
            let deliveries = Delivery::batch(events, self.replay.is_some());
            self.spawn(deliveries, mode, InFlight::Events { seqs: ready, mode, since });
        }
    }

    /// Returns the event of an entry, and how many of its deliveries have failed. Reads the event again if its body is
    /// no longer in memory. `None` if it cannot be read now, or no longer exists.
    pub(super) async fn body(&mut self, seq: u64, now: Timestamp) -> Option<(Arc<Event>, u32)> {
        let entry = self.window.get(seq)?;
        let attempts = entry.attempts;
        if let Some(event) = &entry.event {
            return Some((Arc::clone(event), attempts));
        }
        match self.read("failed", seq).await {
            Ok(Some(event)) => {
                self.window.load(&event);
                return Some((event, attempts));
            }
            Ok(None) => {
                self.window.remove(seq);
            }
            Err(_logged) => self.window.put_back(seq, now.plus_ms(policy::UNREADABLE_MS)),
        }
        None
    }

    /// Reads an event again, and logs an ERROR if it is gone or cannot be read. `what`: the state of the event.
    async fn read(&self, what: &str, seq: u64) -> Result<Option<Arc<Event>>, journal::Error> {
        let read = self.context.journal.get(seq).await;
        match &read {
            Ok(Some(_)) => {}
            Ok(None) => tracing::error!(
                lane = %self.name(),
                seq,
                "{what} event is no longer in the journal; the lane drops it"
            ),
            Err(error) => tracing::error!(
                lane = %self.name(),
                seq,
                error = error.class(),
                "{what} event cannot be read; it is retried later, and the lane continues"
            ),
        }
        read
    }

    fn spawn(&mut self, deliveries: Vec<Delivery>, mode: Mode, in_flight: InFlight) {
        let task = self.deliveries.spawn(self.attempt.clone().run(deliveries, mode));
        self.in_flight.insert(task.id(), in_flight);
        self.count_in_flight(true);
    }
}
