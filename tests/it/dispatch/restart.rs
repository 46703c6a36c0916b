//! After a restart, events that may have been delivered before are settled immediately, so that a crash loop repeats
//! few of them.

use super::*;

impl World {
    /// The cursor that a new process would find.
    fn durable_cursor(&self) -> u64 {
        let file = rusqlite::Connection::open(self.place.path()).unwrap();
        let of_lane = "SELECT cursor FROM lane WHERE handler = 'crm' AND class = 1";
        file.query_row(of_lane, [], |row| row.get(0)).unwrap()
    }

    /// Handles ended deliveries, and starts the next ones.
    async fn step(&mut self, lane: &mut Lane) {
        lane.turn(self.now).await.unwrap();
        lane.delivery_ended().await;
        self.now = self.now.plus_ms(20);
    }
}

/// A process that ends right after some deliveries leaves few of them unsettled, so the next one repeats few.
#[tokio::test]
async fn what_was_redelivered_after_a_start_is_settled_at_once() {
    let mut world = World::new(Script::well()).await;
    world.batch = 1;
    world.append(statuses(0..40)).await;
    let mut lane = world.lane(Class::Other).await;
    for _ in 0..20 {
        world.step(&mut lane).await;
        let taken = world.script.taken().len() as u64;
        let durable = world.durable_cursor();
        let unsettled = taken - durable;
        assert!(unsettled <= 2 + durable / 4, "{taken} delivered, {durable} settled");
    }
    assert!(world.durable_cursor() >= 14, "{}", world.durable_cursor());
}

/// Ten processes, each killed after its first deliveries: each starts with a higher cursor than the previous one.
#[tokio::test]
async fn a_crash_loop_does_not_multiply_what_is_delivered() {
    let mut world = World::new(Script::well()).await;
    world.batch = 1;
    world.append(statuses(0..30)).await;
    for _ in 0..10 {
        let mut lane = world.lane(Class::Other).await;
        for _ in 0..4 {
            world.step(&mut lane).await;
        }
        // A killed process loses everything that it had not made durable.
        let cursor = world.durable_cursor();
        drop(lane);
        world.journal.close().await.unwrap();
        let file = rusqlite::Connection::open(world.place.path()).unwrap();
        file.execute("UPDATE lane SET cursor = ?1 WHERE handler = 'crm' AND class = 1", [cursor]).unwrap();
        file.execute("DELETE FROM settle WHERE upto > ?1", [cursor]).unwrap();
        drop(file);
        world.journal = world.place.open();
        world.journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    }
    let taken = world.script.taken();
    let most = (1..=30).map(|seq| taken.iter().filter(|taken| **taken == seq).count()).max().unwrap();
    assert!(most <= 2, "an event came {most} times: {taken:?}");
}

/// New settles are stored with the next commit, as usual, because a sync for each delivery would slow down intake.
#[tokio::test]
async fn deliveries_after_the_start_are_settled_with_the_next_commit() {
    let mut world = World::new(Script::well()).await;
    world.batch = 1;
    let mut lane = world.lane(Class::Other).await;
    world.append(statuses(0..20)).await;
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        world.step(&mut lane).await;
    }
    let durable = world.durable_cursor();
    assert!(durable == 0 || begun.elapsed() > Duration::from_millis(900), "{durable} settled already");
    assert!(world.script.taken().len() >= 15);
}
