//! Whether a failure is about the event or the destination: another message shows the cause.

use std::collections::BTreeMap;

use super::*;

/// A message each half second, the highest rate of BIK.
const EVERY: Duration = Duration::from_millis(500);

fn answered(class: &'static str) -> impl Fn() -> Failure + Copy {
    move || Failure::retry_about(About::Event, class, "it fails over this one")
}

/// Fails for these seqs with an answer about the event.
fn answering(
    seqs: impl IntoIterator<Item = u64>,
    failure: impl Fn() -> Failure + Send + Sync + 'static,
) -> impl Fn(&[Delivery]) -> Result<(), Failure> {
    let seqs: HashSet<u64> = seqs.into_iter().collect();
    move |events| {
        if events.iter().any(|delivery| seqs.contains(&delivery.event.seq)) { Err(failure()) } else { Ok(()) }
    }
}

impl World {
    /// As `http` is: one event a delivery, eight at once.
    async fn like_http(script: Arc<Script>) -> Self {
        let mut world = Self::new(script).await;
        (world.batch, world.concurrency) = (1, 8);
        world
    }

    async fn aside(&self) -> Vec<u64> {
        self.state(Class::Other).await.aside.iter().map(|row| row.seq).collect()
    }
}

#[tokio::test]
async fn two_bad_customers_of_300_delay_no_other_for_2_s() {
    for class in ["status 500", "status 404"] {
        let mut world = World::like_http(Script::new(answering([100, 200], answered(class)))).await;
        let mut lane = world.lane(Class::Other).await;
        let mut worst = 0;
        for n in 0..300 {
            world.append(statuses(n..n + 1)).await;
            let came = world.now;
            let taken = world.script.taken().len();
            let mut waited = 0;
            while ![100, 200].contains(&(n + 1)) && world.script.taken().len() == taken {
                world.turn_for(&mut lane, Duration::from_millis(10)).await;
                waited = world.now.ms_since(came);
                assert!(waited <= 2_000, "event {} waited {waited} ms", n + 1);
            }
            worst = worst.max(waited);
            let rest = EVERY.saturating_sub(Duration::from_millis(waited.unsigned_abs()));
            world.turn_for(&mut lane, rest).await;
        }
        println!("{class}: the worst delay of another customer's message was {worst} ms");
        assert_eq!(world.script.taken().len(), 298);
        assert_eq!(world.aside().await, [100, 200]);
    }
}

#[tokio::test]
async fn an_answer_about_one_event_is_judged_without_a_wait() {
    for (batch, concurrency) in [(1, 1), (1, 8), (50, 1), (50, 4)] {
        let mut world = World::new(Script::new(answering([1, 5], answered("status 500")))).await;
        (world.batch, world.concurrency) = (batch, concurrency);
        world.append(statuses(0..200)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, Duration::from_millis(1)).await;
        let taken = world.script.taken().len();
        assert_eq!(taken, 198, "batches of {batch}, {concurrency} at once: all others at once");
        world.append(statuses(200..201)).await;
        world.turn_for(&mut lane, SECOND * 2).await;
        assert_eq!(world.aside().await, [1, 5], "batches of {batch}, {concurrency} at once");
        assert_eq!(world.script.calls().iter().filter(|call| **call == [1]).count(), 3, "three tries");
    }
}

#[tokio::test]
async fn later_events_of_a_message_wait_for_the_one_that_failed() {
    let mut world = World::new(Script::new(answering([2], answered("status 500")))).await;
    let message = |n: u64, message: &str| status(&format!("id-{n}"), message, "sent");
    world.append([message(1, "a"), message(2, "x"), message(3, "x"), message(4, "b"), message(5, "x")]).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND * 5).await;
    assert_eq!(world.script.taken(), [1, 4]);
    world.script.now(|_| Ok(()));
    world.append([message(6, "c")]).await;
    world.turn_for(&mut lane, HOUR).await;
    let of_message: Vec<u64> =
        world.script.taken().into_iter().filter(|seq| [2, 3, 5].contains(seq)).collect();
    assert_eq!(of_message, [2, 3, 5]);
}

/// One message does not make the destination unwell: the next one is tried when it arrives.
#[tokio::test]
async fn an_event_that_fails_alone_delays_the_next_message_not_at_all() {
    let mut world = World::like_http(Script::new(answering([1], answered("status 500")))).await;
    world.append(statuses(0..1)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR * 10).await;
    let status = shown(&lane);
    assert_eq!(status.state, LaneCondition::Waiting);
    assert!(status.waits_for.clone().unwrap().contains("status 500"), "{:?}", status.waits_for);
    world.append(statuses(1..2)).await;
    world.turn_for(&mut lane, Duration::from_millis(20)).await;
    assert_eq!(world.script.taken(), [2]);
}

#[tokio::test]
async fn a_destination_that_fails_for_all_is_unwell_after_ten_messages() {
    let mut world = World::like_http(Script::new(|_| Err(answered("status 500")()))).await;
    world.append(statuses(0..5_000)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, Duration::from_millis(1)).await;
    assert!((10..=18).contains(&world.script.calls().len()), "{}", world.script.calls().len());
    assert_eq!(shown(&lane).failures, 1);
    world.turn_for(&mut lane, HOUR).await;
    assert!(world.script.calls().len() < 15_000, "a search is bounded: {}", world.script.calls().len());
    assert!(world.aside().await.is_empty() && world.dead().await.is_empty());
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.taken().len(), 5_000);
}

/// A third of the requests fail, whatever their events are.
#[tokio::test]
async fn a_destination_that_fails_now_and_then_fills_no_aside_limit() {
    let mut world = World::like_http(Script::well()).await;
    let dice = Mutex::new(7_u64);
    world.script.now(move |_| {
        let mut dice = dice.lock().unwrap();
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (*dice >> 33).is_multiple_of(3) { Err(answered("status 500")()) } else { Ok(()) }
    });
    world.settings.aside_limit = 100;
    let mut lane = world.lane(Class::Other).await;
    let mut most = 0;
    for n in 0..150 {
        world.append(statuses(n * 20..n * 20 + 20)).await;
        world.turn_for(&mut lane, SECOND * 2).await;
        most = most.max(shown(&lane).set_aside);
    }
    println!("at most {most} of 3,000 events were set aside at once");
    assert!(most < 30, "{most}");
    assert!(world.script.taken().len() > 2_950, "{}", world.script.taken().len());
    assert!(world.dead().await.is_empty());
}

#[tokio::test]
async fn poison_at_the_head_is_passed_without_an_operator() {
    // The number of refused events, and within how many seconds the following ones are delivered.
    for (bad, secs) in [(60, 60), (500, 300)] {
        let mut world = World::like_http(Script::new(answering(1..=bad, refuse))).await;
        world.append(statuses(0..bad + 20)).await;
        let mut lane = world.lane(Class::Other).await;
        let begun = world.now;
        while world.script.taken().len() < 20 {
            world.turn_for(&mut lane, SECOND).await;
            assert!(world.now.ms_since(begun) <= secs * 1_000, "{bad} bad: not within {secs} s");
        }
        println!("{bad} bad: the others were delivered after {} s", world.now.ms_since(begun) / 1_000);
        assert_eq!(world.script.taken(), (bad + 1..=bad + 20).collect::<Vec<_>>());
        assert!(world.dead().await.is_empty(), "what was refused is tried again before it is dead");
        world.turn_for(&mut lane, Duration::from_secs(60)).await;
        assert_eq!(world.dead().await.len() as u64, bad);
        let state = world.state(Class::Other).await;
        assert_eq!((state.cursor, state.aside), (bad + 20, vec![]));
    }
}

#[tokio::test]
async fn large_events_that_are_refused_do_not_hide_what_follows() {
    let mut world = World::like_http(Script::new(answering(1..=40, refuse))).await;
    for n in 0..40 {
        let event = status(&format!("id-{n}"), &format!("m-{n}"), "sent");
        world.append([event.replace("Hello", &"x".repeat(1 << 20))]).await;
    }
    world.append(statuses(40..50)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, Duration::from_secs(60)).await;
    assert_eq!(world.script.taken(), (41..=50).collect::<Vec<_>>());
    world.turn_for(&mut lane, Duration::from_secs(60)).await;
    assert_eq!(world.dead().await.len(), 40);
}

#[tokio::test]
async fn a_deploy_that_refuses_everything_for_a_while_kills_nothing() {
    for (batch, concurrency, events) in [(1, 8, 200), (100, 1, 200), (1, 1, 3), (1, 8, 9)] {
        let mut world = World::new(Script::new(|_| Err(refuse()))).await;
        (world.batch, world.concurrency) = (batch, concurrency);
        world.append(statuses(0..events)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, SECOND * 3).await;
        world.script.now(|_| Ok(()));
        world.turn_for(&mut lane, HOUR).await;
        assert!(
            world.dead().await.is_empty(),
            "batches of {batch}, {events} events: {:?}",
            world.dead().await
        );
        assert_eq!(world.script.taken().len() as u64, events);
    }
}

#[tokio::test]
async fn a_lone_refused_event_is_tried_again_and_then_dead() {
    let mut world = World::like_http(Script::new(|_| Err(refuse()))).await;
    world.append(statuses(0..1)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert!(world.dead().await.is_empty());
    world.turn_for(&mut lane, SECOND * 10).await;
    assert_eq!(world.dead().await, [(1, Cause::Refused)]);
    assert_eq!(world.script.calls().len(), 2);
}

/// With a wrong key, every event is rejected.
#[tokio::test]
async fn a_wrong_key_makes_no_probe_larger() {
    let mut world =
        World::like_http(Script::new(|_| Err(Failure::misconfigured("status 401", "who?")))).await;
    world.append(statuses(0..2_000)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    let before = world.script.calls().len();
    world.turn_for(&mut lane, HOUR * 2).await;
    let probes = world.script.calls().len() - before;
    assert!((20..60).contains(&probes), "{probes}: one message each, 5 min apart at last");
    let farthest = world.script.calls().iter().flatten().max().copied().unwrap();
    assert!(farthest <= 40, "{farthest}");
    assert!(shown(&lane).waits_for.unwrap().contains("does not match the handler's settings"));
}

#[tokio::test]
async fn a_destination_that_is_away_is_probed_by_another_message_each_time() {
    let mut world = World::like_http(Script::new(failing(&[1], retry))).await;
    world.append(statuses(0..1)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, Duration::from_millis(20)).await;
    world.append(statuses(1..5)).await;
    world.turn_for(&mut lane, SECOND * 7).await;
    assert_eq!(world.script.calls()[..2], [[1], [2]], "it backs off first, then another message");
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, [2, 3, 4, 5]);
}

#[tokio::test]
async fn an_operator_believes_the_refusals() {
    let world = World::like_http(Script::new(|_| Err(refuse()))).await;
    world.append(statuses(0..300)).await;
    let (lane, stop, running) = running(&world).await;
    let mut status = lane.0;
    status.wait_for(|lane| lane.failures > 0 && lane.refused.is_some()).await.unwrap();
    world.append(statuses(300..305)).await;
    assert_eq!(lane.1.believe("crm", 300).await, ["status 422"]);
    assert!(lane.1.believe("nobody", 300).await.is_empty());
    status.wait_for(|lane| lane.cursor == 300).await.unwrap();
    stop.send_replace(true);
    running.await.unwrap();
    let dead = world.dead().await;
    assert_eq!(
        (dead.len(), dead.iter().map(|(seq, _)| *seq).max()),
        (300, Some(300)),
        "up to the tip of then"
    );
}

/// A settle holds its bodies in memory until they are on disk.
#[tokio::test]
async fn believed_refusals_of_large_events_are_stored_in_parts() {
    let body = 512 << 10;
    let mut world = World::like_http(Script::new(|_| Err(refuse()))).await;
    for n in 0..100 {
        let event = status(&format!("id-{n}"), &format!("m-{n}"), "sent");
        world.append([event.replace("Hello", &"x".repeat(body))]).await;
    }
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND * 300).await;
    let tried: HashSet<u64> = world.script.calls().into_iter().flatten().collect();
    assert_eq!((tried.len(), world.dead().await.len()), (100, 0), "all are in doubt");

    let failures = shown(&lane).failures;
    let mut status = lane.status();
    let mut control = DispatchControl::default();
    let commands = control.add(&lane);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(lane.run(stopped, commands, SECOND));
    // The wait after this search is 24 s at least.
    status.wait_for(|lane| lane.failures > failures && lane.in_flight == 0).await.unwrap();
    assert_eq!(control.believe("crm", 100).await, ["status 422"]);
    let believed = status.wait_for(|lane| lane.cursor == 100);
    tokio::time::timeout(SECOND * 20, believed).await.expect("the parts follow each other at once").unwrap();
    stop.send_replace(true);
    running.await.unwrap();

    let letters = world.letters().await;
    assert_eq!(letters.len(), 100);
    // The dead letters of one turn have the same time.
    let mut parts: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for letter in &letters {
        *parts.entry(letter.died_at).or_default() += letter.event.element.raw().len();
    }
    assert!(parts.values().all(|bytes| *bytes < (16 << 20) + 2 * body), "{parts:?}");
}

#[tokio::test]
async fn belief_ends_with_the_next_success_and_holds_for_its_class() {
    let mut world = World::like_http(Script::new(answering(1..=30, refuse))).await;
    world.append(statuses(0..30)).await;
    let (lane, stop, running) = running(&world).await;
    let mut status = lane.0;
    status.wait_for(|lane| lane.failures > 0 && lane.refused.is_some()).await.unwrap();
    world.script.now(|_| Err(Failure::refuse("status 400", "another reason")));
    lane.1.believe("crm", 30).await;
    status.wait_for(|lane| lane.refused.as_deref() == Some("status 400")).await.unwrap();
    stop.send_replace(true);
    running.await.unwrap();
    let dead = world.dead().await.len();
    assert!((10..30).contains(&dead), "those of the class seen: {dead}");
    world.script.now(|_| Ok(()));
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.taken().len(), 30 - dead);
}

#[tokio::test]
async fn a_waiting_lane_tries_at_once_where_an_operator_asks() {
    let world = World::like_http(Script::new(|_| Err(retry()))).await;
    world.append(statuses(0..3)).await;
    let (lane, stop, running) = running(&world).await;
    let mut status = lane.0;
    status.wait_for(|lane| lane.failures > 0 && lane.in_flight == 0).await.unwrap();
    world.script.now(|_| Ok(()));
    let begun = std::time::Instant::now();
    assert_eq!(lane.1.retry("crm").await, 1);
    assert_eq!(lane.1.retry("nobody").await, 0);
    status.wait_for(|lane| lane.delivered == 3).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "its wait is 4 s at least, and this took {took:?}");
    stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_requested_dead_letter_wakes_a_waiting_lane() {
    let mut world = World::like_http(Script::new(failing(&[1], refuse))).await;
    world.append(statuses(0..2)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND * 10).await;
    assert_eq!(world.dead().await, [(1, Cause::Refused)]);
    world.script.now(|_| Err(retry()));
    world.append(statuses(2..4)).await;
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(shown(&lane).state, LaneCondition::Waiting);
    world.script.now(|_| Ok(()));
    world.retry_all().await;
    world.turn_for(&mut lane, Duration::from_millis(50)).await;
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_wait_requested_by_a_later_delivery_in_flight_is_honoured() {
    let calls = Arc::new(Mutex::new(0));
    let decide = move |_: &[Delivery]| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let after = (*calls == 3).then_some(Duration::from_secs(120));
        Err(Failure::Retry {
            class: "status 429".to_owned(),
            error: "slow down".into(),
            after,
            about: About::Destination,
        })
    };
    let mut world = World::like_http(Script::new(decide)).await;
    world.append(statuses(0..20)).await;
    let mut lane = world.lane(Class::Other).await;
    let begin = world.now;
    let next = world.turn_for(&mut lane, Duration::from_millis(50)).await.unwrap();
    assert!(next.ms_since(begin) >= 120_000, "{} ms", next.ms_since(begin));
    assert_eq!(world.script.calls().len(), 7, "none before that");
}

fn conflict() -> Failure {
    Failure::retry_about(About::Repetition, "status 409", "I have it, or work on it")
}

#[tokio::test]
async fn a_repetition_counts_as_delivered_after_an_attempt_without_an_answer() {
    let calls = Mutex::new(0);
    let mut world = World::like_http(Script::well()).await;
    let mut lane = world.lane(Class::Other).await;
    world.append(statuses(0..1)).await;
    world.script.now(move |_| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        Err(if *calls == 1 { Failure::retry_about(About::Unanswered, "timeout", "") } else { conflict() })
    });
    world.turn_for(&mut lane, SECOND * 7).await;
    assert_eq!((world.script.calls().len(), shown(&lane).delivered), (2, 0), "one answer is not enough");
    world.turn_for(&mut lane, SECOND * 15).await;
    assert_eq!((world.script.calls().len(), shown(&lane).delivered), (3, 1));
    assert_eq!(world.state(Class::Other).await.cursor, 1);
    assert!(world.dead().await.is_empty());
}

#[tokio::test]
async fn a_repetition_is_no_delivery_where_every_attempt_had_an_answer() {
    let mut world = World::like_http(Script::well()).await;
    let mut lane = world.lane(Class::Other).await;
    world.append(statuses(0..1)).await;
    world.script.now(|_| Err(conflict()));
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(shown(&lane).delivered, 0);
    assert!(world.script.calls().len() > 5);
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.taken(), [1]);
}

/// One event that is answered 410 is not the whole destination.
#[tokio::test]
async fn one_event_that_is_gone_pauses_no_handler() {
    let gone = || Failure::Gone { class: "status 410".to_owned(), error: "no more".into() };
    let mut world = World::like_http(Script::new(answering([3], gone))).await;
    world.append(statuses(0..20)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND * 2).await;
    world.append(statuses(20..21)).await;
    world.turn_for(&mut lane, HOUR).await;
    assert!(world.journal.paused().borrow().is_empty());
    assert_eq!((world.script.taken().len(), world.aside().await), (20, vec![3]));
}
