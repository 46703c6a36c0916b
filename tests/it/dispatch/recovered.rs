//! A destination that has recovered.

use super::*;

#[tokio::test]
async fn a_lane_runs_in_parallel_again_after_one_success() {
    let mut world = World::new(Script::new(|_| Err(retry()))).await;
    (world.concurrency, world.batch) = (4, 10);
    world.append(statuses(0..200)).await;
    let slots = Arc::new(Semaphore::new(4));
    let mut lane = world.lane_with(Class::Other, &slots).await;
    let probe = world.turn_for(&mut lane, SECOND).await.unwrap();
    assert_eq!((shown(&lane).state, shown(&lane).failures), (LaneCondition::Waiting, 1));
    world.script.now(|_| Ok(()));
    world.now = probe;
    while lane.turn(world.now).await.unwrap() != Turn::Moved {}
    assert_eq!(shown(&lane).in_flight, 1, "a probe goes alone");
    assert!(lane.delivery_ended().await);
    slots.forget_permits(4);
    while lane.turn(world.now).await.unwrap() == Turn::Moved {}
    let shown = shown(&lane);
    assert_eq!((shown.state, shown.failures, shown.next_try), (LaneCondition::Running, 0, None));
    assert_eq!(shown.in_flight, 3, "one place is kept for messages from customers");
}
