//! Requests that are too large, too slow or too many.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

use super::world::{Client, KEY, LONG, World, event, head, post, request};

const LIMIT: usize = 5 * 1024 * 1024;

fn packed(coding: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let (authorized, coding) = (format!("Authorization: {KEY}"), format!("Content-Encoding: {coding}"));
    request("POST /webhook", &[&authorized, &coding], body)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An event in a body of exactly this many bytes.
fn event_of(bytes: usize) -> Vec<u8> {
    let event = event("e1");
    [vec![b' '; bytes - event.len()], event.into_bytes()].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let authorized = format!("Authorization: {KEY}");
    let mut bytes = head("POST /webhook", &[&authorized, "Transfer-Encoding: chunked"]).into_bytes();
    for chunk in body.chunks(60_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn a_body_of_the_limit_is_taken_and_of_one_byte_more_is_413() {
    let world = World::new();
    assert_eq!(world.post(event_of(LIMIT)).status, 200);
    world.post(event_of(LIMIT + 1)).assert_problem(413);
    assert_eq!(world.connect().ask(chunked(&event_of(LIMIT))).status, 200);
    world.connect().ask(chunked(&event_of(LIMIT + 1))).assert_problem(413);
    assert_eq!(world.metric("bikhook_http_in_flight"), 0);
    assert_eq!(world.journal.ids(), ["e1", "e1"]);
}

#[test]
fn a_body_of_too_many_elements_is_413_and_says_how_many_may_be_sent() {
    let world = World::new();
    let tiny = |elements: usize| format!("[{}]", vec![r#"{"eventName":"x","id":"1"}"#; elements].join(","));
    assert_eq!(world.post(tiny(20_480)).status, 200);
    let refused = world.post(tiny(20_481));
    refused.assert_problem(413);
    assert!(refused.body.contains("not have more than 20480 elements"), "{refused:?}");
    // The maximum number that fits into 5 MiB.
    let most = vec!["{}"; LIMIT / 3 - 1].join(",");
    world.post(format!("[{most}]")).assert_problem(413);
    assert_eq!((world.journal.ids().len(), world.journal.quarantined().len()), (20_480, 0));
    assert_eq!(world.metric("bikhook_http_in_flight"), 0);
}

#[test]
fn a_small_chunked_body_is_taken_and_the_connection_stays() {
    let world = World::new();
    let mut client = world.connect();
    assert_eq!(client.ask(chunked(event("e1").as_bytes())).status, 200);
    assert_eq!(client.ask(post(event("e2"))).status, 200);
}

#[test]
fn packed_bodies_are_unpacked() {
    let world = World::new();
    let (mut zlib, mut raw) = (
        ZlibEncoder::new(Vec::new(), Compression::default()),
        DeflateEncoder::new(Vec::new(), Compression::default()),
    );
    zlib.write_all(event("z").as_bytes()).unwrap();
    raw.write_all(event("r").as_bytes()).unwrap();
    let mut client = world.connect();
    assert_eq!(client.ask(packed("gzip", gzip(event("g").as_bytes()))).status, 200);
    assert_eq!(client.ask(packed("deflate", zlib.finish().unwrap())).status, 200);
    assert_eq!(client.ask(packed("deflate", raw.finish().unwrap())).status, 200);
    let whole = event("m");
    let (first, second) = whole.as_bytes().split_at(20);
    assert_eq!(client.ask(packed("x-gzip", [gzip(first), gzip(second)].concat())).status, 200);
    assert_eq!(client.ask(packed("identity", event("i"))).status, 200);
    assert_eq!(world.journal.ids(), ["g", "z", "r", "m", "i"]);
}

#[test]
fn a_bomb_is_413() {
    let world = World::new();
    let bomb = gzip(&vec![b' '; 200 * 1024 * 1024]);
    assert!(bomb.len() < 300_000);
    world.connect().ask(packed("gzip", bomb)).assert_problem(413);
    world.connect().ask(packed("gzip", gzip(&event_of(LIMIT + 1)))).assert_problem(413);
    assert_eq!(world.connect().ask(packed("gzip", gzip(&event_of(LIMIT)))).status, 200);
    assert_eq!(world.metric("bikhook_http_in_flight"), 0);
}

#[test]
fn a_packed_body_that_cannot_be_unpacked_is_kept_as_it_came() {
    let world = World::new();
    let whole = gzip(event("e1").as_bytes());
    let torn = &whole[..whole.len() - 5];
    world.connect().ask(packed("gzip", torn)).assert_problem(400);
    let kept = world.journal.quarantined();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].bytes.as_slice(), kept[0].reason.as_str()), (torn, "not_json"));
    assert!(kept[0].detail.contains("cannot be decompressed"), "{}", kept[0].detail);
}

#[test]
fn another_content_encoding_is_415_with_the_supported_ones() {
    let world = World::new();
    for coding in ["br", "zstd", "gzip, gzip"] {
        let answer = world.connect().ask(packed(coding, event("e1")));
        answer.assert_problem(415);
        assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));
    }
}

#[test]
fn a_head_larger_than_32_kib_is_431() {
    let world = World::new();
    let of = |bytes: usize| {
        let bare = post(event("e1")).len() - event("e1").len() + "X: \r\n".len();
        let (authorized, filler) =
            (format!("Authorization: Basic {KEY}"), format!("X: {}", "x".repeat(bytes - bare)));
        request("POST /webhook", &[&authorized, &filler], event("e1"))
    };
    assert_eq!(world.connect().ask(of(32 * 1024)).status, 200);
    for size in [32 * 1024 + 1, 60_000, 1_000_000] {
        let mut client = world.connect();
        client.send(of(size));
        client.answer().assert_problem(431);
        client.assert_closed();
    }
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="",status="431"}"#), 3);
}

#[test]
fn a_request_that_is_not_http_is_400() {
    let world = World::new();
    for noise in
        ["\x16\x03\x01\x02\x00\x01\x00\x01\n\n", "POST\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"]
    {
        let mut client = world.connect();
        client.ask(noise).assert_problem(400);
        client.assert_closed();
    }
    let long = format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let status = world.connect().ask(long).status;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="",status="400"}"#), 3);
}

fn quick() -> World {
    World::with(|settings| {
        settings.header_timeout.0 = Duration::from_millis(300);
        settings.body_timeout.0 = Duration::from_millis(300);
        settings.idle_timeout.0 = LONG;
    })
}

#[test]
fn two_posts_further_apart_than_the_header_time_out_share_a_connection() {
    let world = quick();
    let mut client = world.connect();
    for id in ["e1", "e2", "e3"] {
        thread::sleep(Duration::from_millis(700));
        assert_eq!(client.ask(post(event(id))).status, 200, "{id}");
    }
}

#[test]
fn a_head_that_trickles_is_408_counted_from_its_first_byte() {
    let world = quick();
    for requests_before in [0, 1, 2] {
        let mut client = world.connect();
        for _ in 0..requests_before {
            assert_eq!(client.ask(post(event("e1"))).status, 200);
        }
        thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        let answer = trickle(&mut client, &head("POST /webhook", &["X-Slow: yes"]));
        answer.assert_problem(408);
        assert!(begun.elapsed() >= Duration::from_millis(300));
        client.assert_closed();
    }
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="",status="408"}"#), 3);
}

#[test]
fn a_body_that_trickles_is_408_and_does_not_keep_its_place() {
    let world = quick();
    let mut client = world.connect();
    let authorized = format!("Authorization: {KEY}");
    client.send(head("POST /webhook", &[&authorized, "Content-Length: 1000"]));
    trickle(&mut client, &" ".repeat(1000)).assert_problem(408);
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="bik",status="408"}"#), 1);
    assert_eq!(world.metric("bikhook_http_in_flight"), 0);
}

/// Sends one byte at a time until there is an answer.
fn trickle(client: &mut Client, text: &str) -> super::world::Answer {
    for byte in text.bytes() {
        if !client.is_open() {
            break;
        }
        client.send([byte]);
        thread::sleep(Duration::from_millis(20));
    }
    client.answer()
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    let world = World::with(|settings| settings.idle_timeout.0 = Duration::from_millis(300));
    let (mut fresh, mut used) = (world.connect(), world.connect());
    assert_eq!(used.ask(post(event("e1"))).status, 200);
    let begun = Instant::now();
    fresh.assert_closed();
    used.assert_closed();
    assert!(begun.elapsed() < LONG);
    world.until("bikhook_http_connections", 0);
}

#[test]
fn a_request_is_never_idle() {
    let world = World::with(|settings| {
        settings.idle_timeout.0 = Duration::from_millis(100);
        settings.header_timeout.0 = Duration::from_millis(100);
        settings.deadline.0 = LONG;
    });
    world.journal.stall();
    let mut client = world.connect();
    client.send(post(event("e1")));
    thread::sleep(Duration::from_millis(400));
    world.journal.resume();
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_body_of_very_many_empty_members_is_not_unpacked_but_kept() {
    let world = World::new();
    let empty = gzip(b"").repeat(200_000);
    world.connect().ask(packed("gzip", &empty)).assert_problem(400);
    assert_eq!(world.journal.quarantined()[0].bytes, empty);
}
