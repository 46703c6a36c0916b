//! A destination that accepted a part of a batch gets only the rest again.

use super::*;

fn unroutable() -> Failure {
    Failure::misconfigured("unroutable", "no queue takes it")
}

/// Sends all events at once, and accepts all except these seqs.
fn taking_all_but(
    seqs: &[u64],
    failure: fn() -> Failure,
) -> impl Fn(&[Delivery]) -> Result<(), Failure> + use<> {
    let seqs: HashSet<u64> = seqs.iter().copied().collect();
    move |events| {
        let (bad, good): (Vec<&Delivery>, Vec<&Delivery>) =
            events.iter().partition(|delivery| seqs.contains(&delivery.event.seq));
        bad.iter().for_each(|delivery| delivery.mark_sent());
        good.iter().for_each(|delivery| delivery.mark_accepted());
        if bad.is_empty() { Ok(()) } else { Err(failure()) }
    }
}

/// Sends one event after the other, and stops at one of these seqs.
fn taking_up_to(
    seqs: &[u64],
    failure: fn() -> Failure,
) -> impl Fn(&[Delivery]) -> Result<(), Failure> + use<> {
    let seqs: HashSet<u64> = seqs.iter().copied().collect();
    move |events| {
        for delivery in events {
            delivery.mark_sent();
            if seqs.contains(&delivery.event.seq) {
                return Err(failure());
            }
            delivery.mark_accepted();
        }
        Ok(())
    }
}

#[tokio::test]
async fn accepted_events_of_a_failed_batch_are_not_sent_again() {
    for failure in [unroutable as fn() -> Failure, retry] {
        let mut world = World::new(Script::new(taking_all_but(&[2, 3], failure))).await;
        world.append(statuses(0..5)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, SECOND).await;
        assert_eq!(world.script.taken(), [1, 4, 5]);
        assert_eq!(shown(&lane).delivered, 3);
        world.script.now(|_| Ok(()));
        world.turn_for(&mut lane, SECOND * 10).await;
        assert_eq!(world.script.calls(), [vec![1, 2, 3, 4, 5], vec![2, 3]]);
        assert_eq!(world.script.taken(), [1, 4, 5, 2, 3]);
        assert_eq!(world.state(Class::Other).await.cursor, 5);
    }
}

#[tokio::test]
async fn masked_events_that_were_accepted_are_not_sent_again() {
    let mut world = World::new(Script::new(taking_all_but(&[2], unroutable))).await;
    let drop = vec!["/customerDetails".to_owned()];
    world.mask = Mask::new(Some(&MaskSettings { drop, ..MaskSettings::default() })).unwrap();
    world.append(statuses(0..3)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, SECOND * 10).await;
    assert_eq!(world.script.taken(), [1, 3, 2]);
}

#[tokio::test]
async fn an_event_with_wrong_settings_among_others_delays_none_of_them() {
    let mut world = World::new(Script::new(taking_all_but(&[3], unroutable))).await;
    world.append(statuses(0..5)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    for n in 1..3 {
        assert_eq!(shown(&lane).failures, 0, "the destination is well");
        world.now = world.now.plus_ms(10_000);
        world.append(statuses(n * 10..n * 10 + 5)).await;
        world.turn_for(&mut lane, SECOND).await;
    }
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], "each once");
    let tries = world.script.calls().iter().filter(|call| call.contains(&3)).count();
    let aside: Vec<u64> = world.state(Class::Other).await.aside.iter().map(|row| row.seq).collect();
    assert_eq!((tries, aside), (3, vec![3]));
}

#[tokio::test]
async fn a_destination_that_fails_in_mid_batch_is_left_alone_first() {
    for failure in [unroutable as fn() -> Failure, retry] {
        let mut world = World::new(Script::new(taking_up_to(&[3], failure))).await;
        world.append(statuses(0..5)).await;
        let mut lane = world.lane(Class::Other).await;
        world.turn_for(&mut lane, SECOND).await;
        assert_eq!(world.script.calls(), [[1, 2, 3, 4, 5]]);
        assert_eq!((world.script.taken(), shown(&lane).failures), (vec![1, 2], 1));
        world.script.now(|_| Ok(()));
        world.turn_for(&mut lane, SECOND * 10).await;
        let taken = world.script.taken.lock().unwrap().clone();
        let attempts: Vec<_> = taken.iter().map(|delivery| (delivery.event.seq, delivery.attempt)).collect();
        assert_eq!(attempts, [(1, 1), (2, 1), (3, 2), (4, 1), (5, 1)], "4 and 5 were not sent");
    }
}

#[tokio::test]
async fn an_unsent_event_does_not_overtake_the_failed_one_of_its_message() {
    let message = |n: u64, message: &str| status(&format!("id-{n}"), message, "sent");
    // As in waves: the second event of a message is sent when the first is accepted.
    let decide = |events: &[Delivery]| {
        for delivery in events {
            match delivery.event.seq {
                1 => delivery.mark_sent(),
                2 => delivery.mark_accepted(),
                _ => {}
            }
        }
        Err(unroutable())
    };
    let mut world = World::new(Script::new(decide)).await;
    world.append([message(1, "a"), message(2, "b"), message(3, "a")]).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!((world.script.taken(), world.script.calls().len()), (vec![2], 1));
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, SECOND * 10).await;
    assert_eq!(world.script.taken(), [2, 1, 3]);
}

#[tokio::test]
async fn two_events_of_a_message_that_are_set_aside_together_keep_their_order() {
    let message = |n: u64, message: &str| status(&format!("id-{n}"), message, "sent");
    let mut world = World::new(Script::new(taking_all_but(&[1, 3], unroutable))).await;
    world.append([message(1, "a"), message(2, "b"), message(3, "a")]).await;
    let mut lane = world.lane(Class::Other).await;
    for n in 0..3 {
        world.turn_for(&mut lane, SECOND).await;
        world.now = world.now.plus_ms(10_000);
        world.append([message(10 + n, "b")]).await;
    }
    let queued: Vec<_> =
        world.state(Class::Other).await.aside.iter().map(|row| (row.seq, row.behind)).collect();
    assert_eq!(queued, [(1, false), (3, true)]);
    world.script.now(taking_all_but(&[1], unroutable));
    world.turn_for(&mut lane, SECOND * 600).await;
    assert!(!world.script.taken().contains(&3), "3 overtook 1");
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, SECOND * 3_600).await;
    let taken = world.script.taken();
    assert_eq!(taken[taken.len() - 2..], [1, 3]);
}

#[tokio::test]
async fn an_event_that_fails_beside_a_set_aside_one_of_its_message_waits_for_it() {
    let message = |n: u64, message: &str| status(&format!("id-{n}"), message, "sent");
    let mut world = World::new(Script::new(taking_all_but(&[1, 4], unroutable))).await;
    let mut lane = world.lane(Class::Other).await;
    for appended in [vec![message(1, "a"), message(2, "b")], vec![message(3, "b")]] {
        world.append(appended).await;
        world.turn_for(&mut lane, SECOND).await;
        world.now = world.now.plus_ms(10_000);
    }
    world.append([message(4, "a"), message(5, "b")]).await;
    world.turn_for(&mut lane, SECOND).await;
    assert!(world.script.calls().contains(&vec![1, 4, 5]), "{:?}", world.script.calls());
    world.script.now(taking_all_but(&[1], unroutable));
    world.turn_for(&mut lane, SECOND * 600).await;
    assert!(!world.script.taken().contains(&4), "4 overtook 1");
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, SECOND * 3_600).await;
    let taken = world.script.taken();
    assert_eq!(taken[taken.len() - 2..], [1, 4]);
}

#[tokio::test]
async fn a_refused_event_among_accepted_ones_is_found_in_one_delivery() {
    let mut world = World::new(Script::new(taking_all_but(&[50], refuse))).await;
    world.append(statuses(0..100)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.dead().await, [(50, Cause::Refused)]);
    assert_eq!((world.script.calls().len(), world.script.taken().len()), (1, 99));
}

#[tokio::test]
async fn after_a_refused_event_only_unsent_ones_are_delivered() {
    let mut world = World::new(Script::new(taking_up_to(&[3], refuse))).await;
    world.append(statuses(0..6)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.script.calls(), [vec![1, 2, 3, 4, 5, 6], vec![4, 5, 6]]);
    assert_eq!(world.script.taken(), [1, 2, 4, 5, 6]);
    assert_eq!(world.dead().await, [(3, Cause::Refused)]);
}

#[tokio::test]
async fn a_panic_leaves_the_events_that_were_accepted_before_it() {
    let script = Script::new(|events| {
        events[0].mark_accepted();
        events[1].mark_sent();
        panic!("a bug in a handler")
    });
    let mut world = World::new(script).await;
    world.append(statuses(0..3)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, SECOND * 10).await;
    assert_eq!(world.script.calls(), [vec![1, 2, 3], vec![2, 3]]);
}

/// A new version of the destination refuses all; the version before it had accepted the first three.
#[tokio::test]
async fn a_deploy_in_the_middle_of_a_batch_makes_no_dead_letters() {
    let later: Vec<u64> = (4..=60).collect();
    let mut world = World::new(Script::new(taking_up_to(&later, refuse))).await;
    world.append(statuses(0..60)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND * 2).await;
    assert_eq!(world.script.taken(), [1, 2, 3]);
    assert_eq!(world.dead().await, []);
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, SECOND * 60).await;
    assert_eq!(world.dead().await, []);
    assert_eq!((world.script.taken().len(), world.state(Class::Other).await.cursor), (60, 60));
}
