//! The contract with an S3 store, and the other guarantees of the `s3` kind.

use std::io::Read;

use bikhook::handler::{Failure, Handler};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{deliveries, delivery, open},
    kinds::Fixture,
    support::{
        events::incoming,
        servers::{
            certificate::Certificate,
            s3::S3,
            web::{Answer, Web},
        },
    },
};

/// A store: a prefix for each scene.
struct Store(S3);

impl Destination for Store {
    fn settings(&self, scene: &str) -> String {
        format!("kind = \"s3\"\n{}\nprefix = {scene:?}\ninterval = \"50ms\"", settings(&self.0, "k", "s"))
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        // Names sort as the events in the objects do.
        let names = self.0.names(scene);
        names.iter().filter(|name| name.ends_with(".gz")).flat_map(|name| arrivals(&self.0, name)).collect()
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    fn start(&mut self) {
        self.0.start();
    }

    /// A store does not read events, and a single event is far below its limit of 5 GiB. So only a batch can be too
    /// large, and half of it fits.
    fn poison(&self) -> Option<String> {
        None
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "s3",
    destination: Some(destination),
    wrong: &[
        ("", "bucket"),
        ("bucket = \"a/b\"", "prefix"),
        ("bucket = \"b\"\nprefix = \"a//b\"", "prefix"),
        ("bucket = \"b\"\nendpoint = \"minio:9000\"", "https://"),
        ("bucket = \"b\"\naccess_key_id = \"k\"", "secret_access_key"),
        ("bucket = \"b\"\nsession_token = \"t\"", "session_token"),
        ("bucket = \"b\"\ninterval = \"1m\"", "interval"),
        ("bucket = \"b\"\ncompress = \"rar\"", "compress"),
        ("bucket = \"b\"\nca = \"no-such.pem\"", "no-such.pem"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Store(S3::start_new()))
}

#[test]
fn s3_keeps_the_contract() {
    hold_to(&mut *destination());
}

fn settings(store: &S3, id: &str, secret: &str) -> String {
    format!(
        "bucket = \"bik\"\nendpoint = {:?}\naccess_key_id = {id:?}\nsecret_access_key = {secret:?}",
        store.endpoint()
    )
}

fn arrivals(store: &S3, name: &str) -> Vec<Arrival> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        key: &'a str,
        #[serde(borrow)]
        event: &'a RawValue,
    }
    let mut text = String::new();
    GzDecoder::new(&store.object(name)[..]).read_to_string(&mut text).unwrap();
    let arrival = |line: &str| {
        let Envelope { key, event } = serde_json::from_str(line).unwrap();
        Arrival { key: key.to_owned(), event: event.get().to_owned() }
    };
    text.lines().map(arrival).collect()
}

async fn refusal(settings: &str) -> String {
    open("s3", settings).await.err().unwrap_or_else(|| panic!("took {settings}"))
}

#[tokio::test]
async fn a_batch_is_one_object_and_a_repetition_replaces_it() {
    let store = S3::start_new();
    let handler = open("s3", &(settings(&store, "k", "s") + "\nprefix = \"lake\"")).await.unwrap();
    for _ in 0..2 {
        handler.deliver(&deliveries(1..=500)).await.unwrap();
        let objects: Vec<String> =
            store.names("lake").into_iter().filter(|name| name != "lake/.bikhook").collect();
        let [object] = &objects[..] else { panic!("{objects:?}") };
        assert!(
            object.starts_with("lake/2026-11-22/10/00000000000000000001-00000000000000000500-"),
            "{object}"
        );
        let arrived = arrivals(&store, object);
        assert_eq!(arrived.len(), 500);
        for (delivery, arrival) in deliveries(1..=500).iter().zip(arrived) {
            assert_eq!(arrival.key, delivery.key().to_string());
            assert_eq!(arrival.event, delivery.event.element.rendered());
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_match_the_settings_gives_an_error_with_advice() {
    let store = S3::start_new();
    let other = settings(&store, "k", "s").replace("\"bik\"", "\"no-such\"");
    let error = refusal(&other).await;
    assert!(error.contains("NoSuchBucket") && error.contains("the bucket \"no-such\" exists"), "{error}");

    // The requests after those for the bucket and the user's two need its credentials.
    let strict = S3::start_strict_after(3);
    let (id, secret) = strict.make_user();
    for (id, secret, code) in [
        ("AKIANOBODY", "sesame", "InvalidAccessKeyId"),
        (&id, "sesame", "SignatureDoesNotMatch"),
        (&id, &secret, "AccessDenied"),
    ] {
        let error = refusal(&settings(&strict, id, secret)).await;
        assert!(error.contains(code) && error.contains("s3:PutObject"), "{error}");
        assert!(!error.contains(secret), "{error}");
    }
}

#[tokio::test]
async fn a_store_away_at_the_start_is_found_later_and_a_lost_bucket_is_named() {
    let mut store = S3::start_new();
    store.kill();
    let handler = open("s3", &settings(&store, "k", "s")).await.unwrap();
    match handler.deliver(&deliveries(1..=3)).await {
        Err(Failure::Retry { class, .. }) => assert_eq!(class, "connection refused"),
        other => panic!("{other:?}"),
    }
    store.start();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    let names = store.names("");
    for name in &names {
        assert_eq!(store.ask("DELETE", &format!("/bik/{name}"), "s3", "").status, 204);
    }
    assert_eq!(store.ask("DELETE", "/bik", "s3", "").status, 204);
    gone(&*handler).await;
}

async fn gone(handler: &dyn Handler) {
    match handler.deliver(&deliveries(4..=6)).await {
        Err(Failure::Misconfigured { class, .. }) => assert_eq!(class, "NoSuchBucket"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_413_of_a_proxy_is_refused_so_that_half_of_the_batch_is_tried() {
    const LIMIT_BYTES: usize = 4096;
    let web = Web::new(|request| match request.body.len() {
        0..=LIMIT_BYTES => Answer::Status(200, "ETag: \"e\"\r\n", String::new()),
        _ => Answer::Status(413, "", "<html>413 Request Entity Too Large</html>".to_owned()),
    });
    let settings = format!(
        "bucket = \"bik\"\nendpoint = \"http://{}\"\naccess_key_id = \"k\"\nsecret_access_key = \"s\"\n\
         compress = \"none\"",
        web.address()
    );
    let handler = open("s3", &settings).await.unwrap();
    match handler.deliver(&deliveries(1..=100)).await {
        Err(Failure::Refuse { class, .. }) => assert_eq!(class, "too large"),
        other => panic!("{other:?}"),
    }
    handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
}

#[tokio::test]
async fn tls_is_verified_and_a_store_that_is_away_is_none_that_is_wrong() {
    let (certificate, other) = (Certificate::make(), Certificate::make());
    let mut store = S3::with_tls(&certificate);
    let with = |settings: String, ca: &Certificate| format!("{settings}\nca = {:?}", ca.ca());
    let right = with(settings(&store, "k", "s"), &certificate);
    let handler = open("s3", &right).await.unwrap();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    let plain = S3::start_new();
    let to_plain = settings(&plain, "k", "s").replace("http://", "https://");
    for (settings, words) in [
        (settings(&store, "k", "s"), "UnknownIssuer"),
        (with(settings(&store, "k", "s"), &other), "UnknownIssuer"),
        (right.replace("127.0.0.1", "localhost"), "not valid for name"),
        (to_plain, "does not speak TLS"),
    ] {
        let error = refusal(&settings).await;
        assert!(error.contains(words), "{settings}: {error}");
    }
    store.kill();
    let late = open("s3", &right).await.expect("it is away, not wrong");
    match late.deliver(&deliveries(4..=6)).await {
        Err(Failure::Retry { class, .. }) => assert_eq!(class, "connection refused"),
        other => panic!("{other:?}"),
    }
    store.start();
    late.deliver(&deliveries(4..=6)).await.unwrap();
    handler.deliver(&deliveries(7..=9)).await.unwrap();
}
