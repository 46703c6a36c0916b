//! A replay whose start could not be read, or whose end could not be stored, at the first attempt.

use bikhook::{
    dispatch::{ReplayHandler, Replayer},
    journal::{NewReplay, ReplayState},
};
use tokio::sync::watch;

use super::*;
use crate::handlers::until;

/// Runs a replay of ten events from each of these seqs. Returns the deliveries after all replays have ended.
async fn replayed(world: &mut World, stub: &Arc<Stub>, from: &[u64]) -> Vec<u64> {
    world.journal = Arc::clone(stub) as Arc<dyn Journal>;
    let context = Arc::new(world.context(&Arc::new(Semaphore::new(1))));
    let handler = ReplayHandler { context, live: Vec::new() };
    let replayer = Arc::new(Replayer::new(Arc::clone(&world.journal), vec![handler]));
    let (stop, told) = watch::channel(false);
    for after in from {
        let asked =
            NewReplay { handler: "crm".into(), after: *after, upto: 10, filter: "{}".to_owned(), rate: None };
        world.journal.start_replay(asked).await.unwrap();
    }
    let works = replayer.run(told, SECOND);
    let ends = async {
        let done = || world.journal.replays().borrow().values().all(|one| one.state == ReplayState::Done);
        until(async || done()).await;
        stop.send_replace(true);
    };
    tokio::join!(works, ends);
    world.script.taken()
}

async fn with_a_stub() -> (World, Arc<Stub>) {
    let world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    let stub = Arc::new(Stub::over(Arc::clone(&world.journal)));
    (world, stub)
}

#[tokio::test]
async fn a_replay_whose_end_was_not_stored_ends_later_and_repeats_nothing() {
    let (mut world, stub) = with_a_stub().await;
    stub.unstored.store(1, SeqCst);
    let taken = replayed(&mut world, &stub, &[0, 8]).await;
    assert_eq!(stub.unstored.load(SeqCst), 0, "its end could be stored at once");
    assert_eq!(taken, (1..=10).chain(9..=10).collect::<Vec<_>>(), "each has delivered what is its own, once");
}

#[tokio::test]
async fn a_replay_whose_lanes_could_not_be_read_begins_later() {
    let (mut world, stub) = with_a_stub().await;
    stub.unread.store(1, SeqCst);
    let taken = replayed(&mut world, &stub, &[0]).await;
    assert_eq!((stub.unread.load(SeqCst), taken), (0, (1..=10).collect()));
}
