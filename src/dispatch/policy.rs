//! The decisions of a lane, as pure functions without clock or I/O.

use super::Settings;
use crate::{event::Class, settings::Period};

/// After this many failures of a batch, its events are probed one by one.
pub(super) const BATCH_TRIES: u32 = 3;
/// This many messages in doubt, with no success in between, make the destination unwell.
pub(super) const DOUBTS: usize = 10;
/// An event is set aside after this many failures that it may have caused, if other events succeed in between. A
/// destination that fails only now and then rarely fails this often for the same event, so the event is the likely
/// cause.
pub(super) const EVENT_TRIES: u32 = 3;
/// The wait after the first failure that an event may have caused. After the second failure, the wait is twice as long.
const SOON_MS: i64 = 250;
/// If the destination answers but accepts no message, the lane searches its backlog for one that it accepts. This is
/// the longest wait between two searches.
const SEARCH_MS: i64 = 30_000;
/// Maximum number of untried messages in a search, if the first event in doubt was refused, or failed in another way
/// that a retry does not resolve.
const SEARCH_REFUSED: usize = 1_000;
/// Maximum number of untried messages in a search, if a retry may resolve the failure of the first event in doubt.
const SEARCH_FAILED: usize = 100;
/// A lane with this many claimed events claims no more events only to give a search or a probe more choice. Usually most
/// of these events are in doubt. Other claims continue, up to the limits of [`window`].
pub(super) const DOUBTED_MAX: usize = 10_000;
/// If there is no room to set an event aside, that event stays in the window and stops the cursor. Counted from that
/// event, the lane adds at most this many events to the window. After that, it adds only single events, as probes. The
/// number is limited, because a restart delivers the events after the cursor again.
pub(super) const AHEAD_MAX: usize = 10_000;
/// While fewer events than this are in doubt, the error of the next one is kept in memory uncut. Later errors are cut.
pub(super) const WHOLE_ERRORS: usize = 100;
/// A one-by-one probe without a success stops after this many failures.
pub(super) const PROBE_EVENTS: usize = 10;
/// A one-by-one probe takes the first event of each message, of at least this many messages if so many wait.
const PROBE_HEADS: usize = 4;
/// Maximum number of messages that a probe chooses from.
const WIDEST: usize = 1_000;
/// How long to wait after a failure to read an event from the journal.
pub(super) const UNREADABLE_MS: i64 = 30_000;
/// After this many failed tries, a retried dead letter is not tried again until somebody asks for another retry.
pub(super) const DEAD_RETRY_TRIES: u32 = 5;
/// A lane that has caught up waits this long before it claims again, so that new events can be delivered together.
/// Otherwise each event could be a delivery of its own. If the destination is on the journal's disk and syncs each
/// delivery, that would slow intake.
pub(super) const GATHER_MS: i64 = 10;
/// A replay waits while one of the handler's own lanes is more than this many events behind.
pub(super) const YIELD_LAG: u64 = 10_000;
/// While a replay waits for the handler's own lanes, it checks them at this interval.
pub(super) const YIELD_CHECK_MS: i64 = 500;
/// A delivery that takes at most this long is quick. While deliveries are quick, they may use the slot that is reserved
/// for incoming messages: see [`share`]. So this limit bounds how long a customer's message usually waits for a slot.
pub(super) const QUICK_MS: i64 = 250;
/// Maximum wait that a destination can ask for.
pub(super) const LONGEST_REQUESTED_MS: i64 = 60 * 60 * 1_000;

/// A wait that doubles with each failure, from `first` up to `max`, ±20 % by `jitter` (0 to 1).
fn backoff_ms(first: Period, max: Period, failures: u32, jitter: f64) -> i64 {
    let doublings = failures.saturating_sub(1).min(32);
    let base = first.as_ms().saturating_mul(1_i64 << doublings).clamp(0, max.as_ms());
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // durations far below 2^52 ms
    let wait = (base as f64 * (0.8 + 0.4 * jitter.clamp(0.0, 1.0))) as i64;
    wait
}

/// The wait before an unwell destination is probed.
pub(super) fn probe_wait_ms(settings: &Settings, failures: u32, jitter: f64) -> i64 {
    backoff_ms(settings.probe_first, settings.probe_max, failures, jitter)
}

/// The wait before a set-aside event or a retried dead letter is tried again.
pub(super) fn aside_wait_ms(settings: &Settings, failures: u32, jitter: f64) -> i64 {
    backoff_ms(settings.aside_first, settings.aside_max, failures, jitter)
}

/// The longest wait of a set-aside event, from [`aside_wait_ms`] or requested by the destination. A longer wait in the
/// journal was stored while the clock was wrong.
pub(super) fn longest_aside_wait_ms(settings: &Settings) -> i64 {
    backoff_ms(settings.aside_max, settings.aside_max, 1, 1.0).max(LONGEST_REQUESTED_MS)
}

/// The wait after a failure that an event may have caused. It is short for the first two retries, because the failure
/// may be random; then it is as long as for an unwell destination.
pub(super) fn event_wait_ms(settings: &Settings, attempts: u32, jitter: f64) -> i64 {
    let first = settings.probe_first.as_ms();
    match attempts {
        0 | 1 => SOON_MS.min(first),
        2 => (SOON_MS * 2).min(first),
        _ => probe_wait_ms(settings, attempts - 2, jitter),
    }
}

/// The wait before the next search of the backlog.
pub(super) fn search_wait_ms(settings: &Settings, failures: u32, jitter: f64) -> i64 {
    probe_wait_ms(settings, failures, jitter).min(SEARCH_MS)
}

/// Maximum number of untried messages in the next search. It doubles with each failed search, up to a limit.
pub(super) fn search_events(searches: u32, refused: bool) -> usize {
    let most = if refused { SEARCH_REFUSED } else { SEARCH_FAILED };
    (DOUBTS << searches.min(16)).min(most)
}

/// Returns whether an event counts as delivered although every attempt failed. It does if one attempt had no answer,
/// and at least two answers said that the destination already has the event or is processing it.
pub(super) const fn is_delivered(unanswered: bool, repetitions: u32) -> bool {
    unanswered && repetitions >= 2
}

/// Maximum number of set-aside events and retried dead letters in flight, for a lane with `share` slots.
pub(super) const fn exceptions(share: usize) -> usize {
    if share < 8 { 1 } else { share / 4 }
}

/// A number in 0..1 that differs per lane and per failure (splitmix64).
pub(super) fn jitter(seed: u64, failures: u32) -> f64 {
    let mut z = seed.wrapping_add(u64::from(failures).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    #[allow(clippy::cast_precision_loss)] // 53 bits are what an f64 holds
    let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    unit
}

/// How the events of a delivery are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All events in one delivery.
    Batch,
    /// One event at a time, to find out whether the destination or one of the events fails.
    OneByOne,
}

/// How to try events. `attempts`: the failed tries of the event that was tried most often.
pub(super) const fn mode(attempts: u32) -> Mode {
    if attempts >= BATCH_TRIES { Mode::OneByOne } else { Mode::Batch }
}

/// Maximum number of events in a one-by-one probe. It is more than one, because a single event that always fails looks
/// like an unwell destination.
pub(super) const fn probe_events(batch: usize) -> usize {
    if batch > PROBE_HEADS { batch } else { PROBE_HEADS }
}

/// Index of the message that a one-by-one probe starts with. Each probe starts where the last one stopped.
pub(super) const fn probe_turn(failures: u32, events: usize) -> usize {
    let tried = if events < PROBE_EVENTS { events } else { PROBE_EVENTS };
    failures.saturating_sub(BATCH_TRIES) as usize * tried
}

/// Number of messages that the lane needs to choose the next probe from, after this many `failures` in a row. With
/// fewer, the lane claims more events. The number grows, because the destination may accept other messages than those
/// tried so far. It has a maximum, because the lane has these messages in memory, and the destination may be down for a
/// week.
pub(super) fn probe_width(failures: u32, batch: usize) -> usize {
    if batch == 1 {
        // One more message per probe.
        return (failures as usize + 1).min(WIDEST);
    }
    match failures.checked_sub(BATCH_TRIES - 1) {
        None => 0,
        Some(probes) => (PROBE_HEADS + PROBE_EVENTS * probes as usize).min(WIDEST),
    }
}

/// The wait before the next try of a set-aside event that failed `aside_ms` after it was set aside; `None` once
/// `aside_for` has passed.
pub(super) fn next_aside_ms(settings: &Settings, aside_ms: i64, attempts: u32, jitter: f64) -> Option<i64> {
    (aside_ms < settings.aside_for.as_ms()).then(|| aside_wait_ms(settings, attempts, jitter))
}

/// Maximum number of deliveries in flight of a lane. With more than one slot, one is reserved for incoming messages.
/// It is lent to the other lane after `concurrency` quick deliveries in a row, because a slot then becomes free soon.
pub(super) const fn share(class: Class, concurrency: usize, quick: usize) -> usize {
    match class {
        Class::Other if concurrency > 1 && quick < concurrency => concurrency - 1,
        _ => concurrency,
    }
}

/// Maximum number of deliveries in flight of a replay's lane: the slots that neither the handler's own lanes nor the
/// second lane of the same replay use, but at least one. So even if the handler's own lanes use every slot, each of the
/// replay's two lanes may have one more delivery in flight.
pub(super) fn replay_share(concurrency: usize, quick: usize, taken: usize) -> usize {
    share(Class::Other, concurrency, quick).saturating_sub(taken).max(1)
}

/// Returns two limits for the ready events of a lane: its claimed events that are neither in doubt nor held. The lane
/// does not claim while it has more than the first limit. A claim adds events up to the second limit. With several
/// slots, the limits per slot are higher, because events that wait for an earlier one of their message count as ready,
/// but cannot use a slot yet.
pub(super) const fn window(batch: usize, share: usize) -> (usize, usize) {
    match share {
        0 | 1 => (batch, batch * 2),
        _ => (batch * share * 3, batch * share * 4),
    }
}

/// The new number of quick deliveries in a row, after a delivery that took `took_ms`.
pub(super) const fn quick(before: usize, delivered: bool, took_ms: i64) -> usize {
    if delivered && took_ms <= QUICK_MS { before.saturating_add(1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_stays_within_a_fifth_of_its_bounds(failures in 1_u32..200, jitter in 0.0_f64..=1.0) {
            let settings = Settings::default();
            let wait = probe_wait_ms(&settings, failures, jitter);
            prop_assert!((4_000..=360_000).contains(&wait), "{wait}");
            // The backlog is searched twice a minute at least.
            let wait = search_wait_ms(&settings, failures, jitter);
            prop_assert!((4_000..=30_000).contains(&wait), "{wait}");
            prop_assert!(aside_wait_ms(&settings, failures, jitter) <= longest_aside_wait_ms(&settings));
        }

        #[test]
        fn waits_never_shrink_with_more_failures(failures in 1_u32..200, jitter in 0.0_f64..=1.0) {
            let settings = Settings::default();
            type WaitMs = fn(&Settings, u32, f64) -> i64;
            let waits: [(&str, WaitMs); 4] = [
                ("probe", probe_wait_ms),
                ("aside", aside_wait_ms),
                ("search", search_wait_ms),
                ("event", event_wait_ms),
            ];
            for (name, wait_ms) in waits {
                let wait = |failures| wait_ms(&settings, failures, jitter);
                prop_assert!(wait(failures) <= wait(failures + 1), "{name}");
            }
        }

        #[test]
        fn a_search_is_never_smaller_than_the_last(searches in 0_u32..100, refused: bool) {
            prop_assert!(search_events(searches, refused) <= search_events(searches + 1, refused));
            prop_assert!((DOUBTS..=SEARCH_REFUSED).contains(&search_events(searches, refused)));
        }

        #[test]
        fn jitter_is_a_fraction(seed: u64, failures: u32) {
            let jitter = jitter(seed, failures);
            prop_assert!((0.0..1.0).contains(&jitter), "{jitter}");
        }

        #[test]
        fn a_set_aside_event_expires_exactly_after_aside_for(aside_ms in 0_i64..600_000_000, attempts in 1_u32..100) {
            let settings = Settings::default();
            let dead = next_aside_ms(&settings, aside_ms, attempts, 0.5).is_none();
            prop_assert_eq!(dead, aside_ms >= settings.aside_for.as_ms());
        }
    }

    #[test]
    fn the_third_failure_of_a_batch_makes_it_a_probe() {
        assert_eq!(
            [0, 1, 2, 3, 4].map(mode),
            [Mode::Batch, Mode::Batch, Mode::Batch, Mode::OneByOne, Mode::OneByOne]
        );
    }

    #[test]
    fn a_probe_chooses_from_more_messages_with_each_failure() {
        assert_eq!([0, 1, 2, 3, 4].map(|failures| probe_width(failures, 100)), [0, 0, 4, 14, 24]);
        assert_eq!(
            [1, 2, 3].map(|failures| probe_width(failures, 1)),
            [2, 3, 4],
            "one more message per probe"
        );
        assert_eq!([1, 100].map(|batch| probe_width(u32::MAX >> 1, batch)), [WIDEST; 2]);
        assert_eq!([1, 4, 5, 500].map(probe_events), [4, 4, 5, 500]);
        assert_eq!([2, 3, 4, 5].map(|failures| probe_turn(failures, 4)), [0, 0, 4, 8]);
        assert_eq!(probe_turn(5, 500), 20);
    }

    #[test]
    fn a_replay_gets_the_slots_that_are_left() {
        assert_eq!([0, 1, 3, 7, 20].map(|taken| replay_share(8, 0, taken)), [7, 6, 4, 1, 1]);
        assert_eq!([replay_share(8, 8, 0), replay_share(1, 0, 0), replay_share(1, 9, 1)], [8, 1, 1]);
    }

    #[test]
    fn the_slot_for_incoming_messages_is_lent_while_deliveries_are_quick() {
        use Class::{Incoming, Other};
        let seven = (0..7).fold(0, |before, _| quick(before, true, QUICK_MS));
        let eight = quick(seven, true, 0);
        for (quick, incoming, other) in [(0, 8, 7), (seven, 8, 7), (eight, 8, 8)] {
            assert_eq!([share(Incoming, 8, quick), share(Other, 8, quick)], [incoming, other], "{quick}");
            assert_eq!([share(Incoming, 1, quick), share(Other, 1, quick)], [1, 1], "{quick}");
        }
        assert_eq!([quick(eight, true, QUICK_MS + 1), quick(eight, false, 1)], [0, 0]);
    }
}
