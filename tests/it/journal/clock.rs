//! A wall clock that jumps, and a journal that does not trust it.

use std::{sync::Arc, time::Duration};

use bikhook::{
    clock::Timestamp,
    event::{Class, Event},
    journal::{AppendBatch, Ends, EventQuery, Journal, LaneStart, NewReplay, QuarantineQuery},
};
use proptest::prelude::*;

use super::seqs;
use crate::{
    handlers::until,
    support::{
        clock::{DAY, HOUR, Hands, MINUTE, START},
        events::{batch, status, unreadable},
        journals::{Place, from_beginning, lane},
    },
};

/// A journal with one handler, on a machine whose clocks the test sets.
struct World {
    place: Place,
    hands: Hands,
    journal: Arc<dyn Journal>,
}

impl World {
    async fn new() -> Self {
        let (place, hands) = (Place::new(), Hands::new());
        let journal = open(&place, &hands).await;
        Self { place, hands, journal }
    }

    async fn restart(&mut self) {
        self.journal.close().await.unwrap();
        self.journal = open(&self.place, &self.hands).await;
    }

    /// Appends an event, and returns it as stored.
    async fn append(&self, id: &str) -> Arc<Event> {
        let receipt = self.journal.append(batch([status(id, "m", "sent")])).await.unwrap();
        self.journal.get(receipt.seq.unwrap()).await.unwrap().unwrap()
    }

    /// Settles all events for the handler, so that retention may delete them.
    async fn deliver(&self) {
        let tip = *self.journal.tip().borrow();
        for class in Class::ALL {
            let ends = Ends { cursor: Some(tip), ..Ends::default() };
            self.journal.settle(lane("audit", class), ends).await.unwrap();
        }
        self.journal.flush().await.unwrap();
    }

    async fn span(&self) -> Option<(u64, u64)> {
        self.journal.figures().await.unwrap().span
    }

    fn is_trusted(&self) -> bool {
        self.journal.clock().status().trusted
    }
}

async fn open(place: &Place, hands: &Hands) -> Arc<dyn Journal> {
    let journal = place.open_by(hands);
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    journal
}

#[tokio::test]
async fn a_clock_60_days_ahead_for_seconds_deletes_nothing() {
    let world = World::new().await;
    world.append("before").await;
    world.deliver().await;
    world.hands.jump(60 * DAY);
    let meanwhile = world.append("meanwhile").await;
    // Retention looks every second.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    world.hands.pass(3_500);
    assert_eq!(world.span().await, Some((1, 2)));
    assert_eq!((meanwhile.came_at, world.append("later").await.came_at), (START, START.plus_ms(3_500)));
    assert!(!world.is_trusted());
    world.hands.jump(-60 * DAY);
    assert_eq!(world.append("after").await.came_at, START.plus_ms(3_500));
    assert!(world.is_trusted());
}

#[tokio::test]
async fn a_clock_100_days_ahead_does_not_empty_the_quarantine() {
    let mut world = World::new().await;
    let quarantined = vec![unreadable("{")];
    world.journal.append(AppendBatch { quarantined, ..AppendBatch::default() }).await.unwrap();
    world.hands.jump(100 * DAY);
    world.append("meanwhile").await;
    // A start first runs retention.
    let kept = async |world: &World| {
        world.journal.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        world.journal.quarantine(QuarantineQuery { before: None, limit: 10 }).await.unwrap().len()
    };
    world.restart().await;
    assert_eq!(kept(&world).await, 1, "not believed");
    assert!(world.journal.accept_clock().await.unwrap());
    world.restart().await;
    assert_eq!(kept(&world).await, 1, "believed: nothing became older by it");
    world.hands.pass(91 * DAY);
    world.restart().await;
    world.journal.accept_clock().await.unwrap();
    world.hands.pass(91 * DAY);
    world.restart().await;
    assert_eq!(kept(&world).await, 0, "its time has come");
}

#[tokio::test]
async fn a_duplicate_in_the_window_stays_one_through_a_jump_and_back() {
    let world = World::new().await;
    world.append("x").await;
    let again = async || {
        let receipt = world.journal.append(batch([status("x", "m", "sent")])).await.unwrap();
        (receipt.accepted, receipt.duplicates)
    };
    world.hands.jump(60 * DAY);
    assert_eq!(again().await, (0, 1));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(again().await, (0, 1), "no key left");
    world.hands.jump(-60 * DAY);
    assert_eq!(again().await, (0, 1));
    assert!(world.journal.figures().await.unwrap().window_ms < MINUTE);
}

#[tokio::test]
async fn a_clock_ten_years_ahead_for_one_event_is_recovered_from() {
    let mut world = World::new().await;
    world.append("before").await;
    world.hands.jump(3_650 * DAY);
    assert!(world.journal.accept_clock().await.unwrap());
    let ahead = world.append("ahead").await;
    assert_eq!(ahead.came_at, world.hands.wall());
    world.hands.jump(-3_650 * DAY);
    world.hands.pass(MINUTE);
    assert_eq!(world.append("doubted").await.came_at, ahead.came_at.plus_ms(MINUTE));
    assert!(world.journal.accept_clock().await.unwrap());
    assert!(!world.journal.accept_clock().await.unwrap(), "nothing is in doubt any more");
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        let after = world.append(&format!("after-{restarted}")).await;
        assert_eq!((after.came_at, after.received_at), (world.hands.wall(), world.hands.wall()));
        world.hands.pass(MINUTE);
        let figures = world.journal.figures().await.unwrap();
        assert!((0..=5 * MINUTE).contains(&figures.window_ms), "{}", figures.window_ms);
    }
    assert_eq!(world.span().await, Some((1, 5)));
    world.deliver().await;
    world.hands.pass(31 * DAY);
    until(async || world.span().await.is_none()).await;
    until(async || world.journal.figures().await.unwrap().keys == 0).await;
}

#[tokio::test]
async fn a_journal_that_was_stamped_ahead_by_an_older_version_recovers() {
    let place = Place::new();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/journal/format-3.db");
    std::fs::copy(kept, place.path()).unwrap();
    rusqlite::Connection::open(place.path())
        .unwrap()
        .execute_batch(
            "UPDATE event SET received_at = 2088000000000 WHERE seq >= 3;
             UPDATE key_run SET received_at = 2088000000000 WHERE first >= 3;
             UPDATE settle SET at = 2088000000000",
        )
        .unwrap();
    let hands = Hands::new();
    let journal = open(&place, &hands).await;
    assert!(!journal.clock().status().trusted);
    let held = journal.append(batch([status("held", "m", "sent")])).await.unwrap().seq.unwrap();
    assert!(journal.get(held).await.unwrap().unwrap().came_at >= Timestamp::from_ms(2_088_000_000_000));
    hands.pass(61 * MINUTE);
    until(async || journal.clock().status().trusted).await;
    let after = journal.append(batch([status("after", "m", "sent")])).await.unwrap().seq.unwrap();
    assert_eq!(journal.get(after).await.unwrap().unwrap().came_at, hands.wall());
    let world = World { place, hands, journal };
    world.deliver().await;
    world.hands.pass(31 * DAY);
    // A replay that is half done keeps its events.
    until(async || world.span().await.is_some_and(|(low, _)| low > 4)).await;
}

#[tokio::test]
async fn a_start_stamps_by_the_clock_that_fits_the_last_known_time() {
    for (gap, trusted) in [(-DAY, false), (31 * DAY, false), (3 * DAY, true)] {
        let mut world = World::new().await;
        world.append("before").await;
        world.deliver().await;
        world.hands.jump(gap);
        world.restart().await;
        assert_eq!(world.is_trusted(), trusted, "{gap}");
        let came_at = world.append("after").await.came_at;
        assert_eq!(came_at, if trusted { world.hands.wall() } else { START });
        let status = world.journal.clock().status();
        assert_eq!((status.deletion, status.unconfirmed_until), (START, Some(came_at.plus_ms(HOUR))));
        assert!(world.journal.accept_clock().await.unwrap());
        assert_eq!(world.append("accepted").await.came_at, world.hands.wall());
        assert_eq!(world.journal.clock().status().unconfirmed_until, None);
    }
}

#[tokio::test]
async fn a_suspended_machine_is_no_jump() {
    let world = World::new().await;
    world.append("before").await;
    world.hands.pass(3 * DAY);
    assert_eq!(world.append("after").await.came_at, START.plus_ms(3 * DAY));
    let status = world.journal.clock().status();
    assert!(status.trusted && status.deletion == status.now, "{status:?}");
}

#[tokio::test]
async fn an_hour_without_a_jump_corrects_the_clock_automatically() {
    let world = World::new().await;
    world.append("before").await;
    world.hands.jump(2 * DAY);
    assert_eq!(world.append("doubted").await.came_at, START);
    world.hands.pass(59 * MINUTE);
    assert_eq!(world.append("still").await.came_at, START.plus_ms(59 * MINUTE));
    world.hands.pass(MINUTE);
    until(async || world.is_trusted()).await;
    assert_eq!(world.append("agreed").await.came_at, world.hands.wall());
}

#[tokio::test]
async fn after_three_weeks_down_events_leave_a_day_an_hour() {
    let mut world = World::new().await;
    for day in 0..3 {
        world.append(&format!("day-{day}")).await;
        world.hands.pass(DAY);
    }
    world.deliver().await;
    world.hands.pass(26 * DAY);
    world.append("last").await;
    world.restart().await;
    world.hands.jump(21 * DAY);
    world.restart().await;
    world.deliver().await;
    // The first event is 50 days old by the wall clock, and 29 days by the time that has certainly passed.
    world.hands.pass(HOUR);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(world.span().await, Some((1, 4)), "an hour is waited for a person");
    world.hands.pass(HOUR + MINUTE);
    until(async || world.span().await == Some((2, 4))).await;
    world.restart().await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(world.span().await, Some((2, 4)), "a restart lets nothing more go");
    assert!(world.journal.accept_clock().await.unwrap());
    world.hands.pass(HOUR);
    until(async || world.span().await == Some((3, 4))).await;
}

#[tokio::test]
async fn handlers_and_replays_begin_at_a_time_across_clock_eras() {
    let world = World::new().await;
    world.append("era 0").await;
    world.hands.jump(365 * DAY);
    world.journal.accept_clock().await.unwrap();
    world.append("ahead").await;
    world.hands.jump(-365 * DAY);
    world.journal.accept_clock().await.unwrap();
    world.hands.pass(DAY);
    world.append("again").await;
    world.hands.pass(DAY);
    world.append("last").await;
    for (time, first) in [(0, Some(1)), (1, Some(2)), (DAY, Some(2)), (400 * DAY, None)] {
        assert_eq!(world.journal.received_from(START.plus_ms(time)).await.unwrap(), first, "{time}");
    }
    let start = Some(LaneStart::At(START.plus_ms(DAY)));
    let enrolment = bikhook::journal::Enrolment { handler: "new".into(), start, dead_letters: false };
    world.journal.enrol(vec![enrolment]).await.unwrap();
    assert_eq!(world.journal.lane(lane("new", Class::Other)).await.unwrap().cursor, 1);
    let claim = world.journal.claim(Class::Other, 1, 10).await.unwrap();
    assert_eq!(seqs(&claim), [2, 3, 4]);
    let asked = NewReplay { handler: "new".into(), after: 1, upto: 4, filter: "{}".to_owned(), rate: None };
    world.journal.start_replay(asked).await.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Append,
    Pass(i64),
    /// The wall clock is set, and trusted if an operator accepts it.
    Set(i64, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Append),
        4 => (0..3 * DAY).prop_map(Step::Pass),
        3 => (-40 * DAY..40 * DAY, any::<bool>()).prop_map(|(ms, accepted)| Step::Set(ms, accepted)),
        1 => Just(Step::Restart),
    ]
}

/// Every seq that a query lists, oldest first.
async fn listed(journal: &Arc<dyn Journal>, since: Option<Timestamp>, until: Option<Timestamp>) -> Vec<u64> {
    let mut seqs = Vec::new();
    let mut query = EventQuery { since, until, limit: 3, ..EventQuery::default() };
    loop {
        let page = journal.events(query.clone()).await.unwrap();
        seqs.extend(page.events.iter().map(|event| event.seq));
        match page.next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    seqs.reverse();
    seqs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    /// A query by time returns the same events as a full scan, regardless of clock changes.
    #[test]
    fn bisection_by_eras_finds_what_a_simple_model_finds(
        steps in prop::collection::vec(step(), 1..40),
        times in prop::collection::vec(-60 * DAY..90 * DAY, 2),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let mut model: Vec<(u64, Timestamp)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append => {
                        let now = world.journal.clock().now();
                        let event = world.append(&format!("id-{number}")).await;
                        // An hour of agreement may have corrected the clock in between.
                        assert!([now, world.hands.wall()].contains(&event.came_at));
                        assert!(event.received_at >= event.came_at);
                        model.push((event.seq, event.received_at));
                    }
                    Step::Pass(ms) => world.hands.pass(ms),
                    Step::Set(ms, accepted) => {
                        world.hands.jump(ms);
                        if accepted {
                            world.journal.accept_clock().await.unwrap();
                            assert_eq!(world.journal.clock().now(), world.hands.wall());
                        }
                    }
                    Step::Restart => world.restart().await,
                }
            }
            let edges: Vec<Timestamp> = times.iter().map(|ms| START.plus_ms(*ms)).chain(model.last().map(|(_, at)| *at)).collect();
            for since in edges.iter().copied().map(Some).chain([None]) {
                for until in edges.iter().copied().map(Some).chain([None]) {
                    let expected: Vec<u64> = model
                        .iter()
                        .filter(|(_, at)| since.is_none_or(|since| *at >= since) && until.is_none_or(|until| *at < until))
                        .map(|(seq, _)| *seq)
                        .collect();
                    assert_eq!(listed(&world.journal, since, until).await, expected, "{since:?} {until:?} {model:?}");
                }
            }
            for time in edges {
                let first = model.iter().find(|(_, at)| *at >= time).map(|(seq, _)| *seq);
                assert_eq!(world.journal.received_from(time).await.unwrap(), first);
            }
            world.journal.close().await.unwrap();
        });
    }
}
