//! The contract with Kafka brokers, and the other guarantees of the `kafka` kind.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bikhook::handler::{Delivery, Failure, Handler};
use rdkafka::types::RDKafkaRespErr as Code;
use serde_json::value::RawValue;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{deliveries, delivery, open},
    kinds::Fixture,
    support::{
        events::{incoming, status},
        home::{Home, eventually},
        servers::{
            certificate::Certificate,
            kafka::{Cluster, Doorman, Kept, Mute},
        },
    },
};

/// A larger message is refused.
const MAX_BYTES: usize = 16 * 1024;

struct Topics {
    cluster: Cluster,
    /// The messages read so far. A topic only grows.
    read: HashMap<String, Vec<Arrival>>,
}

pub const FIXTURE: Fixture = Fixture {
    kind: "kafka",
    destination: Some(destination),
    wrong: &[
        ("", "brokers"),
        ("brokers = \"kafka://h\"", "HOST:9092"),
        ("brokers = \"me:sesame@h\"", "have their own keys"),
        ("brokers = \"h\"\ntopic = \"bik {event}\"", "topic"),
        ("brokers = \"h\"\ntopic = \"bik-{name}\"", "{event}"),
        ("brokers = \"h\"\nuser = \"me\"", "password"),
        ("brokers = \"h\"\nca = \"x.pem\"", "tls = true"),
        ("brokers = \"h\"\nmax_bytes = 1", "max_bytes"),
        ("brokers = \"h\"\ntls = true\nca = \"/no/such/file\"", "/no/such/file"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Topics { cluster: Cluster::start_new(), read: HashMap::new() })
}

impl Destination for Topics {
    fn settings(&self, scene: &str) -> String {
        self.cluster.make_topic(scene);
        format!(
            "kind = \"kafka\"\nbrokers = {:?}\ntopic = {scene:?}\nmax_bytes = {MAX_BYTES}",
            self.cluster.brokers()
        )
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let read = self.read.entry(scene.to_owned()).or_default();
        read.extend(self.cluster.take_new(scene).iter().map(arrival));
        read.clone()
    }

    fn kill(&mut self) {
        self.cluster.kill();
    }

    fn start(&mut self) {
        self.cluster.start();
    }

    fn poison(&self) -> Option<String> {
        Some(status(&"x".repeat(MAX_BYTES), "m-poison", "sent"))
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

fn arrival(message: &Kept) -> Arrival {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        key: String,
        #[serde(borrow)]
        event: &'a RawValue,
    }
    let Envelope { key, event } = serde_json::from_str(&message.payload).unwrap();
    assert_eq!(message.headers["key"], key);
    Arrival { key, event: event.get().to_owned() }
}

#[test]
fn kafka_keeps_the_contract() {
    hold_to(&mut *destination());
}

async fn open_at(brokers: &str, settings: &str) -> Result<Box<dyn Handler>, String> {
    open("kafka", &format!("brokers = {brokers:?}\n{settings}")).await
}

/// The variant of a failure, and its class.
fn told(result: Result<(), Failure>) -> (&'static str, String) {
    match result {
        Ok(()) => ("ok", String::new()),
        Err(Failure::Retry { class, .. }) => ("retry", class),
        Err(Failure::Refuse { class, .. }) => ("refuse", class),
        Err(Failure::Misconfigured { class, .. }) => ("misconfigured", class),
        Err(Failure::Gone { class, .. }) => ("gone", class),
    }
}

#[tokio::test]
async fn a_message_has_the_message_id_for_its_key_and_headers_with_the_rest() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    let read = delivery(7, &status("a-1", "m", "read"));
    let none = delivery(8, r#"{"eventName":"addToCart","price":1.50}"#);
    for compress in ["none", "lz4", "snappy", "zstd"] {
        let handler = open_at(&cluster.brokers(), &format!("compress = {compress:?}")).await.unwrap();
        handler.deliver(&[read.clone(), none.clone()]).await.unwrap();
        let mut kept = cluster.take_new("bik-events");
        kept.sort_by_key(|message| message.timestamp_ms);
        assert_eq!(kept.len(), 2, "{compress}");
        assert_eq!((kept[0].key.as_str(), kept[0].payload.as_str()), ("m", read.to_envelope().as_str()));
        assert_eq!(kept[0].timestamp_ms, read.event.received_at.as_ms());
        assert_eq!(kept[1].key, none.key().to_string(), "without a message it is the event's own");
        let headers = &kept[0].headers;
        for (name, value) in [
            ("key", read.key().to_string().as_str()),
            ("seq", "7"),
            ("received_at", read.event.received_at.to_string().as_str()),
            ("source", "bik"),
            ("event_name", "message-status-update"),
            ("id", "a-1"),
            ("attempt", "1"),
            ("replay", "false"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert!(!kept[1].headers.contains_key("id"));
    }
}

#[tokio::test]
async fn a_topic_may_depend_on_the_event_and_a_message_may_be_the_event_alone() {
    let cluster = Cluster::start_new();
    for topic in ["bik.incoming.none", "bik.other.sent_"] {
        cluster.make_topic(topic);
    }
    let settings = "body = \"raw\"\ntopic = \"bik.{class}.{status}\"";
    let handler = open_at(&cluster.brokers(), settings).await.unwrap();
    let events = [delivery(8, &incoming("b-1", "n")), delivery(9, &status("c", "o", "sent."))];
    handler.deliver(&events).await.unwrap();
    assert_eq!(cluster.take_new("bik.incoming.none")[0].payload, incoming("b-1", "n"));
    assert_eq!(cluster.take_new("bik.other.sent_").len(), 1);
}

#[tokio::test]
async fn the_events_of_a_message_are_in_one_partition_in_their_order() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    let handler = open_at(&cluster.brokers(), "").await.unwrap();
    let events: Vec<_> = (0..300u64)
        .map(|seq| delivery(seq, &status(&seq.to_string(), &format!("m-{}", seq % 50), "sent")))
        .collect();
    handler.deliver(&events).await.unwrap();
    let kept = cluster.take_new("bik-events");
    let partitions: HashSet<i32> = kept.iter().map(|message| message.partition).collect();
    assert_eq!((kept.len(), partitions.len()), (300, 3));
    let mut seen: HashMap<&str, (i32, u64)> = HashMap::new();
    for message in &kept {
        let seq = message.headers["seq"].parse().unwrap();
        if let Some((partition, before)) = seen.insert(&message.key, (message.partition, seq)) {
            assert!(partition == message.partition && before < seq, "{} at {seq}", message.key);
        }
    }
}

#[tokio::test]
async fn nothing_of_a_message_is_sent_after_what_was_refused_of_it() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    let handler = open_at(&cluster.brokers(), &format!("max_bytes = {MAX_BYTES}")).await.unwrap();
    let large = status("2", "m", &"x".repeat(MAX_BYTES));
    let events = [delivery(1, &incoming("1", "n")), delivery(2, &large)];
    assert_eq!(told(handler.deliver(&events).await), ("refuse", "too large".to_owned()));
    assert!(cluster.take_new("bik-events").is_empty(), "it is known before anything is sent");
    let events = [1, 2].map(|seq| delivery(seq, &status(&seq.to_string(), "m", "sent")));
    for (answer, expected) in [
        (Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ("refuse", "too large")),
        (Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, ("refuse", "invalid record")),
        (Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ("misconfigured", "permission")),
        (Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, ("retry", "producer")),
    ] {
        cluster.answer_next(&[answer]);
        let (kind, class) = told(handler.deliver(&events).await);
        assert_eq!((kind, class.as_str()), expected, "{answer:?}");
        assert!(cluster.take_new("bik-events").is_empty(), "{answer:?}");
        handler.deliver(&events).await.unwrap_or_else(|failure| panic!("after {answer:?}: {failure}"));
        assert_eq!(cluster.take_new("bik-events").len(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn a_missing_topic_gives_an_error_with_advice() {
    let cluster = Cluster::start_new();
    let brokers = cluster.brokers();
    let error = open_at(&brokers, "").await.err().unwrap();
    assert!(error.contains("no topic \"bik-events\"") && error.contains("auto_create = true"), "{error}");
    let error = open_at(&brokers, "").await.err().unwrap();
    assert!(error.contains("no topic"), "asking for it has made it: {error}");
    let made = open_at(&brokers, "auto_create = true").await.unwrap();
    made.deliver(&deliveries(1..=2)).await.unwrap();
    // The topics are not known before the events arrive.
    let by_status = open_at(&brokers, "topic = \"bik-{status}\"").await.unwrap();
    let sent = [delivery(1, &status("1", "m", "sent"))];
    assert_eq!(told(by_status.deliver(&sent).await), ("misconfigured", "no topic".to_owned()));
    cluster.make_topic("bik-sent");
    by_status.deliver(&sent).await.unwrap();
    assert_eq!(cluster.take_new("bik-sent").len(), 1);
}

#[tokio::test]
async fn messages_acknowledged_beside_one_without_a_topic_are_reported() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-sent");
    let handler = open_at(&cluster.brokers(), "topic = \"bik-{status}\"").await.unwrap();
    let events = [
        delivery(1, &status("1", "a", "sent")),
        delivery(2, &status("2", "b", "read")),
        delivery(3, &status("3", "c", "sent")),
        delivery(4, &status("4", "b", "sent")),
    ];
    assert_eq!(told(handler.deliver(&events).await), ("misconfigured", "no topic".to_owned()));
    assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, false, true, false]);
    assert_eq!(events.each_ref().map(Delivery::is_sent), [true, true, true, false]);
    assert_eq!(cluster.take_new("bik-sent").len(), 2);
}

#[tokio::test]
async fn a_permission_that_was_taken_away_is_waited_for() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    let handler = open_at(&cluster.brokers(), "").await.unwrap();
    cluster.say_of_topic("bik-events", Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    let error = open_at(&cluster.brokers(), "").await.err().unwrap();
    assert!(error.contains("may not write") && error.contains("ACL WRITE"), "{error}");
    cluster.kill();
    assert_eq!(told(handler.deliver(&deliveries(1..=2)).await).0, "retry");
    cluster.start();
    for _ in 0..2 {
        let told = told(handler.deliver(&deliveries(1..=2)).await);
        assert_eq!(told, ("misconfigured", "permission".to_owned()));
    }
    cluster.say_of_topic("bik-events", Code::RD_KAFKA_RESP_ERR_NO_ERROR);
    handler.deliver(&deliveries(1..=2)).await.unwrap();
    assert_eq!(cluster.take_new("bik-events").len(), 2);
}

/// `localhost` may have two addresses, and the cluster listens on one of them. Which one is tried first varies.
#[tokio::test]
async fn a_broker_is_found_at_whichever_of_its_addresses() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    let brokers = cluster.brokers().replace("127.0.0.1", "localhost");
    assert!(brokers.starts_with("localhost:"), "{brokers}");
    for seq in 1..=8 {
        let handler = open_at(&brokers, "").await.unwrap();
        handler.deliver(&deliveries([seq])).await.unwrap();
    }
    assert_eq!(cluster.take_new("bik-events").len(), 8);
}

#[tokio::test]
async fn a_broker_that_hangs_is_waited_for_with_a_new_producer() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    let handler = open_at(&cluster.brokers(), "").await.unwrap();
    let events = deliveries(1..=3);
    handler.deliver(&events).await.unwrap();
    cluster.delay(Duration::from_secs(60));
    let begun = Instant::now();
    let given_up = tokio::time::timeout(Duration::from_secs(2), handler.deliver(&events)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    for _ in 0..2 {
        assert_eq!(told(handler.deliver(&events).await), ("retry", "timeout".to_owned()));
    }
    assert!(begun.elapsed().as_secs() < 25, "{:?}", begun.elapsed());
    cluster.delay(Duration::ZERO);
    handler.deliver(&deliveries(4..=6)).await.unwrap();
    let seqs: HashSet<String> = cluster
        .take_new("bik-events")
        .into_iter()
        .map(|mut message| message.headers.remove("seq").unwrap())
        .collect();
    assert!((1..=6).all(|seq: u64| seqs.contains(&seq.to_string())), "{seqs:?}");
}

#[tokio::test]
async fn a_failed_login_gives_an_error_without_the_password() {
    let doorman = Doorman::start_new();
    let with = "user = \"me\"\npassword = \"sesame\"";
    let error = open_at(&doorman.brokers(), with).await.err().unwrap();
    assert!(error.contains("Invalid username or password") && error.contains("`mechanism`"), "{error}");
    assert!(!error.contains("sesame"), "{error}");
    let scram = format!("{with}\nmechanism = \"scram-sha-512\"");
    let error = open_at(&doorman.brokers(), &scram).await.err().unwrap();
    assert!(error.contains("mechanism") && !error.contains("sesame"), "{error}");
}

#[tokio::test]
async fn tls_is_verified() {
    let certificate = Certificate::make();
    let server = Mute::start_new(&certificate);
    let named = |host: &str| format!("{host}:{}", server.port());
    let ca = format!("tls = true\nca = {:?}", certificate.ca());
    let stranger = open_at(&named("127.0.0.1"), "tls = true").await.err();
    let misnamed = open_at(&named("localhost"), &ca).await.err();
    let known = open_at(&named("127.0.0.1"), &ca).await.err();
    for error in [stranger, misnamed] {
        let error = error.expect("it was trusted");
        assert!(error.contains("certificate") && error.contains("`ca`"), "{error}");
    }
    assert_eq!(known, None, "it is no broker, but its certificate is right");
    // A peer that closes the connection during the handshake may be a stopping broker. So the failure is reported and
    // retried.
    let cluster = Cluster::start_new();
    let plain = open_at(&cluster.brokers(), "tls = true").await.unwrap();
    let failure = plain.deliver(&deliveries(1..=1)).await.unwrap_err();
    assert!(failure.to_string().contains("check `tls`"), "{failure}");
    assert_eq!(told(Err(failure)).0, "retry");
}

#[test]
fn librdkafkas_lines_are_not_logged_and_an_unreachable_broker_is() {
    let cluster = Cluster::start_new();
    cluster.make_topic("bik-events");
    cluster.kill();
    let mut home = Home::new();
    home.more = format!(
        "[handlers.out]\nkind = \"kafka\"\nbrokers = {:?}\nstart = \"beginning\"\n",
        cluster.brokers()
    );
    let mut receiver = home.start();
    assert_eq!(receiver.connect().post(&status("1", "m-secret", "sent")).unwrap().status, 200);
    // Every line is present, even one logged right after a suppressed line of the library.
    eventually("it is not told", || home.log().contains("the destination is unwell: opening is retried"));
    eventually("it is not away", || home.log().contains("connection refused failures=1"));
    receiver.stop();
    let log = home.log();
    assert!(!log.contains("librdkafka") && !log.contains("m-secret") && !log.contains(" ERROR "), "{log}");
}
