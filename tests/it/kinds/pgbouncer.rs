//! The `postgres` kind with a pooler that assigns a server connection to each transaction.

use std::{
    thread,
    time::{Duration, Instant},
};

use bikhook::handler::Failure;

use crate::{
    handlers::{deliveries, give_up, open},
    support::{
        home::{Home, eventually},
        patience::LONG,
        servers::{pgbouncer::PgBouncer, postgres::Server},
    },
};

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

fn settings(url: &str) -> String {
    format!("url = {url:?}\npassword = \"secret\"")
}

/// The state that another application finds on both connections of the pool. It holds one of them while it queries the
/// other.
fn settings_of_others(pooler: &PgBouncer) -> Vec<String> {
    let found = "BEGIN; SELECT pg_sleep(0.5) IS NULL; SELECT current_setting('statement_timeout'),
        current_setting('lock_timeout'), (SELECT count(*) FROM pg_prepared_statements); COMMIT";
    thread::scope(|scope| {
        let asked = [(); 2].map(|()| scope.spawn(|| pooler.sql(found)));
        asked.map(|found| found.join().unwrap()).to_vec()
    })
}

#[test]
fn receivers_in_turn_deliver_through_pgbouncer_and_leave_nothing_on_it() {
    let server = Server::start_new();
    let pooler = PgBouncer::start_new(&server, "transaction");
    let own = settings_of_others(&pooler);
    let mut home = Home::new();
    home.more =
        format!("[handlers.out]\nkind = \"postgres\"\n{}\nstart = \"beginning\"\n", settings(&pooler.url()));
    for life in 1..=4 {
        let mut receiver = home.start();
        let mut client = receiver.connect();
        for event in 1..=20 {
            let body = format!(r#"{{"eventName":"x","id":"{life}-{event}"}}"#);
            assert_eq!(client.post(&body).unwrap().status, 200);
        }
        home.wait_until_delivered_to("out");
        assert_eq!(settings_of_others(&pooler), own, "life {life}");
        receiver.stop();
    }
    assert_eq!(server.sql("bik", "SELECT count(*), count(DISTINCT bik_id) FROM bik_events"), "80\t80\n");
    let log = server.log() + &pooler.log() + &home.log();
    for trouble in ["42P05", "26000", "already exists", "does not exist", "destination is unwell"] {
        assert!(!log.contains(trouble), "{trouble}: {log}");
    }
}

#[tokio::test]
async fn a_refused_delivery_leaves_nothing_behind_in_a_shared_connection() {
    let server = Server::start_new();
    let pooler = PgBouncer::start_new(&server, "transaction");
    let handler = open("postgres", &settings(&pooler.url())).await.unwrap();
    server.sql("bik", "ALTER TABLE bik_events ADD CONSTRAINT few CHECK (seq < 5)");
    let failure = handler.deliver(&deliveries(3..=6)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refuse { class, .. } if class == "sqlstate 23514"), "{failure:?}");
    handler.deliver(&deliveries(3..=4)).await.unwrap();
    assert_eq!(server.sql("bik", "SELECT seq FROM bik_events ORDER BY seq"), "3\n4\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_was_given_up_is_cancelled_through_pgbouncer() {
    let server = Server::start_new();
    let pooler = PgBouncer::start_new(&server, "transaction");
    let handler = open("postgres", &settings(&pooler.url())).await.unwrap();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    let holder = server.hold_lock("bik_events");
    for _ in 0..4 {
        give_up(&*handler, &deliveries(4..=5), 1).await;
        eventually("the statement waits on", || server.sql("bik", WAITING).trim() == "0");
    }
    // Both connections of the pool are free again, and it is not the time limit that freed them.
    assert_eq!(pooler.sql("SELECT 1"), "1\n");
    assert!(server.log().contains("canceling statement due to user request"), "{}", server.log());
    assert!(!server.log().contains("due to lock timeout"), "{}", server.log());
    drop(holder);
    handler.deliver(&deliveries(4..=5)).await.unwrap();
    assert_eq!(server.sql("bik", "SELECT count(*) FROM bik_events"), "5\n");
}

#[tokio::test]
async fn an_error_of_the_pooler_itself_says_what_to_write() {
    let server = Server::start_new();
    let pooler = PgBouncer::start_new(&server, "transaction");
    let by_statement = PgBouncer::start_new(&server, "statement");
    let url = pooler.url();
    for (settings, words) in [
        (settings(&by_statement.url()), "set pool_mode = transaction"),
        (settings(&(url.clone() + "?options=-csearch_path%3Dother")), "ALTER ROLE"),
        (format!("url = {url:?}\npassword = \"wrong\""), "check the user in `url`"),
        (settings(&url.replace("bik@", "nobody@")), "check the user in `url`"),
        (settings(&(url.clone() + "_2")), "create the database"),
    ] {
        let error = open("postgres", &settings).await.err().unwrap_or_else(|| panic!("took {settings}"));
        assert!(error.contains(words), "{settings}: {error}");
    }
}

#[tokio::test]
async fn a_pooler_without_a_server_is_away_and_not_wrong() {
    let mut server = Server::start_new();
    let pooler = PgBouncer::start_new(&server, "transaction");
    let handler = open("postgres", &settings(&pooler.url())).await.unwrap();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    server.kill();
    let given = tokio::time::timeout(Duration::from_secs(20), handler.deliver(&deliveries(4..=5))).await;
    // It reports that, or lets its client wait for a server.
    assert!(matches!(given, Err(_) | Ok(Err(Failure::Retry { .. }))), "{given:?}");
    server.start();
    // The pooler turns its clients away for a while after a server that refused.
    let begun = Instant::now();
    while let Err(failure) = handler.deliver(&deliveries(4..=5)).await {
        assert!(matches!(failure, Failure::Retry { .. }) && begun.elapsed() < LONG, "{failure:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.sql("bik", "SELECT count(*) FROM bik_events"), "5\n");
}
