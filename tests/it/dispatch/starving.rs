//! Events that always fail do not block others: not in a small window, not among set-aside events, not after a restart.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Everything except these was accepted, and none of these is lost.
async fn all_but(world: &mut World, lane: &mut Lane, bad: &[u64], all: u64) {
    let mut taken = world.script.taken();
    taken.sort_unstable();
    let expected: Vec<u64> = (1..=all).filter(|seq| !bad.contains(seq)).collect();
    assert_eq!(taken, expected, "{:?} {:?}", world.state(Class::Other).await, world.dead().await);
    world.script.now(|_| Ok(()));
    world.turn_for(lane, HOUR * 2).await;
    let mut ended = world.script.taken();
    ended.extend(world.dead().await.into_iter().map(|(seq, _)| seq));
    ended.sort_unstable();
    assert_eq!(ended, (1..=all).collect::<Vec<_>>());
}

#[tokio::test]
async fn failing_messages_at_the_head_do_not_look_like_a_destination_away() {
    // As `http` is: one event a call, eight calls at once. The numbers include as many as a probe tries, and more than
    // the window holds.
    for bad in [4, 5, 33, 60] {
        let bad: Vec<u64> = (1..=bad).collect();
        let mut world = World::new(Script::new(failing(&bad, retry))).await;
        (world.batch, world.concurrency) = (1, 8);
        world.append(statuses(0..200)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, DAY * 2).await;
        all_but(&mut world, &mut lane, &bad, 200).await;
    }
}

#[tokio::test]
async fn a_lane_of_one_event_at_a_time_looks_past_what_always_fails() {
    // As `exec` is. A second event of the bad message, or a second bad one, fills the window.
    let message = |n: u64, message: &str| status(&format!("id-{n}"), message, "sent");
    for (raws, bad) in [
        (vec![message(1, "x"), message(2, "x"), message(3, "a"), message(4, "b")], vec![1]),
        (vec![message(1, "x"), message(2, "y"), message(3, "a"), message(4, "b")], vec![1, 2]),
    ] {
        let mut world = World::new(Script::new(failing(&bad, retry))).await;
        world.batch = 1;
        world.append(raws).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, HOUR * 4).await;
        assert_eq!(world.script.taken(), [3, 4], "{bad:?} fail");
        world.script.now(|_| Ok(()));
        world.turn_for(&mut lane, HOUR * 4).await;
        assert_eq!(world.script.taken().len(), 4, "{bad:?} failed");
    }
}

#[tokio::test]
async fn a_destination_that_is_away_does_not_fill_the_memory() {
    let mut world = World::new(Script::new(|_| Err(retry()))).await;
    world.batch = 1;
    world.append(statuses(0..2_000)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, DAY * 5).await;
    let looked_at = world.script.calls().iter().flatten().max().copied().unwrap();
    assert!((500..=1_100).contains(&looked_at), "it has looked as far as {looked_at}");
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.taken().len(), 2_000);
}

#[tokio::test]
async fn set_aside_events_are_tried_at_their_bound_in_a_window_of_bad_ones() {
    let mut world = World::new(Script::new(failing(&[1, 2, 3, 4, 5, 6], retry))).await;
    (world.batch, world.settings.aside_limit) = (1, 2);
    world.append(statuses(0..12)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR * 4).await;
    assert_eq!(world.state(Class::Other).await.aside.len(), 2);
    // These two are finally accepted, so there is room again.
    let aside: Vec<u64> = world.state(Class::Other).await.aside.iter().map(|row| row.seq).collect();
    let still: Vec<u64> = (1..=6).filter(|seq| !aside.contains(seq)).take(2).collect();
    world.script.now(failing(&still, retry));
    world.turn_for(&mut lane, HOUR * 12).await;
    all_but(&mut world, &mut lane, &still, 12).await;
}

#[tokio::test]
async fn set_aside_events_that_always_fail_leave_those_behind_them_their_turn() {
    let mut world = World::new(Script::new(failing(&[1, 2, 3], retry))).await;
    (world.settings.aside_first, world.settings.aside_max) = (Period(Duration::ZERO), Period(Duration::ZERO));
    let alone = |seq| Aside { order_key: None, ..set_aside(seq, false, Timestamp::default()) };
    world.with_set_aside((1..=4).map(alone).collect(), 0).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_times(&mut lane, 20).await;
    assert_eq!(world.script.taken(), [4]);
}

#[tokio::test]
async fn a_retried_dead_letter_has_its_turn_beside_due_set_aside_events() {
    let decide = |events: &[Delivery]| Err(if events[0].event.seq == 3 { refuse() } else { retry() });
    let mut world = World::new(Script::new(decide)).await;
    (world.settings.aside_first, world.settings.aside_max) = (Period(Duration::ZERO), Period(Duration::ZERO));
    let alone = |seq| Aside { order_key: None, ..set_aside(seq, false, Timestamp::default()) };
    world.with_set_aside(vec![alone(1), alone(2)], 1).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_times(&mut lane, 20).await;
    assert_eq!(world.dead().await, [(3, Cause::Refused)]);
    world.script.now(failing(&[1, 2], retry));
    world.retry_all().await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_times(&mut lane, 20).await;
    assert_eq!(world.script.taken(), [3]);
}

/// The cursor waits for an earlier event; the first of a message was delivered after it had been set aside, the second
/// still is. A restart claims the first again: it must not be delivered after the second.
#[tokio::test]
async fn events_claimed_again_come_before_set_aside_ones_of_their_message() {
    let mut world = World::new(Script::well()).await;
    world
        .append([status("1", "a", "sent"), status("2", "m-aside", "sent"), status("3", "m-aside", "read")])
        .await;
    let later = world.now.plus_ms(60_000);
    let ends = Ends { set_aside: vec![set_aside(3, false, later)], ..Ends::default() };
    world.journal.settle(lane("crm", Class::Other), ends).await.unwrap();
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR * 2).await;
    let of_message: Vec<u64> = world.script.taken().into_iter().filter(|seq| *seq > 1).collect();
    assert_eq!(of_message, [2, 3]);
    let state = world.state(Class::Other).await;
    assert_eq!((state.cursor, state.aside), (3, vec![]));
}

/// A destination that takes different times for events, so that one delivery is always in flight.
struct Staggered {
    script: Arc<Script>,
    under_way: Mutex<u32>,
}

impl Handler for Staggered {
    fn deliver<'a>(
        &'a self,
        events: &'a [Delivery],
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
        Box::pin(async move {
            *self.under_way.lock().unwrap() += 1;
            for _ in 0..3 * (events[0].event.seq % 7) {
                tokio::task::yield_now().await;
            }
            // The last of them waits for the next.
            while events[0].event.seq > 1 && *self.under_way.lock().unwrap() < 2 {
                tokio::task::yield_now().await;
            }
            *self.under_way.lock().unwrap() -= 1;
            self.script.deliver(events).await
        })
    }
}

#[tokio::test]
async fn an_event_that_fails_beside_deliveries_in_flight_is_set_aside() {
    let mut world = World::new(Script::new(failing(&[1], retry))).await;
    (world.batch, world.concurrency) = (1, 8);
    world.append(statuses(0..5_000)).await;
    let mut context = world.context(&Arc::new(Semaphore::new(8)));
    context.spec.handler =
        Arc::new(Staggered { script: Arc::clone(&world.script), under_way: Mutex::default() });
    let id = LaneId::live("crm".into(), Class::Other);
    let mut lane = Lane::restore(id, Arc::new(context), None).await.unwrap();
    while world.script.taken().len() < 4_000 {
        if lane.turn(world.now).await.unwrap() != Turn::Moved {
            lane.delivery_ended().await;
        }
        world.now = world.now.plus_ms(20);
    }
    let state = world.state(Class::Other).await;
    assert_eq!(state.aside.iter().map(|row| row.seq).collect::<Vec<_>>(), [1]);
    assert!(state.cursor > 3_000, "{}", state.cursor);
}

#[tokio::test]
async fn bad_events_at_the_head_of_a_long_backlog_are_set_aside_soon() {
    for (batch, bad) in [(1, 4), (50, 10)] {
        let bad: Vec<u64> = (1..=bad).collect();
        let mut world = World::new(Script::new(failing(&bad, retry))).await;
        world.batch = batch;
        world.append(statuses(0..3_000)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, Duration::from_secs(600)).await;
        let aside: Vec<u64> = world.state(Class::Other).await.aside.iter().map(|row| row.seq).collect();
        assert_eq!((world.script.taken().len(), aside), (3_000 - bad.len(), bad), "batches of {batch}");
    }
}

/// As after a restart whose first claim ends before the set-aside event.
#[tokio::test]
async fn a_set_aside_event_waits_for_earlier_ones_of_its_message() {
    let mut world = World::new(Script::well()).await;
    world.batch = 1;
    world.append((0..40).map(|n| status(&format!("id-{n}"), &format!("m-{n}"), "sent"))).await;
    world.append([status("2", "m-aside", "sent"), status("3", "m-aside", "read")]).await;
    let ends = Ends { set_aside: vec![set_aside(42, false, world.now)], ..Ends::default() };
    world.journal.settle(lane("crm", Class::Other), ends).await.unwrap();
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR * 2).await;
    let of_message: Vec<u64> = world.script.taken().into_iter().filter(|seq| *seq > 40).collect();
    assert_eq!(of_message, [41, 42]);
}

#[tokio::test]
async fn a_set_aside_event_waits_as_long_as_the_destination_asks() {
    let asks = || Failure::Retry {
        class: "status 503".to_owned(),
        error: "later".into(),
        after: Some(HOUR),
        about: About::Event,
    };
    let mut world = World::new(Script::new(failing(&[1], asks))).await;
    // Less than the destination asks for.
    world.settings.aside_max = Period(Duration::from_secs(10));
    let alone = Aside { order_key: None, ..set_aside(1, false, Timestamp::default()) };
    world.with_set_aside(vec![alone], 2).await;
    let mut lane = world.lane(Class::Other).await;
    let attempts = |world: &World| world.script.calls().iter().filter(|seqs| seqs.contains(&1)).count();
    let turns = tokio::time::timeout(SECOND * 20, world.turn_for(&mut lane, SECOND));
    turns.await.expect("it rests");
    assert_eq!(attempts(&world), 1);
    world.turn_for(&mut lane, HOUR - SECOND * 10).await;
    assert_eq!(attempts(&world), 1, "no attempt within the hour that the destination asks for");
    world.turn_for(&mut lane, SECOND * 20).await;
    assert_eq!(attempts(&world), 2);
}

#[tokio::test]
async fn a_set_aside_event_keeps_a_part_of_long_errors() {
    let page = || Failure::retry_about(About::Event, "status 500", "x".repeat(20_000));
    let mut world = World::new(Script::new(failing(&[1], page))).await;
    // A row of an earlier version.
    let history = serde_json::json!([[1, 0, "y".repeat(20_000)]]).to_string();
    let alone =
        Aside { order_key: None, error: "y".repeat(20_000), ..set_aside(1, false, Timestamp::default()) };
    world.with_set_aside(vec![alone], 2).await;
    world.journal.close().await.unwrap();
    let file = rusqlite::Connection::open(world.place.path()).unwrap();
    file.execute("UPDATE aside SET history = ?1", [history]).unwrap();
    drop(file);
    world.journal = world.place.open();
    world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    for attempts in [3, 4] {
        let mut lane = world.lane(Class::Other).await;
        if attempts == 4 {
            world.turn_for(&mut lane, SECOND).await;
        }
        let state = world.state(Class::Other).await;
        let [row] = state.aside.as_slice() else { panic!("{state:?}") };
        assert_eq!(row.attempts, attempts);
        assert_eq!(row.error.chars().count(), ASIDE_ERROR_CHARS + 1, "with the mark of a cut text");
        let tries = row.history.tries();
        assert!(!tries.is_empty() && tries.iter().all(|one| one.error.chars().count() == 101), "{tries:?}");
    }
}

#[tokio::test]
async fn a_set_aside_event_that_cannot_be_read_keeps_nothing_else_back() {
    let mut world = World::new(Script::well()).await;
    let alone = |seq| Aside { order_key: None, ..set_aside(seq, false, Timestamp::default()) };
    // Less than the wait for an unreadable row.
    world.settings.aside_max = Period(Duration::from_secs(10));
    world.with_set_aside(vec![alone(1), alone(2)], 3).await;
    world.journal.close().await.unwrap();
    let path = world.place.path();
    let write = |raw: &[u8]| {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute("UPDATE event SET raw = ?1 WHERE seq = 1", [raw]).unwrap();
    };
    write(b"{");
    world.journal = world.place.open();
    world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let mut lane = world.lane(Class::Other).await;
    let turns = tokio::time::timeout(SECOND * 20, world.turn_for(&mut lane, SECOND));
    turns.await.expect("it rests");
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, [2, 3, 4, 5]);
    assert_eq!(shown(&lane).last_failure.as_deref(), Some("unreadable"));
    write(status("aside-0", "m-aside", "sent").as_bytes());
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.taken().last(), Some(&1), "it is tried again once it can be");
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_read_keeps_nothing_else_back() {
    let mut world = World::new(Script::new(failing(&[1, 2], refuse))).await;
    world.append(statuses(0..3)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.retry_all().await.len(), 2);
    world.journal.close().await.unwrap();
    let file = rusqlite::Connection::open(world.place.path()).unwrap();
    file.execute("UPDATE dead SET raw = x'7b' WHERE seq = 1", []).unwrap();
    drop(file);
    world.journal = world.place.open();
    world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    world.script.now(|_| Ok(()));
    world.append(statuses(3..5)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, [2, 3, 4, 5]);
}
