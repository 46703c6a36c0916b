//! A paused handler: paused by an operator, or because its destination is permanently gone.

use bikhook::handler::Failure;

use super::*;

fn gone(_: &[Delivery]) -> Result<(), Failure> {
    Err(Failure::Gone { class: "status 410".to_owned(), error: "no more".into() })
}

#[tokio::test]
async fn a_pause_holds_both_lanes_back_across_a_restart_and_loses_nothing() {
    let mut world = World::new(Script::well()).await;
    world.journal.pause("crm".into(), "the CRM is moved".to_owned()).await.unwrap();
    world.append(statuses(0..5)).await;
    world.append([incoming("in", "m")]).await;
    for class in Class::ALL {
        let mut lane = world.lane(class).await;
        assert_eq!(world.turn_for(&mut lane, HOUR).await, None, "it waits for nothing but the resume");
        assert_eq!(shown(&lane).state, LaneCondition::Paused);
    }
    world.journal.close().await.unwrap();
    world.journal = world.place.open();
    world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let paused = Arc::clone(&world.journal.paused().borrow());
    assert_eq!(paused["crm"].reason, "the CRM is moved");
    let mut lanes = Vec::new();
    for class in Class::ALL {
        let mut lane = world.lane(class).await;
        world.turn_for(&mut lane, HOUR).await;
        lanes.push(lane);
    }
    assert!(world.script.calls().is_empty());
    assert!(world.journal.resume("crm".into()).await.unwrap());
    assert!(!world.journal.resume("crm".into()).await.unwrap(), "it was not paused any more");
    for lane in &mut lanes {
        world.turn_for(lane, SECOND).await;
    }
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn the_first_reason_of_a_pause_stays_and_other_handlers_continue() {
    let mut world = World::new(Script::well()).await;
    for (handler, reason) in [("lake", "first"), ("lake", "second")] {
        world.journal.pause(handler.into(), reason.to_owned()).await.unwrap();
    }
    assert_eq!(world.journal.paused().borrow()["lake"].reason, "first");
    world.append(statuses(0..1)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.script.taken(), [1]);
}

#[tokio::test]
async fn a_destination_gone_for_good_pauses_its_handler_and_loses_no_event() {
    let mut world = World::new(Script::new(gone)).await;
    world.append(statuses(0..20)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR).await;
    let asked = world.script.calls().len();
    assert!(asked <= 25, "of ten messages and the batches that they came in: {asked} calls");
    let reason = world.journal.paused().borrow()["crm"].reason.clone();
    assert!(reason.contains("gone for good") && reason.contains("status 410"), "{reason}");
    assert!(world.dead().await.is_empty());
    world.script.now(|_| Ok(()));
    world.journal.resume("crm".into()).await.unwrap();
    world.turn_for(&mut lane, HOUR).await;
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lone_event_that_is_gone_pauses_its_handler() {
    let mut world = World::new(Script::new(gone)).await;
    world.append(statuses(0..1)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.calls().len(), 1, "it is asked once");
    assert!(world.journal.paused().borrow().contains_key("crm"));
}

#[tokio::test]
async fn a_misconfigured_destination_is_retried_and_no_event_is_lost() {
    let wrong = |_: &[Delivery]| Err(Failure::misconfigured("status 401", "who are you?"));
    let mut world = World::new(Script::new(wrong)).await;
    world.append(statuses(0..20)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, HOUR * 24).await;
    assert!(world.script.calls().len() > 100);
    assert_eq!(shown(&lane).last_failure.as_deref(), Some("status 401"));
    assert!(world.dead().await.is_empty() && world.journal.paused().borrow().is_empty());
    world.script.now(|_| Ok(()));
    world.turn_for(&mut lane, HOUR).await;
    let mut taken = world.script.taken();
    taken.sort_unstable();
    assert_eq!(taken, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dead_letter_that_is_dropped_before_its_retry_is_not_delivered() {
    let mut world = World::new(Script::new(failing(&[1], refuse))).await;
    world.append(statuses(0..2)).await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.dead().await, [(1, Cause::Refused)]);
    world.script.now(|_| Ok(()));
    world.journal.pause("crm".into(), "for a test".to_owned()).await.unwrap();
    let ids = world.retry_all().await;
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    world.journal.drop_dead(ids, "ops".into()).await.unwrap();
    world.journal.resume("crm".into()).await.unwrap();
    world.turn_for(&mut lane, HOUR).await;
    assert_eq!(world.script.taken(), [2]);
}
