//! What came back, and what becomes of it: done, tried again, set aside, or dead.

use std::sync::Arc;

use tokio::task::JoinError;

use super::{
    super::{
        attempt::{Gravity, Outcome, Trouble},
        policy::{self, Fate, Mode},
    },
    Carried, Lane,
};
use crate::{
    clock::Timestamp,
    event::Event,
    journal::{Aside, Cause, DeadAgain, History, NewDead},
    panics,
};

impl Lane {
    /// What has ended, taken over.
    pub(super) fn take_over(&mut self, now: Timestamp) -> bool {
        while let Some(joined) = self.deliveries.try_join_next_with_id() {
            self.joined.push(joined);
        }
        let any = !self.joined.is_empty();
        for joined in std::mem::take(&mut self.joined) {
            let (id, outcomes) = match joined {
                Ok((id, outcomes)) => (id, Ok(outcomes)),
                Err(error) => (error.id(), Err(panicked(&error))),
            };
            match self.carried.remove(&id) {
                Some(Carried::Events { seqs, mode, since }) => {
                    // What happened to each is not known: none is judged by itself.
                    let mode = if outcomes.is_err() { Mode::Batch } else { mode };
                    let outcomes =
                        outcomes.unwrap_or_else(|trouble| vec![Outcome::Failed(trouble); seqs.len()]);
                    let delivered = outcomes.iter().all(|outcome| *outcome == Outcome::Delivered);
                    self.condition.quick =
                        policy::quick(self.condition.quick, delivered, now.ms_since(since));
                    self.events_ended(&seqs, outcomes, mode, now);
                }
                Some(Carried::Aside(event)) => {
                    self.exception_ended = true;
                    self.aside_ended(&event, single(outcomes), now);
                }
                Some(Carried::Revival(dead)) => {
                    self.exception_ended = true;
                    self.revival_ended(dead, single(outcomes), now);
                }
                Some(Carried::Look) => self.look_ended(single(outcomes), now),
                None => {}
            }
        }
        any
    }

    /// A batch or a probe came back.
    fn events_ended(&mut self, seqs: &[u64], outcomes: Vec<Outcome>, mode: Mode, now: Timestamp) {
        let mut failed = Vec::new();
        let (mut delivered, mut refused) = (0, 0);
        for (seq, outcome) in seqs.iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => {
                    self.window.remove(*seq);
                    delivered += 1;
                }
                Outcome::Refused(error) => {
                    let attempts = self.window.get(*seq).map_or(0, |slot| slot.attempts) + 1;
                    if let Some(event) = self.window.remove(*seq) {
                        let history = History::default().and(attempts, now, &error);
                        self.bury(event, Cause::Refused, attempts, error, history, now);
                    }
                    refused += 1;
                }
                Outcome::Failed(trouble) => failed.push((*seq, trouble)),
                Outcome::Untried => self.window.put_back(*seq, Timestamp::default()),
            }
        }
        if delivered > 0 {
            self.show.delivered(delivered, now);
            self.succeeded(now);
        } else if refused > 0 {
            self.condition.failures = 0;
            self.condition.probing = false;
        }
        let Some((_, trouble)) = failed.first() else { return };
        self.heed(trouble);
        self.show.failed(&trouble.class, now);
        let trouble = trouble.clone();
        if mode == Mode::OneByOne {
            failed.retain(|(seq, trouble)| {
                let bad = delivered > 0 || self.fails_while_others_succeed(*seq);
                if bad {
                    self.set_aside(*seq, trouble.clone(), now);
                }
                !bad
            });
            if failed.is_empty() {
                return;
            }
        }
        let not_before = if delivered > 0 {
            // Others of the batch were taken: it is these events, not the destination.
            now.plus_ms(self.backoff_ms(1))
        } else {
            self.unwell(&trouble, now)
        };
        for (seq, _) in failed {
            self.window.failed(seq, now, not_before);
        }
    }

    /// Whether something was delivered since it failed the last time, which was not its first: also in another delivery, for
    /// where others are always under way, nothing is tried beside it.
    fn fails_while_others_succeed(&self, seq: u64) -> bool {
        self.window.get(seq).is_some_and(|slot| {
            slot.attempts >= policy::BATCH_TRIES
                && slot.failed_at.is_some_and(|at| self.condition.last_success > at)
        })
    }

    /// The destination is unwell: when it is probed. Deliveries that were on their way when the first of them failed tell
    /// nothing new: with many of them one hiccup would else be a wait of minutes.
    pub(super) fn unwell(&mut self, trouble: &Trouble, now: Timestamp) -> Timestamp {
        let known = self.condition.failures > 0 && !std::mem::take(&mut self.condition.probing);
        if known {
            return self.condition.wait_until;
        }
        self.condition.failures += 1;
        let asked = trouble.after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let wait = self.backoff_ms(self.condition.failures).max(asked.min(policy::LONGEST_ASKED_MS));
        self.condition.wait_until = now.plus_ms(wait);
        if self.condition.failures == 1 || self.condition.failures.is_power_of_two() {
            tracing::warn!(
                lane = %self.name(),
                destination = &*self.parts.destination,
                failure = %trouble.class,
                failures = self.condition.failures,
                next_try = %self.condition.wait_until,
                "the destination is unwell: the lane waits, nothing is skipped"
            );
        }
        self.condition.wait_until
    }

    /// Tells a person where only one can help. A destination that is gone for good pauses the handler.
    fn heed(&mut self, trouble: &Trouble) {
        let first = self.condition.failures == 0;
        match trouble.gravity {
            Gravity::Misconfigured if first => tracing::error!(
                lane = %self.name(),
                destination = &*self.parts.destination,
                failure = %trouble.class,
                "the destination is not as the handler's settings say: a person must look"
            ),
            Gravity::Gone if self.gone.is_none() => {
                tracing::error!(
                    lane = %self.name(),
                    destination = &*self.parts.destination,
                    failure = %trouble.class,
                    "the destination says that it is gone for good: the handler is paused until somebody resumes it"
                );
                self.gone = Some(format!("the destination is gone for good ({})", trouble.class));
            }
            Gravity::Unwell | Gravity::Misconfigured | Gravity::Gone => {}
        }
    }

    fn succeeded(&mut self, now: Timestamp) {
        if self.condition.failures > 0 {
            tracing::info!(lane = %self.name(), "the destination is well again");
        }
        self.condition.failures = 0;
        self.condition.probing = false;
        self.condition.last_success = now;
    }

    /// A set-aside event came back.
    fn aside_ended(&mut self, event: &Arc<Event>, outcome: Outcome, now: Timestamp) {
        let seq = event.seq;
        let Some((row, failed_at)) = self.aside.get(seq) else { return };
        let (row, failed_at) = (row.clone(), failed_at);
        let attempts = row.attempts + 1;
        let trouble = match outcome {
            Outcome::Delivered => {
                self.show.delivered(1, now);
                self.succeeded(now);
                return self.release(seq, now);
            }
            Outcome::Refused(error) => {
                let history = row.history.and(attempts, now, &error);
                self.bury(Arc::clone(event), Cause::Refused, attempts, error, history, now);
                return self.release(seq, now);
            }
            Outcome::Failed(trouble) => trouble,
            Outcome::Untried => return self.aside.insert(row, failed_at),
        };
        self.show.failed(&trouble.class, now);
        self.heed(&trouble);
        if self.window.has_let_go(seq) {
            return self.release(seq, now);
        }
        let jitter = policy::jitter(self.condition.seed ^ seq, attempts);
        match policy::fate(&self.parts.settings, now.ms_since(row.since), attempts, jitter) {
            // Its time runs out only while the destination takes others.
            Fate::Dead if self.others_succeed_since(failed_at) => {
                let history = row.history.and(attempts, now, &trouble.error);
                self.bury(Arc::clone(event), Cause::Expired, attempts, trouble.error, history, now);
                self.release(seq, now);
            }
            Fate::Dead => self.keep_aside(row, attempts, trouble, self.parts.settings.aside_max.as_ms(), now),
            Fate::Again(wait) => self.keep_aside(row, attempts, trouble, wait, now),
        }
    }

    /// Whether the destination took others since then; those of the handler's own lanes count for a replay, too.
    fn others_succeed_since(&self, time: Timestamp) -> bool {
        let live = self.parts.replay.iter().flat_map(|replay| &replay.live);
        self.condition.last_success > time
            || live.filter_map(|lane| lane.borrow().delivered_at).any(|at| at > time)
    }

    fn keep_aside(&mut self, row: Aside, attempts: u32, trouble: Trouble, wait_ms: i64, now: Timestamp) {
        let history = row.history.and(attempts, now, &trouble.error);
        let row = Aside { attempts, error: trouble.error, history, next_try: now.plus_ms(wait_ms), ..row };
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, now);
    }

    /// A set-aside event is done with; the next of its message follows.
    pub(super) fn release(&mut self, seq: u64, now: Timestamp) {
        self.ends.resolved.push(seq);
        self.ends.set_aside.retain(|row| row.seq != seq);
        self.ends.set_aside.extend(self.aside.remove(seq, now));
    }

    /// A dead letter that somebody asked to retry came back.
    fn revival_ended(&mut self, id: i64, outcome: Outcome, now: Timestamp) {
        let (error, rests) = match outcome {
            Outcome::Delivered => {
                self.show.delivered(1, now);
                self.succeeded(now);
                self.ends.revived.push(id);
                self.revival_done(id);
                return;
            }
            Outcome::Refused(error) => (error, true),
            Outcome::Failed(trouble) => {
                self.heed(&trouble);
                (trouble.error, false)
            }
            Outcome::Untried => return self.revivals.put_back(id, now),
        };
        let Some((tries, attempts, history)) = self.revivals.failed(id, now, &error) else { return };
        let rests = rests || tries >= policy::REVIVAL_TRIES;
        self.ends.dead_again.push(DeadAgain { id, attempts, error, history, still_retrying: !rests });
        if rests {
            self.revival_done(id);
        } else {
            let jitter = policy::jitter(self.condition.seed ^ id.cast_unsigned(), attempts);
            let settings = &self.parts.settings;
            let wait = policy::backoff_ms(settings.aside_first, settings.aside_max, tries, jitter);
            self.revivals.put_back(id, now.plus_ms(wait));
        }
    }

    pub(super) fn revival_done(&mut self, id: i64) {
        self.revivals.remove(id);
        // The journal gives a bounded number at a time.
        self.look_for_revivals |= self.revivals.is_empty();
    }

    /// An event that fails while others succeed: later events of its message queue behind it.
    fn set_aside(&mut self, seq: u64, trouble: Trouble, now: Timestamp) {
        if self.window.has_let_go(seq) || self.aside_is_full() {
            self.window.failed(seq, now, now.plus_ms(self.backoff_ms(1)));
            return;
        }
        let attempts = self.window.get(seq).map_or(0, |slot| slot.attempts) + 1;
        let Some(event) = self.window.remove(seq) else { return };
        tracing::warn!(lane = %self.name(), seq, failure = %trouble.class, "set aside: it fails while others succeed");
        let order_key = event.order_key();
        let jitter = policy::jitter(self.condition.seed ^ seq, attempts);
        let settings = &self.parts.settings;
        let wait = policy::backoff_ms(settings.aside_first, settings.aside_max, 1, jitter);
        let row = Aside {
            seq,
            order_key,
            behind: false,
            attempts,
            since: now,
            next_try: now.plus_ms(wait),
            history: History::default().and(attempts, now, &trouble.error),
            error: trouble.error,
        };
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, now);
        for later in order_key.map(|key| self.window.take_message(key)).unwrap_or_default() {
            self.set_aside_in_order(&later, now);
        }
    }

    /// Sets an event aside that did not fail, in the order of its message: behind what is set aside of it, or before that,
    /// where a restart claims it once more.
    pub(super) fn set_aside_in_order(&mut self, event: &Event, now: Timestamp) {
        let follows = event.order_key().and_then(|key| self.aside.yields(key, event.seq));
        let row = Aside {
            seq: event.seq,
            order_key: event.order_key(),
            behind: follows.is_none(),
            attempts: 0,
            since: now,
            next_try: now,
            error: String::new(),
            history: History::default(),
        };
        self.ends.set_aside.extend(follows);
        self.ends.set_aside.push(row.clone());
        self.aside.insert(row, now);
    }

    fn bury(
        &mut self,
        event: Arc<Event>,
        cause: Cause,
        attempts: u32,
        error: String,
        history: History,
        now: Timestamp,
    ) {
        tracing::warn!(lane = %self.name(), seq = event.seq, cause = cause.as_str(), "a dead letter");
        self.show.refused(cause.as_str(), now);
        self.ends.dead.push(NewDead { event, cause, attempts, error, at: now, history });
    }
}

fn single(outcomes: Result<Vec<Outcome>, Trouble>) -> Outcome {
    match outcomes {
        Ok(outcomes) => outcomes.into_iter().next().unwrap_or(Outcome::Untried),
        Err(trouble) => Outcome::Failed(trouble),
    }
}

/// Of a delivery's task, not of the handler in it.
fn panicked(error: &JoinError) -> Trouble {
    Trouble {
        class: "panic".to_owned(),
        error: format!("the delivery ended: {}", panics::why_ended(error)),
        after: None,
        gravity: Gravity::Unwell,
    }
}
