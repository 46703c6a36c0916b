//! Answers that go out while the peer is still sending.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::world::{KEY, LONG, World, event, head, post, request};

const MIB: usize = 1024 * 1024;

#[test]
fn a_peer_that_sends_8_mib_and_only_then_reads_gets_its_413() {
    let world = World::new();
    let mut client = world.connect();
    client.send(post(vec![b' '; 8 * MIB]));
    let answer = client.answer();
    answer.assert_problem(413);
    assert_eq!(answer.header("connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn a_peer_that_sends_8_mib_and_only_then_reads_gets_its_401_404_and_405() {
    let world = World::new();
    for (line, status) in [("POST /webhook", 401), ("POST /other", 404), ("PUT /webhook", 405)] {
        let mut client = world.connect();
        client.send(request(line, &[], vec![b' '; 8 * MIB]));
        client.answer().assert_problem(status);
        client.assert_closed();
    }
}

#[test]
fn the_answer_does_not_wait_for_the_body() {
    let world = World::new();
    let authorized = format!("Authorization: {KEY}");
    for (headers, status) in [
        (vec!["Content-Length: 1000000"], 401),
        (vec![&*authorized, "Content-Length: 5242881"], 413),
        (vec![&*authorized, "Content-Length: 1000000", "Content-Encoding: zstd"], 415),
    ] {
        let mut client = world.connect();
        client.ask(head("POST /webhook", &headers)).assert_problem(status);
    }
}

#[test]
fn the_rest_of_a_body_is_read_for_a_limited_time() {
    let world = World::new();
    let mut client = world.connect();
    let begun = Instant::now();
    client.ask(head("POST /webhook", &["Content-Length: 1000000000"])).assert_problem(401);
    let chunk = vec![b' '; 64 * 1024];
    let mut sent = 0;
    while client.0.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent >= 8 * MIB, "only {sent} bytes were read off");
    assert!(sent <= 64 * MIB, "{sent} bytes were taken");
    // A peer that stops sending does not keep its connection open forever either.
    let mut silent = world.connect();
    silent.ask(head("POST /webhook", &["Content-Length: 1000000000"])).assert_problem(401);
    world.until("bikhook_http_connections", 0);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_peer_that_expects_100_continue_gets_the_early_answer_instead() {
    let world = World::new();
    let mut client = world.connect();
    let expect = ["Expect: 100-continue", "Content-Length: 1000"];
    client.ask(head("POST /webhook", &expect)).assert_problem(401);
    client.assert_closed();
}

#[test]
fn a_peer_that_expects_100_continue_gets_it_when_its_body_is_wanted() {
    let world = World::new();
    let mut client = world.connect();
    let body = event("e1");
    let (authorized, length) = (format!("Authorization: {KEY}"), format!("Content-Length: {}", body.len()));
    let answer = client.ask(head("POST /webhook", &[&authorized, &length, "Expect: 100-continue"]));
    assert_eq!(answer.status, 100);
    assert_eq!(client.ask(&body).status, 200);
}

#[test]
fn a_small_body_refused_unread_does_not_cost_the_connection() {
    let world = World::new();
    let mut client = world.connect();
    for _ in 0..3 {
        let answer = client.ask(request("POST /webhook", &[], event("no")));
        answer.assert_problem(401);
        assert_ne!(answer.header("connection"), Some("close"));
        assert_eq!(client.ask(post(event("e1"))).status, 200);
    }
    assert_eq!(world.journal.ids(), ["e1", "e1", "e1"]);
}

#[test]
fn two_posts_in_one_write_get_two_answers() {
    let world = World::new();
    let mut client = world.connect();
    client.send([post(event("e1")), post(event("e2"))].concat());
    assert_eq!((client.answer().status, client.answer().status), (200, 200));
    assert_eq!(world.journal.ids(), ["e1", "e2"]);
}

#[test]
fn a_stop_does_not_cut_an_early_answer_that_is_on_its_way() {
    let mut world = World::new();
    let mut client = world.connect();
    client.send(head("POST /webhook", &["Authorization: wrong", "Content-Length: 8000000"]));
    world.until(r#"bikhook_http_requests_total{source="bik",status="401"}"#, 1);
    world.stop(LONG);
    client.send(vec![b' '; 1_000_000]); // a closed connection would be reset by it, and the answer lost
    client.answer().assert_problem(401);
    assert_eq!(world.stopped().cut, 0);
}

#[test]
fn thousands_of_requests_in_a_row_are_answered_without_a_pause() {
    const COUNT: usize = 5_000;
    let world = World::with(|settings| settings.header_timeout.0 = LONG * 10);
    let mut client = world.connect();
    let mut sender = client.0.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for _ in 0..COUNT {
            sender.write_all(head("GET /webhook", &[]).as_bytes()).unwrap();
        }
    });
    for _ in 0..COUNT {
        assert_eq!(client.answer().status, 200); // a head that is forgotten ends this after LONG
    }
    sending.join().unwrap();
}
