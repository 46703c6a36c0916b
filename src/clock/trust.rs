//! Decides which time to trust, from given readings of the wall clock and of the time since boot, and from the latest
//! time that the previous run of the receiver stored in the journal.
//!
//! The wall clock is trusted while its offset to the time since boot stays the same, apart from slow drift. A jump of
//! more than [`TOLERANCE_MS`] puts the wall clock in doubt. Then the trusted time is the time since boot plus the last
//! trusted offset, until the wall clock returns to that offset or a [`Correction`] is made. A correction needs an
//! operator who accepts the wall clock, or an hour without another jump. Suspending the machine is not a jump, because
//! the time since boot includes it.
//!
//! Deletion by age measures age against a separate time, the deletion time. The deletion time is never ahead of the
//! trusted time. It normally advances by at most [`CATCH_UP`] hours per hour. While the wall clock is in doubt, the
//! deletion time advances only in real time. The same applies to the first hour of the process if the deletion time is
//! more than [`TOLERANCE_MS`] behind the trusted time at the start, for example after downtime. An operator who
//! confirms the clock ends that hour.

use super::{ClockReading, Timestamp};

/// A jump by more than this puts the wall clock in doubt. This is also the maximum accepted drift of the wall clock per
/// hour.
const TOLERANCE_MS: i64 = 10 * 60_000;
/// The wall clock may be trusted again after this time without another jump, and deletion may catch up after this time
/// since the start.
const AGREEMENT_MS: i64 = 3_600_000;
/// The longest plausible downtime. At the start, the wall clock is in doubt if it is more than this ahead of the last
/// time that the previous run noted ([`LastKnown::noted`]). A correction forward by more than this does not change the
/// age of stored rows; any other correction does.
const DOWNTIME_MS: i64 = 30 * 24 * 3_600_000;
/// The maximum speed of the deletion time while it catches up, in hours per hour.
const CATCH_UP: i64 = 24;

/// The last times that the previous run of the receiver stored in the journal.
#[derive(Clone, Copy, Debug)]
pub struct LastKnown {
    /// The latest time in the journal.
    pub at: Timestamp,
    /// The last noted deletion time; `None` if none was noted.
    pub deletion: Option<Timestamp>,
    /// True if a running receiver noted the time, which it does every minute. False if `at` comes only from the last
    /// event or settle.
    pub noted: bool,
}

/// The state while the wall clock is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The current offset of the wall clock.
    offset_ms: i64,
    /// The time since boot, in milliseconds, at which the wall clock got this offset.
    since_ms: i64,
}

/// A change of the trusted time to the wall clock. It ends the doubt about the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The trusted time right after the correction.
    pub to: Timestamp,
    /// The change of the trusted time in milliseconds; negative if the time goes back.
    pub by_ms: i64,
    offset_ms: i64,
}

impl Correction {
    /// This number of milliseconds is added to the time of a row from before the correction, when its age is computed.
    /// A correction forward by more than plausible downtime means that the clock was wrong before. Such a correction
    /// must not make stored rows older.
    pub const fn shift_ms(&self) -> i64 {
        if self.by_ms > DOWNTIME_MS { self.by_ms } else { 0 }
    }
}

/// The result of checking the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Nothing,
    /// The wall clock jumped by this number of milliseconds.
    Jumped(i64),
    /// The wall clock jumped again while in doubt. It now differs from the trusted time by this number of
    /// milliseconds.
    JumpedAgain(i64),
    /// The wall clock came back and is trusted again.
    CameBack,
    /// At the start: the wall clock is this many milliseconds ahead of the last known time. This gap counts as
    /// downtime.
    Downtime(i64),
    /// At the start: the wall clock is behind the last known time, or too far ahead of it. The value is the gap in
    /// milliseconds, negative if the wall clock is behind.
    Implausible(i64),
}

/// The trusted offset, the doubt about the wall clock, and the deletion time.
#[derive(Debug)]
pub(super) struct Trust {
    /// Trusted time minus time since boot.
    offset_ms: i64,
    /// The offset that jumps are measured against. It is renewed every hour, so that slow drift is accepted, but a
    /// clock that drifts more than [`TOLERANCE_MS`] per hour is detected.
    pub(super) reference_ms: i64,
    reference_at: i64,
    pub(super) doubt: Option<Doubt>,
    /// Until this time since boot, in milliseconds, deletion does not catch up, unless an operator confirms the clock.
    unconfirmed_until: i64,
    deletion: Timestamp,
    deletion_at: i64,
}

impl Trust {
    /// Trusts the first reading.
    pub(super) const fn new(first: ClockReading) -> Self {
        Self {
            offset_ms: first.offset_ms(),
            reference_ms: first.offset_ms(),
            reference_at: first.boot_ms,
            doubt: None,
            unconfirmed_until: i64::MIN,
            deletion: first.wall,
            deletion_at: first.boot_ms,
        }
    }

    /// Decides which time to trust, from the first reading and the last times of the previous run.
    pub(super) fn start(reading: ClockReading, known: LastKnown) -> (Self, Finding) {
        let mut trust = Self::new(reading);
        let gap = reading.wall.ms_since(known.at);
        // A long gap is implausible only if a running receiver noted `known.at`. Otherwise `known.at` is the time of
        // the last event or settle, which may be old because the sender was quiet.
        let finding = if gap < -TOLERANCE_MS || (gap > DOWNTIME_MS && known.noted) {
            trust.offset_ms = known.at.as_ms() - reading.boot_ms;
            trust.doubt = Some(Doubt { offset_ms: reading.offset_ms(), since_ms: reading.boot_ms });
            Finding::Implausible(gap)
        } else if gap > TOLERANCE_MS {
            Finding::Downtime(gap)
        } else {
            Finding::Nothing
        };
        // Without a noted deletion time, use the earlier of the wall clock and `known.at`, because `known.at` may come
        // from a clock that was ahead.
        let deletion = known.deletion.unwrap_or(reading.wall).min(known.at);
        trust.deletion = deletion.min(trust.trusted(reading));
        // If the deletion time is behind the trusted time, each start begins a new hour in which deletion does not
        // catch up.
        if trust.trusted(reading).ms_since(trust.deletion) > TOLERANCE_MS {
            trust.unconfirmed_until = reading.boot_ms + AGREEMENT_MS;
        }
        (trust, finding)
    }

    /// Checks a reading for a jump of the wall clock. Updates the trusted offset and the doubt.
    pub(super) fn compare(&mut self, reading: ClockReading) -> Finding {
        let offset_ms = reading.offset_ms();
        let Some(doubt) = self.doubt else {
            let drift = offset_ms - self.reference_ms;
            if drift.abs() > TOLERANCE_MS {
                let jumped = offset_ms - self.offset_ms;
                self.advance_deletion(reading);
                self.doubt = Some(Doubt { offset_ms, since_ms: reading.boot_ms });
                return Finding::Jumped(jumped);
            }
            self.offset_ms = offset_ms;
            if reading.boot_ms - self.reference_at >= AGREEMENT_MS {
                (self.reference_ms, self.reference_at) = (offset_ms, reading.boot_ms);
            }
            return Finding::Nothing;
        };
        if (offset_ms - self.offset_ms).abs() <= TOLERANCE_MS {
            self.advance_deletion(reading);
            self.trust_offset(offset_ms, reading.boot_ms);
            return Finding::CameBack;
        }
        if (offset_ms - doubt.offset_ms).abs() > TOLERANCE_MS {
            self.doubt = Some(Doubt { offset_ms, since_ms: reading.boot_ms });
            return Finding::JumpedAgain(offset_ms - self.offset_ms);
        }
        Finding::Nothing
    }

    /// The trusted time of a reading.
    pub(super) const fn trusted(&self, reading: ClockReading) -> Timestamp {
        Timestamp::from_ms(reading.boot_ms.saturating_add(self.offset_ms))
    }

    /// The trusted time until which deletion advances only in real time; `None` if it may catch up.
    pub(super) fn unconfirmed_until(&self, reading: ClockReading) -> Option<Timestamp> {
        let doubt_until = self.doubt.map(|doubt| doubt.since_ms + AGREEMENT_MS);
        let until = doubt_until.unwrap_or(self.unconfirmed_until);
        (self.doubt.is_some() || until > reading.boot_ms)
            .then(|| Timestamp::from_ms(until.saturating_add(self.offset_ms)))
    }

    /// The correction that ends the doubt, if the wall clock has kept its offset for an hour or an operator
    /// `accepted` it.
    pub(super) fn correction(&self, reading: ClockReading, accepted: bool) -> Option<Correction> {
        let doubt = self.doubt?;
        let agreed = reading.boot_ms - doubt.since_ms >= AGREEMENT_MS;
        (accepted || agreed).then(|| Correction {
            to: reading.wall,
            by_ms: reading.wall.ms_since(self.trusted(reading)),
            offset_ms: reading.offset_ms(),
        })
    }

    /// Applies a correction, which ends the doubt.
    pub(super) fn correct(&mut self, reading: ClockReading, correction: &Correction) {
        self.advance_deletion(reading);
        self.trust_offset(correction.offset_ms, reading.boot_ms);
        self.deletion = self.deletion.plus_ms(correction.shift_ms()).min(self.trusted(reading));
    }

    /// Confirms the wall clock after a start at which the deletion time was behind the trusted time. The deletion time
    /// may then catch up. Returns `false` if the deletion time was not waiting for a confirmation.
    pub(super) fn confirm(&mut self, reading: ClockReading) -> bool {
        self.advance_deletion(reading);
        let waited = self.unconfirmed_until > reading.boot_ms;
        self.unconfirmed_until = i64::MIN;
        waited
    }

    /// The time against which the age of stored rows is measured when they are deleted.
    pub(super) fn deletion(&mut self, reading: ClockReading) -> Timestamp {
        self.advance_deletion(reading);
        self.deletion
    }

    fn advance_deletion(&mut self, reading: ClockReading) {
        let (from, to) = (self.deletion_at, reading.boot_ms.max(self.deletion_at));
        let slow_until = if self.doubt.is_some() { to } else { self.unconfirmed_until.clamp(from, to) };
        let allowed = (slow_until - from).saturating_add((to - slow_until).saturating_mul(CATCH_UP));
        self.deletion = self.deletion.plus_ms(allowed).min(self.trusted(reading));
        self.deletion_at = to;
    }

    fn trust_offset(&mut self, offset_ms: i64, boot_ms: i64) {
        self.offset_ms = offset_ms;
        (self.reference_ms, self.reference_at) = (offset_ms, boot_ms);
        self.doubt = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const NOW: i64 = 1_796_000_000_000;

    fn at(boot_ms: i64, offset_ms: i64) -> ClockReading {
        ClockReading { wall: Timestamp::from_ms(boot_ms + offset_ms), boot_ms }
    }

    fn noted(at: i64, deletion: i64) -> LastKnown {
        LastKnown { at: Timestamp::from_ms(at), deletion: Some(Timestamp::from_ms(deletion)), noted: true }
    }

    #[test]
    fn a_jump_is_detected_once_and_ends_when_the_clock_comes_back() {
        let mut trust = Trust::new(at(0, NOW));
        assert_eq!(trust.compare(at(MINUTE, NOW + 9 * MINUTE)), Finding::Nothing);
        assert_eq!(trust.compare(at(2 * MINUTE, NOW + 60 * DAY)), Finding::Jumped(60 * DAY - 9 * MINUTE));
        let later = at(3 * MINUTE, NOW + 60 * DAY);
        assert_eq!(trust.compare(later), Finding::Nothing);
        assert_eq!(trust.trusted(later).as_ms(), NOW + 12 * MINUTE, "trusted time plus elapsed time");
        assert_eq!(trust.compare(at(4 * MINUTE, NOW - DAY)), Finding::JumpedAgain(-DAY - 9 * MINUTE));
        assert_eq!(trust.compare(at(5 * MINUTE, NOW)), Finding::CameBack);
        assert_eq!(trust.doubt, None);
    }

    #[test]
    fn a_clock_that_is_too_fast_is_detected_within_the_hour() {
        let mut trust = Trust::new(at(0, NOW));
        let found = (1..60)
            .find(|minute| trust.compare(at(minute * MINUTE, NOW + minute * MINUTE)) != Finding::Nothing);
        assert_eq!(found, Some(11));
        let mut slow = Trust::new(at(0, NOW));
        // The maximum slew of ntpd: half a millisecond per second.
        let drifts = (1..3_000).map(|minute| slow.compare(at(minute * MINUTE, NOW + minute * 30)));
        assert!(drifts.into_iter().all(|finding| finding == Finding::Nothing));
    }

    #[test]
    fn a_correction_waits_for_an_hour_of_agreement_unless_it_is_accepted() {
        let mut trust = Trust::new(at(0, NOW));
        assert_eq!(trust.correction(at(0, NOW), true), None, "nothing is in doubt");
        trust.compare(at(MINUTE, NOW + DAY));
        assert!(trust.correction(at(MINUTE, NOW + DAY), true).is_some_and(|it| it.by_ms == DAY));
        trust.compare(at(50 * MINUTE, NOW + 2 * DAY));
        let wall = at(80 * MINUTE, NOW + 2 * DAY);
        assert_eq!(trust.correction(wall, false), None, "only half an hour without a jump");
        let wall = at(110 * MINUTE, NOW + 2 * DAY);
        let correction = trust.correction(wall, false).unwrap();
        trust.correct(wall, &correction);
        assert_eq!((trust.doubt, trust.trusted(wall)), (None, wall.wall));
    }

    #[test]
    fn a_start_trusts_downtime_but_no_step_back_and_no_gap_over_30_days() {
        let start = |gap: i64| Trust::start(at(0, NOW), noted(NOW - gap, NOW - gap));
        assert_eq!(start(9 * MINUTE).1, Finding::Nothing);
        assert_eq!(start(-9 * MINUTE).1, Finding::Nothing);
        let (mut trust, finding) = start(3 * DAY);
        assert_eq!((finding, trust.doubt), (Finding::Downtime(3 * DAY), None));
        assert_eq!(trust.trusted(at(0, NOW)).as_ms(), NOW);
        assert_eq!(
            trust.deletion(at(HOUR, NOW)).as_ms(),
            NOW - 3 * DAY + HOUR,
            "not faster in the first hour"
        );
        assert_eq!(
            trust.deletion(at(2 * HOUR, NOW)).as_ms(),
            NOW - 3 * DAY + 25 * HOUR,
            "then a day per hour"
        );
        assert!(start(3 * DAY).0.confirm(at(0, NOW)));
        for gap in [31 * DAY, -DAY] {
            let (mut trust, finding) = start(gap);
            assert_eq!(finding, Finding::Implausible(gap));
            assert_eq!(trust.trusted(at(MINUTE, NOW)).as_ms(), NOW - gap + MINUTE);
            assert_eq!(trust.deletion(at(MINUTE, NOW)).as_ms(), NOW - gap + MINUTE);
        }
    }

    #[test]
    fn a_restart_does_not_shorten_the_hour_before_deletion_catches_up() {
        let (mut trust, _) = Trust::start(at(0, NOW), noted(NOW - 3 * DAY, NOW - 3 * DAY));
        let deletion = trust.deletion(at(MINUTE, NOW)).as_ms();
        let (mut trust, finding) = Trust::start(at(MINUTE, NOW), noted(NOW + MINUTE, deletion));
        assert_eq!(finding, Finding::Nothing);
        assert_eq!(trust.deletion(at(61 * MINUTE, NOW)).as_ms(), deletion + HOUR);
    }

    #[test]
    fn without_a_noted_time_the_sender_may_be_quiet_or_the_clock_was_ahead() {
        let start = |gap: i64| {
            let at_event = Timestamp::from_ms(NOW - gap);
            let (mut trust, finding) =
                Trust::start(at(0, NOW), LastKnown { at: at_event, deletion: None, noted: false });
            (finding, trust.deletion(at(0, NOW)).as_ms())
        };
        assert_eq!(start(90 * DAY), (Finding::Downtime(90 * DAY), NOW - 90 * DAY));
        // The last event has a time from a clock that was ahead. The deletion time does not come from that event.
        assert_eq!(start(-3_650 * DAY), (Finding::Implausible(-3_650 * DAY), NOW));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Passes(i64),
        Jumps(i64),
        Restarts,
        Accepts,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..5 * HOUR).prop_map(Step::Passes),
            2 => (-100 * DAY..100 * DAY).prop_map(Step::Jumps),
            1 => Just(Step::Restarts),
            1 => Just(Step::Accepts),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// A correction larger than plausible downtime shifts the deletion time and stored times by the same amount, so
        /// this test does not count it as an advance.
        #[test]
        fn deletion_advances_by_at_most_a_day_per_hour_across_restarts(steps in steps()) {
            let (mut boot_ms, mut offset_ms) = (0, NOW);
            let mut trust = Trust::new(at(boot_ms, offset_ms));
            let mut bound = NOW;
            for step in steps {
                let before = at(boot_ms, offset_ms);
                match step {
                    Step::Passes(ms) => {
                        boot_ms += ms;
                        bound += CATCH_UP * ms;
                    }
                    Step::Jumps(ms) => offset_ms += ms,
                    Step::Restarts => {
                        trust.compare(before);
                        let deletion = trust.deletion(before).as_ms();
                        let known = noted(trust.trusted(before).as_ms(), deletion);
                        (trust, _) = Trust::start(before, known);
                    }
                    Step::Accepts => {
                        trust.compare(before);
                        if let Some(correction) = trust.correction(before, true) {
                            trust.correct(before, &correction);
                            bound += correction.shift_ms();
                        }
                        trust.confirm(before);
                    }
                }
                let reading = at(boot_ms, offset_ms);
                trust.compare(reading);
                let deletion = trust.deletion(reading);
                prop_assert!(deletion <= trust.trusted(reading));
                prop_assert!(deletion.as_ms() <= bound, "{} ahead", deletion.as_ms() - bound);
                bound = bound.min(deletion.as_ms());
            }
        }
    }
}
