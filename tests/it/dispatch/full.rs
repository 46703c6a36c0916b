//! A lane with the maximum number of events set aside still delivers others, and gets room again.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn bad_events() -> Failure {
    Failure::retry_about(About::Event, "status 500", "it fails over this one")
}

/// A lane with five of five events set aside. A hundred events are stored at once, and `more` arrive one by one.
async fn full(failure: fn() -> Failure, more: u64) -> (World, Lane) {
    let mut world = World::new(Script::new(failing(&[1, 2, 3, 4, 5], failure))).await;
    (world.batch, world.concurrency, world.settings.aside_limit) = (1, 8, 5);
    world.append(statuses(0..100)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR).await;
    for n in 100..100 + more {
        world.append(statuses(n..n + 1)).await;
        world.turn_for(&mut lane, SECOND * 120).await;
    }
    assert_eq!(shown(&lane).set_aside, 5);
    (world, lane)
}

#[tokio::test]
async fn a_full_lane_continues_with_events_that_the_destination_accepts() {
    let (mut world, mut lane) = full(bad_events, 0).await;
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, (6..=100).collect::<Vec<_>>());
    assert_eq!((world.state(Class::Other).await.cursor, shown(&lane).state), (100, LaneCondition::Full));
    world.append(statuses(100..150)).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.script.taken().len(), 145);
}

#[tokio::test]
async fn events_set_aside_die_in_their_time_also_in_a_full_lane() {
    // An answer about the event shows that the destination is reachable. After a timeout, only the success of other
    // events shows it.
    for (failure, comes_more) in [(bad_events as fn() -> Failure, false), (retry, true)] {
        // Later events show whether a timeout is about the event or about an unreachable destination.
        let more = if comes_more { 40 } else { 0 };
        let (mut world, mut lane) = full(failure, more).await;
        for n in 0..4 {
            if comes_more {
                for hour in 0..24 {
                    let n = 100 + more + n * 24 + hour;
                    world.append(statuses(n..n + 1)).await;
                    world.turn_for(&mut lane, HOUR).await;
                }
            } else {
                world.turn_for(&mut lane, DAY).await;
            }
        }
        let mut dead: Vec<u64> = world.dead().await.into_iter().map(|(seq, _)| seq).collect();
        dead.sort_unstable();
        assert_eq!(dead, [1, 2, 3, 4, 5]);
        assert_eq!((shown(&lane).set_aside, shown(&lane).state), (0, LaneCondition::Running));
    }
}

/// An event that cannot be set aside for lack of room stays in the window, and so do the later events of its message.
#[tokio::test]
async fn a_full_lane_keeps_the_order_of_messages_and_finds_room_again() {
    let (mut world, mut lane) = full(bad_events, 0).await;
    let message = |n: u64, message: &str| status(&format!("more-{n}"), message, "sent");
    // 101 is of a message that is set aside; 102 and 103 fail, and so 104 of the message of 103 waits.
    world.script.now(failing(&[1, 2, 3, 4, 5, 102, 103], bad_events));
    world
        .append([message(1, "m-0"), message(2, "y"), message(3, "z"), message(4, "z"), message(5, "w")])
        .await;
    world.turn_for(&mut lane, HOUR).await;
    let taken: Vec<u64> = world.script.taken().into_iter().filter(|seq| *seq > 100).collect();
    assert_eq!(taken, [105]);
    assert_eq!(world.state(Class::Other).await.cursor, 100, "it stands before what has no room");
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR * 2).await;
    let taken = world.script.taken();
    assert_eq!(taken.len(), 105);
    let place = |seq: u64| taken.iter().position(|taken| *taken == seq).unwrap();
    assert!(place(1) < place(101) && place(103) < place(104), "{taken:?}");
    assert_eq!((world.state(Class::Other).await.cursor, shown(&lane).set_aside), (105, 0));
}

#[tokio::test]
async fn a_later_event_does_not_overtake_one_that_waits_for_room() {
    let (mut world, mut lane) = full(bad_events, 0).await;
    let of_first = |n: u64| status(&format!("more-{n}"), "m-0", "sent");
    // 101 is of the message of 1, and there is no room to set it aside.
    world.append([of_first(1)]).await;
    world.turn_for(&mut lane, SECOND).await;
    // 5 leaves room, before 102 of the same message comes.
    world.script.now(failing(&[1, 2, 3, 4], bad_events));
    world.turn_for(&mut lane, HOUR * 2).await;
    assert!(world.script.taken().contains(&5));
    world.append([of_first(2)]).await;
    world.turn_for(&mut lane, SECOND).await;
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR * 2).await;
    let of_message: Vec<u64> =
        world.script.taken().into_iter().filter(|seq| [1, 101, 102].contains(seq)).collect();
    assert_eq!(of_message, [1, 101, 102]);
    assert_eq!((world.state(Class::Other).await.cursor, shown(&lane).set_aside), (102, 0));
}

/// A cursor that stayed before them would make a restart deliver everything after it again.
#[tokio::test]
async fn the_cursor_passes_events_that_waited_for_room_in_a_full_lane() {
    let (mut world, mut lane) = full(bad_events, 0).await;
    let of_first = |n: u64| status(&format!("more-{n}"), "m-0", "sent");
    // 101 and 102 are of the message of 1, and there is no room to set them aside.
    world.append([of_first(1), of_first(2)]).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.state(Class::Other).await.cursor, 100);
    // 5 leaves room for one of them.
    world.script.now(failing(&[1, 2, 3, 4], bad_events));
    world.turn_for(&mut lane, HOUR * 2).await;
    assert_eq!((world.state(Class::Other).await.cursor, shown(&lane).set_aside), (101, 5));
    world.append([of_first(3)]).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.state(Class::Other).await.cursor, 101, "102 and 103 have no room");
    // 2, 3 and 4 leave room for the others, while 1 still fails.
    world.script.now(failing(&[1], bad_events));
    world.turn_for(&mut lane, HOUR * 2).await;
    assert_eq!((world.state(Class::Other).await.cursor, shown(&lane).set_aside), (103, 4));
    assert_eq!(shown(&lane).state, LaneCondition::Running);
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR * 2).await;
    let of_message: Vec<u64> =
        world.script.taken().into_iter().filter(|seq| [1, 101, 102, 103].contains(seq)).collect();
    assert_eq!(of_message, [1, 101, 102, 103]);
    assert_eq!((world.state(Class::Other).await.cursor, shown(&lane).set_aside), (103, 0));
}

impl World {
    /// The lane of a new process. The lane before it must be dropped.
    async fn restarted(&mut self) -> Lane {
        self.journal.close().await.unwrap();
        self.journal = self.place.open();
        self.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
        self.lane(Class::Other).await
    }

    async fn aside_and_dead(&self) -> (Vec<u64>, Vec<u64>) {
        let aside = self.state(Class::Other).await.aside.iter().map(|row| row.seq).collect();
        let mut dead: Vec<u64> = self.dead().await.into_iter().map(|(seq, _)| seq).collect();
        dead.sort_unstable();
        (aside, dead)
    }
}

/// The cursor stays before an event that has no room, and a restart delivers later events again.
#[tokio::test]
async fn a_restart_of_a_full_lane_repeats_a_bounded_number_of_events() {
    for failure in [bad_events as fn() -> Failure, retry] {
        let mut world = World::new(Script::new(failing(&[1, 2, 3, 4, 5], failure))).await;
        (world.concurrency, world.settings.aside_limit) = (8, 5);
        world.append(statuses(0..100)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, HOUR).await;
        assert_eq!(shown(&lane).set_aside, 5);
        world.script.now(failing(&[1, 2, 3, 4, 5, 101], failure));
        world.append(statuses(100..12_000)).await;
        world.turn_for(&mut lane, HOUR * 70).await;
        let before = world.script.taken().len();
        assert!(before > 10_000, "the lane stopped at {before}");
        assert_eq!(world.state(Class::Other).await.cursor, 100);
        drop(lane);
        let mut lane = world.restarted().await;
        world.turn_for(&mut lane, SECOND * 60).await;
        let again = world.script.taken().len() - before;
        // 10,000 events, and a probe every 5 minutes.
        assert!((1..=11_000).contains(&again), "{again} events were delivered again");
        // The events set aside die, and leave room.
        world.turn_for(&mut lane, DAY * 2).await;
        let taken: HashSet<u64> = world.script.taken().into_iter().collect();
        assert_eq!(taken.len(), 12_000 - 6);
        assert_eq!(world.aside_and_dead().await, (vec![101], vec![1, 2, 3, 4, 5]));
        assert_eq!(world.state(Class::Other).await.cursor, 12_000);
    }
}

#[tokio::test]
async fn events_set_aside_die_in_a_full_lane_that_gets_nothing_new() {
    let (mut world, mut lane) = full(bad_events, 0).await;
    world.script.now(failing(&[1, 2, 3, 4, 5, 101], bad_events));
    for n in [100, 101] {
        world.append(statuses(n..n + 1)).await;
        world.turn_for(&mut lane, SECOND).await;
    }
    world.turn_for(&mut lane, DAY * 4).await;
    assert_eq!(world.aside_and_dead().await, (vec![101], vec![1, 2, 3, 4, 5]));
    assert_eq!(world.state(Class::Other).await.cursor, 102);
}

/// Past the cursor, nothing but a dead letter tells a restart that its event is settled.
#[tokio::test]
async fn dead_letters_past_the_cursor_that_are_gone_do_not_come_back() {
    let (mut world, mut lane) = full(bad_events, 0).await;
    let decide = |refuses: bool| {
        move |events: &[Delivery]| match events[0].event.seq {
            1..=5 | 101 => Err(bad_events()),
            102 | 103 if refuses => Err(refuse()),
            _ => Ok(()),
        }
    };
    world.script.now(decide(true));
    world.append(statuses(100..110)).await;
    world.turn_for(&mut lane, SECOND * 60).await;
    let letters = world.letters().await;
    assert_eq!((letters.len(), world.state(Class::Other).await.cursor), (2, 100));
    let dropped = letters.iter().find(|letter| letter.event.seq == 102).unwrap().id;
    world.journal.drop_dead(vec![dropped], "ops".into()).await.unwrap();
    world.script.now(decide(false));
    assert_eq!(world.retry_all().await.len(), 1);
    world.turn_for(&mut lane, SECOND).await;
    assert!(world.dead().await.is_empty());
    drop(lane);
    let mut lane = world.restarted().await;
    world.turn_for(&mut lane, SECOND * 60).await;
    let taken = world.script.taken();
    let times = |seq: u64| taken.iter().filter(|taken| **taken == seq).count();
    assert_eq!([102, 103, 104].map(times), [0, 1, 2]);
    assert_eq!(world.state(Class::Other).await.cursor, 100);
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR * 2).await;
    assert_eq!(world.state(Class::Other).await.cursor, 110);
    world.journal.flush().await.unwrap();
    let file = rusqlite::Connection::open(world.place.path()).unwrap();
    let of_settled = "SELECT count(*) FROM mark WHERE name LIKE 'settled %'";
    let marks: u64 = file.query_row(of_settled, [], |row| row.get(0)).unwrap();
    assert_eq!(marks, 0, "the cursor has passed them");
}

/// In a replay whose last event fails, no other event can succeed. Until it ends, it delays retention and the replays
/// after it.
#[tokio::test]
async fn a_replay_ends_though_its_last_event_fails_and_nothing_new_comes() {
    for batch in [1, 100] {
        ends_though_its_last_event_fails(batch).await;
    }
}

async fn ends_though_its_last_event_fails(batch: usize) {
    let mut world = World::new(Script::well()).await;
    world.batch = batch;
    world.append(statuses(0..10)).await;
    let mut own = world.lane(Class::Other).await;
    world.turn_for(&mut own, SECOND).await;
    world.script.now(failing(&[10], bad_events));
    let asked = bikhook::journal::NewReplay {
        handler: "crm".into(),
        after: 0,
        upto: 10,
        filter: "{}".to_owned(),
        rate: None,
    };
    let id = world.journal.start_replay(asked).await.unwrap();
    let live = own.status();
    let context = Arc::new(world.context(&Arc::new(Semaphore::new(1))));
    let replay = bikhook::dispatch::ReplayPart::new(10, Filter::default(), vec![live]);
    let id = LaneId { replay: Some(id), ..LaneId::live("crm".into(), Class::Other) };
    let mut lane = Lane::restore(id, context, Some(replay)).await.unwrap();
    world.turn_for(&mut lane, DAY * 5).await;
    assert_eq!(lane.turn(world.now).await.unwrap(), Turn::Ended);
    assert_eq!(world.dead().await.len(), 1);
}
