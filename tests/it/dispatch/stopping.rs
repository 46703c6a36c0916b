//! A lane that is stopped while a delivery is in flight.

use tokio::sync::{mpsc, watch};

use super::*;
use crate::handlers::until;

#[tokio::test]
async fn a_delivery_that_ends_during_a_stop_is_settled() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    // No permit yet: the delivery has started, and does not end.
    let slots = Arc::new(Semaphore::new(0));
    let lane = world.lane_with(Class::Other, &slots).await;
    let status = lane.status();
    let (stop, told) = watch::channel(false);
    let (_asks, control) = mpsc::channel(1);
    let stopping = async {
        until(async || status.borrow().in_flight == 1).await;
        stop.send_replace(true);
        // The lane is polled in between: it waits for its last delivery.
        tokio::task::yield_now().await;
        slots.add_permits(1);
    };
    tokio::join!(lane.run(told, control, HOUR), stopping);
    assert_eq!(world.script.taken(), (1..=10).collect::<Vec<_>>());
    assert_eq!(world.state(Class::Other).await.cursor, 10);
    assert_eq!(status.borrow().state, LaneCondition::Stopped);
    // So nothing is delivered again after a restart.
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.script.calls().len(), 1);
}

#[tokio::test]
async fn a_delivery_that_outlasts_the_grace_of_a_stop_is_made_again() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    let slots = Arc::new(Semaphore::new(0));
    let lane = world.lane_with(Class::Other, &slots).await;
    let status = lane.status();
    let (stop, told) = watch::channel(false);
    let (_asks, control) = mpsc::channel(1);
    let stopping = async {
        until(async || status.borrow().in_flight == 1).await;
        stop.send_replace(true);
    };
    tokio::join!(lane.run(told, control, Duration::from_millis(1)), stopping);
    assert_eq!((world.script.taken(), world.state(Class::Other).await.cursor), (vec![], 0));
    let mut lane = world.lane(Class::Other).await;
    world.turn_for(&mut lane, SECOND).await;
    assert_eq!(world.script.taken(), (1..=10).collect::<Vec<_>>());
}
