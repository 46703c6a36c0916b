//! A replay whose end could not be stored.

use std::sync::atomic::Ordering::SeqCst;

use bikhook::{
    dispatch::{Owner, Replayer},
    journal::{NewReplay, ReplayState},
};
use tokio::sync::watch;

use super::*;
use crate::{handlers::until, support::stub::Stub};

#[tokio::test]
async fn a_replay_whose_end_could_not_be_stored_is_ended_later_and_delivers_nothing_again() {
    let mut world = World::new(Script::well()).await;
    world.append(statuses(0..10)).await;
    let stub = Arc::new(Stub::over(Arc::clone(&world.journal)));
    stub.unstored.store(1, SeqCst);
    world.journal = Arc::clone(&stub) as Arc<dyn Journal>;
    let parts = world.parts(Class::Other, &Arc::new(Semaphore::new(1)));
    let replayer =
        Arc::new(Replayer::new(Arc::clone(&world.journal), vec![Owner { parts, live: Vec::new() }]));
    let (stop, told) = watch::channel(false);
    let asked =
        |after| NewReplay { handler: "crm".into(), after, upto: 10, filter: "{}".to_owned(), rate: None };
    let ids = [
        world.journal.start_replay(asked(0)).await.unwrap(),
        world.journal.start_replay(asked(8)).await.unwrap(),
    ];
    let works = replayer.run(told, SECOND);
    let ends = async {
        let done = async |id| world.journal.replays().borrow()[&id].state == ReplayState::Done;
        until(async || done(ids[0]).await && done(ids[1]).await).await;
        stop.send_replace(true);
    };
    tokio::join!(works, ends);
    assert_eq!(stub.unstored.load(SeqCst), 0, "its end could be stored at once");
    let expected: Vec<u64> = (1..=10).chain(9..=10).collect();
    assert_eq!(world.script.taken(), expected, "each has delivered what is its own, once");
}
