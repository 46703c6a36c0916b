//! The contract with a Redis server, and the other guarantees of the `redis` kind.

use std::{collections::HashMap, time::Instant};

use bikhook::handler::{Failure, Handler};
use rustix::process::Signal;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{delivery, give_up, open},
    kinds::Fixture,
    support::{
        events::{incoming, status},
        home::Home,
        servers::{certificate::Certificate, free_ports, redis::RedisServer},
    },
};

struct Streams {
    server: RedisServer,
}

/// An entry: its id, and its fields.
type Entry = (String, HashMap<String, String>);

pub const FIXTURE: Fixture = Fixture {
    kind: "redis",
    destination: Some(destination),
    wrong: &[
        ("", "url"),
        ("url = \"http://127.0.0.1\"", "redis://USER"),
        ("url = \"rediss://127.0.0.1/#insecure\"", "ca"),
        ("url = \"redis://127.0.0.1:1\"\nstream = \"{}\"", "stream"),
        ("url = \"redis://127.0.0.1:1\"\nmaxlen = 0", "maxlen"),
        ("url = \"rediss://127.0.0.1:1\"\nca = \"/no/such/file\"", "ca"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Streams { server: RedisServer::start_new() })
}

fn entries(server: &RedisServer, stream: &str) -> Vec<Entry> {
    server.ask(&["XRANGE", stream, "-", "+"])
}

impl Destination for Streams {
    fn settings(&self, scene: &str) -> String {
        format!(
            "kind = \"redis\"\nurl = {:?}\nstream = \"bik:{scene}\"\nmax_bytes = \"16KiB\"",
            self.server.url()
        )
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let entries = entries(&self.server, &format!("bik:{scene}"));
        let arrival = |(_, mut fields): Entry| Arrival {
            key: fields.remove("key").unwrap(),
            event: fields.remove("event").unwrap(),
        };
        entries.into_iter().map(arrival).collect()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start(&mut self) {
        self.server.start();
    }

    fn poison(&self) -> Option<String> {
        Some(large("poison", 16 * 1024))
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

fn large(id: &str, bytes: usize) -> String {
    format!(r#"{{"eventName":"addToCart","id":"{id}","text":"{}"}}"#, "x".repeat(bytes))
}

fn class_of(failure: &Failure) -> (&'static str, &str) {
    match failure {
        Failure::Retry { class, .. } => ("retry", class),
        Failure::Refuse { class, .. } => ("refuse", class),
        Failure::Misconfigured { class, .. } => ("misconfigured", class),
        Failure::Gone { class, .. } => ("gone", class),
    }
}

async fn failure(handler: &dyn Handler, seq: u64, raw: &str) -> Failure {
    handler.deliver(&[delivery(seq, raw)]).await.unwrap_err()
}

#[test]
fn redis_keeps_the_contract() {
    hold_to(&mut *destination());
}

#[tokio::test]
async fn an_entry_has_the_event_and_what_goes_with_it_in_fields() {
    let server = RedisServer::start_new();
    let by_source = format!("url = {:?}\nstream = \"bik:{{source}}:{{status}}\"", server.url());
    let handler = open("redis", &by_source).await.unwrap();
    let read = delivery(7, &status("a-1", "m", "read"));
    handler.deliver(&[read.clone(), delivery(8, &incoming("b-1", "m"))]).await.unwrap();
    let [(_, fields)] = <[Entry; 1]>::try_from(entries(&server, "bik:bik:read")).unwrap();
    let field = |name: &str| fields[name].as_str();
    assert_eq!(field("key"), read.key().to_string());
    assert_eq!((field("seq"), field("source"), field("event_name")), ("7", "bik", "message-status-update"));
    assert_eq!((field("id"), field("attempt"), field("replay")), ("a-1", "1", "0"));
    assert_eq!(field("event"), status("a-1", "m", "read"));
    assert!(field("received_at").ends_with('Z'));
    assert_eq!(fields.len(), 9);
    assert_eq!(entries(&server, "bik:bik:none").len(), 1);
}

#[tokio::test]
async fn opening_adds_nothing_and_a_stream_is_trimmed_if_configured() {
    let server = RedisServer::start_new();
    let handler = open("redis", &format!("url = {:?}\nmaxlen = 100", server.url())).await.unwrap();
    assert_eq!(server.ask::<u64>(&["EXISTS", "bik:events"]), 0);
    for batch in 0..10 {
        let events: Vec<_> = (batch * 100..(batch + 1) * 100)
            .map(|seq| delivery(seq, &incoming(&seq.to_string(), "m")))
            .collect();
        handler.deliver(&events).await.unwrap();
    }
    let left: u64 = server.ask(&["XLEN", "bik:events"]);
    assert!((100..300).contains(&left), "{left} are left");
}

#[tokio::test]
async fn a_failed_batch_adds_no_entry() {
    let server = RedisServer::with(&["--maxmemory-policy", "noeviction"]);
    let handler = open("redis", &format!("url = {:?}\nmax_bytes = \"1KiB\"", server.url())).await.unwrap();
    let events = [delivery(1, &incoming("1", "m")), delivery(2, &large("2", 2000))];
    assert_eq!(class_of(&handler.deliver(&events).await.unwrap_err()), ("refuse", "too large"));
    server.ask::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(class_of(&failure(&*handler, 1, &incoming("1", "m")).await), ("retry", "out of memory"));
    server.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server.ask::<u64>(&["EXISTS", "bik:events"]), 0);
    handler.deliver(&events[..1]).await.unwrap();
    assert_eq!(entries(&server, "bik:events").len(), 1);
}

#[tokio::test]
async fn an_event_too_large_for_the_server_is_refused_and_the_next_taken() {
    let server = RedisServer::with(&["--proto-max-bulk-len", "1mb"]);
    let handler = open("redis", &format!("url = {:?}", server.url())).await.unwrap();
    assert_eq!(class_of(&failure(&*handler, 1, &large("1", 1_100_000)).await), ("refuse", "too large"));
    handler.deliver(&[delivery(2, &incoming("2", "m"))]).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_retried_until_it_accepts_writes() {
    let server = RedisServer::start_new();
    let url = format!("url = {:?}", server.url());
    let handler = open("redis", &url).await.unwrap();
    server.ask::<String>(&["REPLICAOF", "127.0.0.1", "1"]);
    let late = open("redis", &url).await.expect("a replica may become what it replicates");
    for handler in [&handler, &late] {
        assert_eq!(class_of(&failure(&**handler, 1, &incoming("1", "m")).await), ("retry", "read-only"));
    }
    server.ask::<String>(&["REPLICAOF", "NO", "ONE"]);
    handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    late.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_with_a_new_connection() {
    let server = RedisServer::start_new();
    let handler = open("redis", &format!("url = {:?}", server.url())).await.unwrap();
    server.signal(Signal::STOP);
    let begun = Instant::now();
    assert_eq!(class_of(&failure(&*handler, 1, &incoming("1", "m")).await), ("retry", "timeout"));
    assert!(begun.elapsed().as_secs() < 14, "longer than a delivery may take");
    server.signal(Signal::CONT);
    handler.deliver(&[delivery(2, &incoming("2", "m"))]).await.unwrap();
}

#[tokio::test]
async fn a_batch_with_a_key_that_is_no_stream_adds_nothing() {
    let server = RedisServer::start_new();
    server.ask::<String>(&["SET", "bik:read", "x"]);
    let by_status = format!("url = {:?}\nstream = \"bik:{{status}}\"", server.url());
    let handler = open("redis", &by_status).await.unwrap();
    let events = [("1", "sent"), ("2", "read"), ("3", "sent")];
    let events = events.map(|(id, value)| delivery(id.parse().unwrap(), &status(id, "m", value)));
    for _ in 0..3 {
        let failure = handler.deliver(&events).await.unwrap_err();
        assert_eq!(class_of(&failure), ("refuse", "wrong type"));
        assert!(failure.to_string().contains("bik:read holds a string"), "{failure}");
    }
    assert_eq!(server.ask::<u64>(&["EXISTS", "bik:sent"]), 0);
    // As dispatch halves it.
    handler.deliver(&events[..1]).await.unwrap();
    assert_eq!(class_of(&handler.deliver(&events[1..2]).await.unwrap_err()), ("refuse", "wrong type"));
    handler.deliver(&events[2..]).await.unwrap();
    assert_eq!(entries(&server, "bik:sent").len(), 2);
    server.ask::<u64>(&["DEL", "bik:read"]);
    handler.deliver(&events[1..2]).await.unwrap();
    assert_eq!(entries(&server, "bik:read").len(), 1);
}

#[tokio::test]
async fn a_stream_by_the_event_needs_the_type_of_its_key_and_says_so() {
    let server = RedisServer::start_new();
    server.ask::<String>(&["ACL", "SETUSER", "writer", "on", ">w", "~bik:*", "+xadd", "+multi", "+exec"]);
    let url = server.url().replace("redis://", "redis://writer:w@");
    let handler = open("redis", &format!("url = {url:?}\nstream = \"bik:{{status}}\"")).await.unwrap();
    let events = [delivery(1, &status("1", "m", "sent"))];
    let failure = handler.deliver(&events).await.unwrap_err();
    assert_eq!(class_of(&failure), ("misconfigured", "permission"));
    assert!(failure.to_string().contains("+type"), "{failure}");
    server.ask::<String>(&["ACL", "SETUSER", "writer", "+type"]);
    handler.deliver(&events).await.unwrap();
    assert_eq!(entries(&server, "bik:sent").len(), 1);
}

#[test]
fn only_events_whose_key_is_no_stream_become_dead_letters() {
    let server = RedisServer::start_new();
    server.ask::<String>(&["SET", "bik:read", "x"]);
    let mut home = Home::new();
    home.more = format!(
        "[handlers.out]\nkind = \"redis\"\nurl = {:?}\nstream = \"bik:{{status}}\"\nstart = \"beginning\"\n",
        server.url()
    );
    let mut receiver = home.start();
    let value = |n: u32| if n % 10 == 3 { "read" } else { "sent" };
    let events: Vec<String> =
        (0..50).map(|n| status(&format!("id-{n}"), &format!("m-{n}"), value(n))).collect();
    assert_eq!(receiver.connect().post(&format!("[{}]", events.join(","))).unwrap().status, 200);
    home.wait_until_delivered_to("out");
    let metrics = receiver.operator().get("/metrics").unwrap();
    assert!(metrics.body.contains("bikhook_dead_letters{handler=\"out\"} 5\n"), "{}", metrics.body);
    receiver.stop();
    let seqs: Vec<u32> =
        entries(&server, "bik:sent").iter().map(|(_, fields)| fields["seq"].parse().unwrap()).collect();
    assert_eq!(seqs, (1..=50).filter(|seq| value(seq - 1) == "sent").collect::<Vec<_>>());
}

#[tokio::test]
async fn deliveries_given_up_leave_at_most_one_more_copy_with_the_same_keys() {
    let server = RedisServer::start_new();
    let handler = open("redis", &format!("url = {:?}", server.url())).await.unwrap();
    let events = [1, 2, 3].map(|seq| delivery(seq, &incoming(&seq.to_string(), "m")));
    server.signal(Signal::STOP);
    give_up(&*handler, &events, 6).await;
    server.signal(Signal::CONT);
    handler.deliver(&events).await.unwrap();
    let kept = entries(&server, "bik:events");
    assert!((3..=6).contains(&kept.len()), "{} of 3 events", kept.len());
    let keys: Vec<&str> = kept.iter().map(|(_, fields)| fields["key"].as_str()).collect();
    let expected = events.each_ref().map(|delivery| delivery.key().to_string());
    assert!(keys.chunks(3).all(|copy| copy == expected), "{keys:?}");
}

#[tokio::test]
async fn errors_name_wrong_credentials_missing_rights_and_other_keys() {
    let server = RedisServer::start_new();
    server.ask::<String>(&["SET", "bik:text", "x"]);
    server.ask::<String>(&["ACL", "SETUSER", "reader", "on", ">r", "~*", "+@read"]);
    server.ask::<String>(&[
        "ACL", "SETUSER", "writer", "on", ">w", "~bik:*", "+xadd", "+multi", "+exec", "+discard",
    ]);
    let at = |user: &str, rest: &str| {
        format!("url = \"{}\"\n{rest}", server.url().replace("redis://", &format!("redis://{user}@")))
    };
    for (settings, words) in [
        (at("writer:sesame", ""), "refuses the credentials"),
        (at("reader:r", ""), "+xadd"),
        (at("writer:w", "stream = \"other\""), "NOPERM"),
        (format!("url = {:?}\nstream = \"bik:text\"", server.url()), "holds a string"),
        (format!("url = \"{}/99\"", server.url()), "url"),
    ] {
        let error = open("redis", &settings).await.err().unwrap_or_else(|| panic!("took {settings}"));
        assert!(error.contains(words) && !error.contains("sesame"), "{settings}: {error}");
    }
    let writer = open("redis", &at("writer:w", "")).await.unwrap();
    writer.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    server.ask::<String>(&["ACL", "SETUSER", "writer", "-xadd"]);
    assert_eq!(class_of(&failure(&*writer, 2, &incoming("2", "m")).await), ("misconfigured", "permission"));
    server.ask::<String>(&["ACL", "SETUSER", "writer", "+xadd"]);
    writer.deliver(&[delivery(2, &incoming("2", "m"))]).await.unwrap();
    server.ask::<u64>(&["DEL", "bik:events"]);
    server.ask::<String>(&["SET", "bik:events", "x"]);
    assert_eq!(class_of(&failure(&*writer, 3, &incoming("3", "m")).await), ("misconfigured", "wrong type"));
}

#[tokio::test]
async fn tls_is_verified() {
    let certificate = Certificate::make();
    let [port] = free_ports();
    let (cert, key, ca) = (certificate.cert(), certificate.key(), certificate.ca());
    let files = [&cert, &key, &ca].map(|path| path.to_str().unwrap());
    let _server = RedisServer::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        files[0],
        "--tls-key-file",
        files[1],
        "--tls-ca-cert-file",
        files[2],
    ]);
    let url = RedisServer::tls_url(port);
    let handler = open("redis", &format!("url = {url:?}\nca = {ca:?}")).await.unwrap();
    handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    for stranger in
        [format!("url = {url:?}"), format!("url = {:?}\nca = {ca:?}", url.replace("127.0.0.1", "localhost"))]
    {
        let error = open("redis", &stranger).await.err().unwrap();
        assert!(
            error.contains("the TLS connection to the server failed") && error.contains("`ca`"),
            "{error}"
        );
    }
}
