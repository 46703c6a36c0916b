//! Several sources: each keeps its share of the request places, regardless of the others.

use std::collections::BTreeMap;

use super::world::{Client, World, event, head, key, request, source};

fn two_sources(change: impl FnOnce(&mut bikhook::http::Settings)) -> World {
    let sources = BTreeMap::from([
        ("a".to_owned(), source("/a", key("key-of-a"))),
        ("b".to_owned(), source("/b", key("key-of-b"))),
    ]);
    World::of(change, &sources)
}

fn post_to(source: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request(&format!("POST /{source}"), &[&format!("Authorization: key-of-{source}")], body)
}

/// Sends a request without its body.
fn without_body(client: &mut Client, source: &str, bytes: usize) {
    let (credential, length) =
        (format!("Authorization: key-of-{source}"), format!("Content-Length: {bytes}"));
    client.send(head(&format!("POST /{source}"), &[&credential, &length]));
}

#[test]
fn slow_bodies_of_one_source_take_no_place_from_another() {
    let world = two_sources(|settings| settings.in_flight = 8);
    let mut slow: Vec<_> = (0..30).map(|_| world.connect()).collect();
    for client in &mut slow {
        without_body(client, "a", 1_000);
    }
    world.until("bikhook_http_in_flight", 6);
    let mut b = world.connect();
    for n in 0..20 {
        assert_eq!(b.ask(post_to("b", event(&format!("b{n}")))).status, 200);
    }
    let mut late = world.connect();
    late.ask(post_to("a", event("a1"))).assert_problem(503);
}

#[test]
fn large_bodies_of_one_source_take_no_bytes_from_another() {
    let world = two_sources(|settings| settings.in_flight_bytes.0 = 5 * 1024 * 1024);
    let mut slow: Vec<_> = (0..10).map(|_| world.connect()).collect();
    for client in &mut slow {
        without_body(client, "a", 1024 * 1024);
    }
    world.until("bikhook_http_in_flight", 3);
    let mut b = world.connect();
    for n in 0..20 {
        assert_eq!(b.ask(post_to("b", event(&format!("b{n}")))).status, 200);
    }
}
