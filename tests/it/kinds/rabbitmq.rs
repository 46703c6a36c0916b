//! The contract with a RabbitMQ, and the other guarantees of the `rabbitmq` kind.

use std::{
    collections::HashMap,
    future::poll_fn,
    ops::RangeInclusive,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use bikhook::handler::{Delivery, Failure, Handler};
use lapin::types::{AMQPValue, FieldTable};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{deliveries, delivery, open},
    kinds::Fixture,
    support::{
        events::status,
        home::{Home, eventually},
        servers::{
            certificate::Certificate,
            rabbitmq::{MAX_MESSAGE_BYTES, RabbitMq, Received, short},
        },
    },
};

/// A broker with an exchange and a queue for each scene, and the messages read from its queues.
struct Broker {
    server: RabbitMq,
    taken: HashMap<String, Vec<Arrival>>,
}

impl Received {
    fn arrival(&self) -> Arrival {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            key: &'a str,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let Envelope { key, event } = serde_json::from_str(&self.body).unwrap();
        assert_eq!(self.message_id(), key);
        Arrival { key: key.to_owned(), event: event.get().to_owned() }
    }

    fn message_id(&self) -> &str {
        self.properties.message_id().as_ref().unwrap().as_str()
    }

    fn seq(&self) -> i64 {
        match self.properties.headers().as_ref().unwrap().inner()["seq"] {
            AMQPValue::LongLongInt(seq) => seq,
            ref other => panic!("{other:?}"),
        }
    }
}

impl Destination for Broker {
    fn settings(&self, scene: &str) -> String {
        self.server.make_exchange(scene);
        format!("kind = \"rabbitmq\"\nurl = {:?}\nexchange = {scene:?}", self.server.url())
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let new = self.server.take_all(scene);
        let taken = self.taken.entry(scene.to_owned()).or_default();
        taken.extend(new.iter().map(Received::arrival));
        taken.clone()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start(&mut self) {
        self.server.start();
    }

    fn poison(&self) -> Option<String> {
        Some(status(&"x".repeat(MAX_MESSAGE_BYTES), "m-poison", "sent"))
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "rabbitmq",
    destination: Some(destination),
    wrong: &[
        ("", "url"),
        ("url = \"http://h\"\nexchange = \"bik\"", "amqp://"),
        ("url = \"amqp://h\"", "exchange"),
        ("url = \"amqp://h\"\nexchange = \"bik\"\nca = \"x.pem\"", "amqps://"),
        ("url = \"amqps://h\"\nexchange = \"bik\"\nca = \"no-such.pem\"", "no-such.pem"),
        ("url = \"amqp://h\"\nexchange = \"bik\"\nrouting_key = \"{evnt}\"", "routing_key"),
        ("url = \"amqp://h\"\nrouting_key = \"{event}\"\ndeclare = true", "declare"),
        ("url = \"amqp://h\"\nexchange = \"bik\"\nbody = \"xml\"", "body"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Broker { server: RabbitMq::start_new(), taken: HashMap::new() })
}

#[test]
fn rabbitmq_keeps_the_contract() {
    hold_to(&mut *destination());
}

/// Opens a handler, or returns why it cannot be opened.
async fn open_at(url: &str, settings: &str) -> Result<Box<dyn Handler>, String> {
    open("rabbitmq", &format!("url = {url:?}\n{settings}")).await
}

/// The variant of a failure, and its class.
fn outcome(result: Result<(), Failure>) -> (&'static str, String) {
    match result {
        Ok(()) => ("ok", String::new()),
        Err(Failure::Retry { class, .. }) => ("retry", class),
        Err(Failure::Refuse { class, .. }) => ("refuse", class),
        Err(Failure::Misconfigured { class, .. }) => ("misconfigured", class),
        Err(Failure::Gone { class, .. }) => ("gone", class),
    }
}

fn told(kind: &'static str, class: &str) -> (&'static str, String) {
    (kind, class.to_owned())
}

#[tokio::test]
async fn a_broker_that_does_not_match_the_settings_gives_an_error_with_advice() {
    let server = RabbitMq::start_new();
    server.control(&["add_user", "reader", "sesame"]);
    server.control(&["set_permissions", "reader", "", "", ".*"]);
    let url = server.url();
    for (url, settings, words) in [
        (server.url_of("guest:sesame", "%2f"), "exchange = \"bik\"", ["ACCESS_REFUSED", "`url`"]),
        (server.url_of("guest:guest", "shop"), "exchange = \"bik\"", ["NOT_ALLOWED", "vhost \"shop\""]),
        (url.clone(), "exchange = \"bik\"", ["no exchange 'bik'", "declare = true"]),
        (url.clone(), "routing_key = \"events\"", ["no queue 'events'", "declare queue name=events"]),
        (
            url.clone(),
            "exchange = \"amq.direct\"\ndeclare = true",
            ["inequivalent arg 'type'", "declare = false"],
        ),
        (
            server.url_of("reader:sesame", "%2f"),
            "exchange = \"bik\"\ndeclare = true",
            ["refused", "permissions"],
        ),
    ] {
        let error = open_at(&url, settings).await.err().unwrap_or_else(|| panic!("took {url} {settings}"));
        assert!(words.iter().all(|word| error.to_lowercase().contains(&word.to_lowercase())), "{error}");
        assert!(!error.contains("sesame"), "{error}");
    }
    let handler = open_at(&url, "exchange = \"bik\"\ndeclare = true").await.unwrap();
    assert_eq!(deliver(&*handler, 1..=5).await, told("misconfigured", "unroutable"));
    let reader = open_at(&server.url_of("reader:sesame", "%2f"), "exchange = \"bik\"").await.unwrap();
    assert_eq!(deliver(&*reader, 1..=5).await, told("misconfigured", "access refused"));
    server.control(&["set_permissions", "reader", "", ".*", ".*"]);
    server.make_exchange("bik");
    reader.deliver(&deliveries(1..=5)).await.unwrap();
    handler.deliver(&deliveries(6..=7)).await.unwrap();
    assert_eq!(server.take_all("bik").len(), 7);
    server.delete_exchange("bik");
    assert_eq!(deliver(&*handler, 8..=9).await, told("misconfigured", "not found"));
    server.make_exchange("bik");
    handler.deliver(&deliveries(8..=9)).await.unwrap();
}

#[tokio::test]
async fn a_message_says_what_it_is_and_goes_where_the_settings_say() {
    let server = RabbitMq::start_new();
    let queue =
        open_at(&server.url(), "routing_key = \"events\"\ndeclare = true\nbody = \"raw\"").await.unwrap();
    let events = deliveries(1..=5);
    queue.deliver(&events).await.unwrap();
    let received = server.take_all("events");
    assert_eq!(received.len(), 5);
    for (delivery, message) in events.iter().zip(&received) {
        assert_eq!(message.body, delivery.event.element.rendered());
        assert_eq!(message.message_id(), delivery.key().to_string());
        assert_eq!(message.properties.kind().as_ref().unwrap().as_str(), delivery.event.element.name());
        assert_eq!(*message.properties.delivery_mode(), Some(2));
    }
    server.make_exchange("bik");
    let topic = open_at(&server.url(), "exchange = \"bik\"").await.unwrap();
    topic.deliver(&deliveries(1..=1)).await.unwrap();
    assert_eq!(server.take_all("bik")[0].routing_key, "bik.bik.message-status-update");
    let dropped =
        open_at(&server.url(), "routing_key = \"nobody\"\nmandatory = false\ndeclare = true").await.unwrap();
    server.delete_queue("nobody");
    dropped.deliver(&deliveries(1..=1)).await.unwrap();
}

#[tokio::test]
async fn a_broker_without_room_is_retried_and_has_everything_in_the_end() {
    let mut server = RabbitMq::start_new();
    let mut bounded = FieldTable::default();
    bounded.insert(short("x-max-length"), AMQPValue::LongLongInt(3));
    bounded.insert(short("x-overflow"), AMQPValue::LongString("reject-publish".into()));
    server.make_queue("bounded", bounded);
    let full = open_at(&server.url(), "routing_key = \"bounded\"").await.unwrap();
    assert_eq!(deliver(&*full, 1..=10).await, told("retry", "nack"));

    let handler = open_at(&server.url(), "routing_key = \"events\"\ndeclare = true").await.unwrap();
    handler.deliver(&deliveries(1..=2)).await.unwrap();
    server.control(&["set_vm_memory_high_watermark", "0.00001"]);
    for _ in 0..3 {
        assert_eq!(deliver(&*handler, 3..=4).await, told("retry", "blocked"));
    }
    server.control(&["set_vm_memory_high_watermark", "0.4"]);
    until_delivered(&*handler, 3..=4).await;

    server.signal(Signal::STOP);
    for _ in 0..2 {
        assert_eq!(deliver(&*handler, 5..=6).await.0, "retry");
    }
    server.signal(Signal::CONT);
    until_delivered(&*handler, 5..=6).await;

    server.kill();
    // Some deliveries may fail because the connection breaks; later ones because nothing listens.
    let mut ended = deliver(&*handler, 7..=8).await;
    for _ in 0..20 {
        if ended == told("retry", "connection refused") {
            break;
        }
        assert_eq!(ended.0, "retry");
        ended = deliver(&*handler, 7..=8).await;
    }
    assert_eq!(ended, told("retry", "connection refused"));
    server.start();
    handler.deliver(&deliveries(7..=8)).await.expect("the next delivery connects by itself");
    let mut seqs: Vec<i64> = server.take_all("events").iter().map(Received::seq).collect();
    seqs.dedup();
    let first = |seq| seqs.iter().position(|known| *known == seq).unwrap();
    assert!((1..8).all(|seq| first(seq) < first(seq + 1)), "{seqs:?}");
}

/// Polls the delivery once, and returns whether it is still in flight.
async fn is_in_flight<F: Future + ?Sized>(delivery: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(delivery.as_mut().poll(context).is_pending())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_a_cancelled_delivery_closes_after_the_others() {
    let server = RabbitMq::start_new();
    let handler = open_at(&server.url(), "routing_key = \"events\"\ndeclare = true").await.unwrap();
    handler.deliver(&deliveries(1..=1)).await.unwrap();
    server.signal(Signal::STOP);
    let [other, cancelled, next] = [2, 3, 4].map(|seq| deliveries(seq..=seq));
    let mut other = handler.deliver(&other);
    assert!(is_in_flight(&mut other).await);
    {
        let mut cancelled = handler.deliver(&cancelled);
        assert!(is_in_flight(&mut cancelled).await);
    }
    let mut next = handler.deliver(&next);
    assert!(is_in_flight(&mut next).await, "it makes a new connection");
    server.signal(Signal::CONT);
    let (other, next) = tokio::join!(other, next);
    other.unwrap();
    next.unwrap();
    eventually("the first connection is still open", || {
        server.control(&["--silent", "list_connections", "pid"]).lines().count() == 1
    });
    handler.deliver(&deliveries(5..=5)).await.unwrap();
}

#[tokio::test]
async fn no_later_event_of_a_message_is_queued_after_one_that_was_rejected() {
    let server = RabbitMq::start_new();
    let mut bounded = FieldTable::default();
    bounded.insert(short("x-max-length-bytes"), AMQPValue::LongLongInt(16 * 1024));
    bounded.insert(short("x-overflow"), AMQPValue::LongString("reject-publish".into()));
    server.make_queue("bounded", bounded);
    let handler = open_at(&server.url(), "routing_key = \"bounded\"").await.unwrap();
    // The queue has no room for the third message, but has room for smaller ones.
    let large = status(&"x".repeat(20 * 1024), "m", "delivered");
    let events = [
        delivery(1, &status("1", "n", "sent")),
        delivery(2, &status("2", "m", "sent")),
        delivery(3, &large),
        delivery(4, &status("4", "m", "read")),
    ];
    assert_eq!(outcome(handler.deliver(&events).await), told("retry", "nack"));
    assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, true, false, false]);
    assert_eq!(events.each_ref().map(Delivery::is_sent), [true, true, true, false]);
    let seqs = || server.take_all("bounded").iter().map(Received::seq).collect::<Vec<_>>();
    assert_eq!(seqs(), [1, 2]);
    handler.deliver(&events[3..]).await.unwrap();
    assert_eq!(seqs(), [4]);
}

#[tokio::test]
async fn messages_confirmed_beside_an_unroutable_one_are_reported() {
    let server = RabbitMq::start_new();
    server.make_queue("sent", FieldTable::default());
    let handler = open_at(&server.url(), "routing_key = \"{status}\"").await.unwrap();
    let events = [
        delivery(1, &status("1", "a", "sent")),
        delivery(2, &status("2", "b", "read")),
        delivery(3, &status("3", "c", "sent")),
        delivery(4, &status("4", "b", "sent")),
    ];
    assert_eq!(outcome(handler.deliver(&events).await), told("misconfigured", "unroutable"));
    assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, false, true, false]);
    assert_eq!(events.each_ref().map(Delivery::is_sent), [true, true, true, false]);
    let mut seqs: Vec<i64> = server.take_all("sent").iter().map(Received::seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 3]);
}

#[tokio::test]
async fn an_id_of_any_length_is_cut_in_the_header_and_whole_in_the_body() {
    let server = RabbitMq::with("frame_max = 8192\n");
    let handler = open_at(&server.url(), "routing_key = \"events\"\ndeclare = true").await.unwrap();
    let id = format!("{}é{}", "x".repeat(1_023), "y".repeat(20_000));
    handler.deliver(&[delivery(1, &status(&id, "m", "sent"))]).await.unwrap();
    let [message] = <[Received; 1]>::try_from(server.take_all("events")).ok().expect("one message");
    assert!(message.body.contains(&id));
    let headers = message.properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["id"], AMQPValue::LongString("x".repeat(1_023).into()), "no character is cut in two");
}

#[tokio::test]
async fn tls_is_verified_and_a_broker_that_is_away_is_none_that_is_wrong() {
    let (certificate, other) = (Certificate::make(), Certificate::make());
    let mut server = RabbitMq::with_tls(&certificate);
    server.make_exchange("bik");
    let url = server.tls_url();
    let ca = |certificate: &Certificate| format!("exchange = \"bik\"\nca = {:?}", certificate.ca());
    let handler = open_at(&url, &ca(&certificate)).await.unwrap();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    let at_plain_port = server.url().replace("amqp://", "amqps://");
    for (url, settings, words) in [
        (url.clone(), "exchange = \"bik\"".to_owned(), "UnknownIssuer"),
        (url.clone(), ca(&other), "UnknownIssuer"),
        (url.replace("127.0.0.1", "localhost"), ca(&certificate), "not valid for name"),
        (at_plain_port, ca(&certificate), "corrupt message"),
    ] {
        let error = open_at(&url, &settings).await.err().unwrap_or_else(|| panic!("took {url} {settings}"));
        assert!(error.contains(words) && error.contains("`ca`"), "{url}: {error}");
        assert!(!error.contains("guest"), "{error}");
    }
    server.kill();
    let late = open_at(&url, &ca(&certificate)).await.expect("it is away, not wrong");
    assert_eq!(deliver(&*late, 4..=6).await, told("retry", "connection refused"));
    server.start();
    until_delivered(&*late, 4..=6).await;
    assert_eq!(server.take_all("bik").len(), 6);
}

#[test]
fn returned_messages_are_not_in_the_log() {
    let server = RabbitMq::start_new();
    let mut home = Home::new();
    home.more = format!(
        "[handlers.out]\nkind = \"rabbitmq\"\nurl = {:?}\nexchange = \"amq.topic\"\nstart = \"beginning\"\n",
        server.url()
    );
    let mut receiver = home.start();
    assert_eq!(receiver.connect().post(&status("1", "m", "sent")).unwrap().status, 200);
    eventually("it is not unroutable", || home.log().contains("unroutable"));
    receiver.stop();
    assert!(!home.log().contains("returned us") && !home.log().contains("lapin"), "{}", home.log());
}

/// As in dispatch: a delivery that takes too long is cancelled.
async fn deliver(handler: &dyn Handler, seqs: RangeInclusive<u64>) -> (&'static str, String) {
    let events = deliveries(seqs);
    match tokio::time::timeout(Duration::from_secs(10), handler.deliver(&events)).await {
        Ok(result) => outcome(result),
        Err(_elapsed) => told("retry", "too long"),
    }
}

async fn until_delivered(handler: &dyn Handler, seqs: RangeInclusive<u64>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match deliver(handler, seqs.clone()).await {
            ("ok", _) => return,
            (kind, class) => assert!(Instant::now() < deadline && kind == "retry", "{kind}: {class}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
