//! Replays: stored events are delivered again, at a rate of their own, without delaying new events.

use bikhook::{
    dispatch::{LaneCondition, ReplayPart},
    journal::{NewReplay, ReplayState},
};

use tokio::sync::watch;

use super::*;
use crate::handlers::until;

impl World {
    fn asks(after: u64, upto: u64) -> NewReplay {
        NewReplay { handler: "crm".into(), after, upto, filter: "{}".to_owned(), rate: None }
    }

    /// A lane of a replay; `live` is the state of the handler's own lanes.
    async fn replay_lane(&self, id: i64, class: Class, upto: u64, live: LaneStatus) -> Lane {
        self.replay_lane_beside(id, class, upto, watch::Sender::new(live).subscribe()).await
    }

    async fn replay_lane_beside(
        &self,
        id: i64,
        class: Class,
        upto: u64,
        live: watch::Receiver<LaneStatus>,
    ) -> Lane {
        let replay = ReplayPart::new(upto, Filter::default(), vec![live]);
        let context = Arc::new(self.context(&Arc::new(Semaphore::new(self.concurrency))));
        let id = LaneId { replay: Some(id), ..LaneId::live("crm".into(), class) };
        Lane::restore(id, context, Some(replay)).await.unwrap()
    }

    async fn delivered_live(&mut self) {
        let mut lane = self.lane(Class::Other).await;
        self.turn_for(&mut lane, SECOND).await;
        self.script.taken.lock().unwrap().clear();
    }
}

/// A lane that has passed all stored events.
fn well() -> LaneStatus {
    LaneStatus { cursor: u64::MAX, ..LaneStatus::new("crm".into(), "script", Class::Other) }
}

#[tokio::test]
async fn a_replay_delivers_its_part_again_marked_as_replay_and_ends() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..250)).await;
    world.delivered_live().await;
    let id = world.journal.start_replay(World::asks(100, 200)).await.unwrap();
    world.append(statuses(250..300)).await;
    let mut lane = world.replay_lane(id, Class::Other, 200, well()).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.script.taken(), (101..=200).collect::<Vec<_>>());
    assert!(world.script.taken.lock().unwrap().iter().all(|delivery| delivery.replay));
    assert_eq!(lane.turn(world.now).await.unwrap(), Turn::Ended);
    assert!(world.journal.change_replay(id, ReplayState::Done).await.unwrap());
    assert!(!world.journal.change_replay(id, ReplayState::Paused).await.unwrap(), "it has ended");
    assert_eq!(world.state(Class::Other).await.cursor, 250, "the handler's own cursor stays where it was");
}

#[tokio::test]
async fn a_replay_continues_after_a_restart_where_it_was() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..300)).await;
    world.delivered_live().await;
    world.batch = 50;
    let id = world.journal.start_replay(World::asks(0, 300)).await.unwrap();
    let mut lane = world.replay_lane(id, Class::Other, 300, well()).await;
    while world.script.taken().len() < 100 {
        lane.turn(world.now).await.unwrap();
        lane.delivery_ended().await;
    }
    lane.turn(world.now).await.unwrap();
    let before = world.script.taken().len();
    drop(lane);
    world.journal.close().await.unwrap();
    world.journal = world.place.open();
    world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let replays = Arc::clone(&world.journal.replays().borrow());
    assert_eq!(replays[&id].state, ReplayState::Running);
    let mut lane = world.replay_lane(id, Class::Other, 300, well()).await;
    world.turn_for(&mut lane, SECOND).await;
    let taken: HashSet<u64> = world.script.taken().into_iter().collect();
    assert_eq!(taken.len(), 300);
    assert!(world.script.taken().len() < 300 + before, "it began from the beginning");
}

#[tokio::test]
async fn a_paused_replay_delivers_nothing_and_a_cancelled_one_ends() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    world.delivered_live().await;
    let id = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    assert!(world.journal.change_replay(id, ReplayState::Paused).await.unwrap());
    assert!(!world.journal.change_replay(id, ReplayState::Paused).await.unwrap(), "it is so already");
    let mut lane = world.replay_lane(id, Class::Other, 10, well()).await;
    assert_eq!(world.turn_for(&mut lane, HOUR).await, None);
    assert_eq!(shown(&lane).state, LaneCondition::Paused);
    assert!(world.script.taken().is_empty());
    assert!(world.journal.change_replay(id, ReplayState::Cancelled).await.unwrap());
    assert_eq!(lane.turn(world.now).await.unwrap(), Turn::Ended);
    assert!(world.script.taken().is_empty());
    let settled = world.journal.settle(
        LaneId { handler: "crm".into(), class: Class::Other, replay: Some(id) },
        Ends { cursor: Some(5), ..Ends::default() },
    );
    assert!(settled.await.is_err(), "its lanes are gone");
}

#[tokio::test]
async fn a_replay_yields_while_its_handler_is_behind_or_unwell() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    world.delivered_live().await;
    let id = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    let behind = LaneStatus { lag: 50_000, ..well() };
    let unwell = LaneStatus { state: LaneCondition::Waiting, ..well() };
    for live in [behind, unwell] {
        let mut lane = world.replay_lane(id, Class::Other, 10, live).await;
        assert!(world.turn_for(&mut lane, SECOND).await.is_some(), "it looks again");
        assert!(world.script.taken().is_empty());
    }
}

#[tokio::test]
async fn an_event_that_is_dead_already_stays_one_dead_letter_after_a_replay() {
    let mut world = World::new(Script::new(failing(&[3], refuse))).await;
    world.append(statuses(0..10)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.dead().await, [(3, Cause::Refused)]);
    let id = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    let mut replay = world.replay_lane(id, Class::Other, 10, well()).await;
    world.turn_for(&mut replay, SECOND).await;
    assert_eq!(world.dead().await, [(3, Cause::Refused)], "it is dead already");
    world.script.now(|_| Ok(()));
    world.journal.change_replay(id, ReplayState::Done).await.unwrap();
    world.retry_all().await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert!(world.dead().await.is_empty(), "it is retried through the handler's own lane");
}

#[tokio::test]
async fn a_replay_uses_the_places_that_live_lanes_leave() {
    let mut world = World::new(Script::well()).await;
    (world.concurrency, world.batch) = (8, 1);
    world.append(statuses(0..200)).await;
    let id = world.journal.start_replay(World::asks(0, 200)).await.unwrap();
    let live = watch::Sender::new(well());
    let replay = ReplayPart::new(200, Filter::default(), vec![live.subscribe()]);
    let slots = Arc::new(Semaphore::new(0));
    let context = Arc::new(world.context(&slots));
    let id = LaneId { replay: Some(id), ..LaneId::live("crm".into(), Class::Other) };
    let mut lane = Lane::restore(id, context, Some(replay)).await.unwrap();
    let mut in_flight = Vec::new();
    for of_live in [0, 0, 0, 5, 8] {
        live.send_modify(|live| live.in_flight = of_live);
        while lane.turn(world.now).await.unwrap() == Turn::Moved {}
        in_flight.push(shown(&lane).in_flight);
        slots.add_permits(8);
        while lane.delivery_ended().await {}
        slots.forget_permits(8);
    }
    assert_eq!(in_flight, [7, 7, 8, 3, 1], "one place is lent while deliveries are quick");
}

/// In each round, everything in flight ends, as if each delivery took the same time.
async fn rounds(world: &mut World, lane: &mut Lane, slots: &Semaphore, events: u64) -> u32 {
    let mut rounds = 0;
    while shown(lane).delivered < events {
        while lane.turn(world.now).await.unwrap() == Turn::Moved {}
        slots.add_permits(8);
        while lane.delivery_ended().await {}
        slots.forget_permits(8);
        lane.turn(world.now).await.unwrap();
        world.now = world.now.plus_ms(20);
        rounds += 1;
    }
    rounds
}

#[tokio::test]
async fn a_replay_is_as_fast_as_the_handlers_own_lane() {
    let mut world = World::new(Script::well()).await;
    (world.concurrency, world.batch) = (8, 1);
    world.append(statuses(0..800)).await;
    let slots = Arc::new(Semaphore::new(0));
    let mut own = world.lane_with(Class::Other, &slots).await;
    let of_own = rounds(&mut world, &mut own, &slots, 800).await;
    let id = world.journal.start_replay(World::asks(0, 800)).await.unwrap();
    let context = Arc::new(world.context(&slots));
    let id = LaneId { replay: Some(id), ..LaneId::live("crm".into(), Class::Other) };
    let replay = ReplayPart::new(800, Filter::default(), vec![own.status()]);
    let mut lane = Lane::restore(id, context, Some(replay)).await.unwrap();
    let of_replay = rounds(&mut world, &mut lane, &slots, 800).await;
    println!("800 events, eight at once: own lane {of_own} rounds, replay {of_replay} rounds");
    assert!(of_own * 10 >= of_replay * 8, "{of_own} and {of_replay}");
}

#[tokio::test]
async fn a_replay_tells_how_far_it_is_in_events() {
    let world = World::new(Script::well()).await;
    world.append(statuses(0..30)).await;
    world.append([incoming("in", "m")]).await;
    let slots = Arc::new(Semaphore::new(1));
    let context = Arc::new(world.context(&slots));
    let handler = bikhook::dispatch::ReplayHandler { context, live: Vec::new() };
    let replayer = Arc::new(bikhook::dispatch::Replayer::new(Arc::clone(&world.journal), vec![handler]));
    let filter = r#"{"statuses":["sent"]}"#.to_owned();
    let asked = NewReplay { filter, ..World::asks(10, 31) };
    let id = world.journal.start_replay(asked).await.unwrap();
    assert_eq!(replayer.progress(id), None);
    let (stop, stopped) = watch::channel(false);
    let works = Arc::clone(&replayer).run(stopped, SECOND);
    let ends = async {
        let whole = bikhook::dispatch::ReplayProgress { done: 20, events: 20 };
        until(async || replayer.progress(id) == Some(whole)).await;
        stop.send_replace(true);
    };
    tokio::join!(works, ends);
}

#[tokio::test]
async fn a_replay_with_an_invalid_filter_waits_until_it_is_cancelled() {
    let world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    let context = Arc::new(world.context(&Arc::new(Semaphore::new(1))));
    let handler = bikhook::dispatch::ReplayHandler { context, live: Vec::new() };
    let replayer = Arc::new(bikhook::dispatch::Replayer::new(Arc::clone(&world.journal), vec![handler]));
    let invalid = NewReplay { filter: r#"{"events":["[a"]}"#.to_owned(), ..World::asks(0, 10) };
    assert_eq!(replayer.would_wait(&invalid), None);
    let first = world.journal.start_replay(invalid).await.unwrap();
    let second = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    let replay = |id: i64| world.journal.replays().borrow()[&id].clone();
    let waits = |id: i64| replayer.waits(id, &replay(id)).map(|waits| waits.to_string());
    let (stop, stopped) = watch::channel(false);
    let works = Arc::clone(&replayer).run(stopped, SECOND);
    let ends = async {
        until(async || waits(first).as_deref() == Some("its filter is invalid; cancel the replay")).await;
        let goes_first = format!("replay {first} to handler crm goes first");
        assert_eq!(waits(second).unwrap(), goes_first);
        assert_eq!(replayer.would_wait(&World::asks(0, 10)).unwrap().to_string(), goes_first);
        world.journal.change_replay(first, ReplayState::Cancelled).await.unwrap();
        until(async || replay(second).state == ReplayState::Done).await;
        stop.send_replace(true);
    };
    tokio::join!(works, ends);
    assert_eq!(world.script.taken(), (1..=10).collect::<Vec<_>>());
}

/// No other event of the replay can succeed. The deliveries of the handler's own lanes show that the event is the
/// cause.
#[tokio::test]
async fn a_replay_whose_last_event_always_fails_ends_with_a_dead_letter() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    world.delivered_live().await;
    world.script.now(failing(&[3], retry));
    let id = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    let live = watch::Sender::new(well());
    let mut lane = world.replay_lane_beside(id, Class::Other, 10, live.subscribe()).await;
    for _ in 0..200 {
        live.send_modify(|lane| lane.delivered_at = Some(world.now));
        world.turn_for(&mut lane, HOUR).await;
    }
    assert_eq!(lane.turn(world.now).await.unwrap(), Turn::Ended);
    assert_eq!(world.dead().await, [(3, Cause::Expired)]);
}

#[tokio::test]
async fn a_replay_delivers_nothing_before_the_handlers_own_lane_has_passed_it() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    let id = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    let live = watch::Sender::new(LaneStatus { cursor: 4, lag: 6, ..well() });
    let mut lane = world.replay_lane_beside(id, Class::Other, 10, live.subscribe()).await;
    assert!(world.turn_for(&mut lane, HOUR).await.is_some(), "it looks again");
    assert_eq!(world.script.taken(), [1, 2, 3, 4]);
    live.send_modify(|live| live.cursor = 10);
    assert_eq!(world.turn_for(&mut lane, HOUR).await, None);
    assert_eq!(world.script.taken(), (1..=10).collect::<Vec<_>>());
    assert_eq!(lane.turn(world.now).await.unwrap(), Turn::Ended);
}

/// The handler's own lane delivers it and the later events of its message. A replay would deliver them too early.
#[tokio::test]
async fn a_replay_passes_over_what_the_handlers_own_lane_has_set_aside() {
    let mut world = World::new(Script::new(failing(&[2], retry))).await;
    let message = |n: u64, message: &str| status(&format!("id-{n}"), message, "sent");
    world.append([message(1, "a"), message(2, "x"), message(3, "b"), message(4, "x"), message(5, "c")]).await;
    let mut own = world.lane(Class::Other).await;
    world.turn_for(&mut own, Duration::from_secs(60)).await;
    assert_eq!((world.script.taken(), shown(&own).set_aside), (vec![1, 3, 5], 2));
    world.script.now(|_| Ok(()));
    let id = world.journal.start_replay(World::asks(0, 5)).await.unwrap();
    let mut replay = world.replay_lane_beside(id, Class::Other, 5, own.status()).await;
    assert_eq!(world.turn_for(&mut replay, SECOND).await, None);
    assert_eq!(world.script.taken(), [1, 3, 5, 1, 3, 5]);
    world.turn_for(&mut own, HOUR).await;
    assert_eq!(world.script.taken(), [1, 3, 5, 1, 3, 5, 2, 4]);
}

#[tokio::test]
async fn an_event_that_dies_in_a_replay_and_in_its_lane_is_one_dead_letter() {
    let mut world = World::new(Script::new(failing(&[3], refuse))).await;
    world.append(statuses(0..10)).await;
    let id = world.journal.start_replay(World::asks(0, 10)).await.unwrap();
    let mut replay = world.replay_lane(id, Class::Other, 10, well()).await;
    world.turn_for(&mut replay, SECOND).await;
    assert_eq!(world.dead().await, [(3, Cause::Refused)]);
    // As after a crash: the stored cursor is lower than the one that the lane had reached.
    let mut own = world.lane(Class::Other).await;
    world.turn_for(&mut own, SECOND).await;
    assert_eq!(world.dead().await, [(3, Cause::Refused)]);
    assert_eq!(world.state(Class::Other).await.cursor, 10);
}

#[tokio::test]
async fn retention_waits_for_a_replay_and_not_for_one_that_has_ended() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    world.delivered_live().await;
    let mut incoming = world.lane(Class::Incoming).await;
    world.turn_for(&mut incoming, SECOND).await;
    let id = world.journal.start_replay(World::asks(4, 10)).await.unwrap();
    world.journal.close().await.unwrap();
    world.place.settings.retention = Period(Duration::ZERO);
    world.journal = world.place.open();
    world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let first = async |world: &World| world.journal.figures().await.unwrap().span.map(|(first, _)| first);
    until(async || first(&world).await == Some(5)).await;
    world.journal.change_replay(id, ReplayState::Cancelled).await.unwrap();
    until(async || first(&world).await.is_none()).await;
}
