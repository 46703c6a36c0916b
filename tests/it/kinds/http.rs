//! The `http` kind, with a web server whose answers the test sets.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bikhook::handler::{About, Delivery, Failure};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{delivery, open},
    kinds::Fixture,
    support::{
        events::status,
        patience::LONG,
        servers::{
            certificate::Certificate,
            web::{Answer, Request, Web},
        },
    },
};

struct Endpoint {
    web: Web,
    keys: &'static str,
}

impl Endpoint {
    fn new(keys: &'static str) -> Self {
        let script = |request: &Request| {
            Answer::status(if request.body.contains(r#""id":"poison""#) { 422 } else { 200 })
        };
        Self { web: Web::new(script), keys }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    key: String,
    #[serde(borrow)]
    event: &'a RawValue,
}

impl Destination for Endpoint {
    fn settings(&self, scene: &str) -> String {
        format!("kind = \"http\"\nurl = \"http://{}/{scene}\"\n{}", self.web.address(), self.keys)
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let mut arrived = Vec::new();
        for request in self.web.came(&format!("/{scene}")) {
            let envelopes: Vec<Envelope> = if request.body.starts_with('[') {
                serde_json::from_str(&request.body).unwrap()
            } else {
                vec![serde_json::from_str(&request.body).unwrap()]
            };
            arrived.extend(
                envelopes.into_iter().map(|it| Arrival { key: it.key, event: it.event.get().to_owned() }),
            );
        }
        arrived
    }

    fn kill(&mut self) {
        self.web.kill();
    }

    fn start(&mut self) {
        self.web.start();
    }

    fn poison(&self) -> Option<String> {
        Some(status("poison", "m-poison", "sent"))
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "http",
    destination: Some(destination),
    wrong: &[
        ("", "url"),
        ("url = \"hooks.example\"", "https://"),
        ("url = \"http://169.254.169.254/latest\"", "link-local"),
        ("url = \"http://127.0.0.1:1\"\nbody = \"xml\"", "body"),
        ("url = \"http://127.0.0.1:1\"\nmode = \"binary\"", "cloudevents"),
        ("url = \"http://127.0.0.1:1\"\nheaders.Host = \"x\"", "headers.Host"),
        ("url = \"http://127.0.0.1:1\"\nsigning_keys = [\"whsec_eA==\"]", "signing_keys[0]"),
        ("url = \"https://127.0.0.1:1\"\nca = \"/no/such/file\"", "ca: /no/such/file"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Endpoint::new(""))
}

#[test]
fn http_keeps_the_contract_with_an_event_a_request() {
    hold_to(&mut Endpoint::new(""));
}

#[test]
fn http_keeps_the_contract_with_a_batch_a_request() {
    hold_to(&mut Endpoint::new("body = \"envelopes\"\nbatch = 50"));
}

fn url(web: &Web) -> String {
    format!("url = \"http://{}/hook\"\n", web.address())
}

fn sample(seq: u64) -> Delivery {
    delivery(seq, &status(&format!("e{seq}"), "wamid.€", "sent"))
}

/// The result of delivering two events, one by one or both at once.
async fn sent(keys: &str) -> (Vec<Delivery>, Vec<Request>) {
    let web = Web::new(|_| Answer::status(204));
    let events = vec![sample(1), sample(2)];
    open("http", &(url(&web) + keys)).await.unwrap().deliver(&events).await.unwrap();
    (events, web.came("/hook"))
}

#[tokio::test]
async fn a_raw_body_is_what_bik_sent_and_its_headers_tell_the_rest() {
    let (events, came) = sent("body = \"raw\"\nheaders.Authorization = \"Bearer sesame\"").await;
    assert_eq!(came.len(), 2);
    for (event, request) in events.iter().zip(&came) {
        assert_eq!(request.method, "POST");
        assert_eq!(request.body, event.event.element.raw());
        let key = event.key().to_string();
        for (name, value) in [
            ("content-type", "application/json"),
            ("authorization", "Bearer sesame"),
            ("idempotency-key", &key),
            ("bikhook-key", &key),
            ("bikhook-seq", &event.event.seq.to_string()),
            ("bikhook-source", "bik"),
            ("bikhook-event-name", "message-status-update"),
            ("bikhook-attempt", "1"),
            ("bikhook-replay", "false"),
        ] {
            assert_eq!(request.headers[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn an_envelope_is_an_object_and_envelopes_are_an_array() {
    let (events, came) = sent("").await;
    let bodies: Vec<&str> = came.iter().map(|request| request.body.as_str()).collect();
    let envelopes: Vec<String> = events.iter().map(Delivery::to_envelope).collect();
    assert_eq!(bodies, envelopes);
    let (_, came) = sent("body = \"envelopes\"").await;
    assert_eq!(came.len(), 1);
    assert_eq!(came[0].body, format!("[{}]", envelopes.join(",")));
    let (_, again) = sent("body = \"envelopes\"").await;
    assert_eq!(came[0].headers["idempotency-key"], again[0].headers["idempotency-key"]);
}

#[tokio::test]
async fn a_cloud_event_is_an_object_an_array_or_headers_with_a_body() {
    let (events, came) = sent("body = \"cloudevents\"").await;
    assert_eq!(came[0].headers["content-type"], "application/cloudevents+json; charset=utf-8");
    let structured: Vec<Value> =
        came.iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    for (event, cloud) in events.iter().zip(&structured) {
        assert_eq!(cloud["specversion"], "1.0");
        assert_eq!(cloud["id"], event.key().to_string());
        assert_eq!(cloud["source"], "bik");
        assert_eq!(cloud["type"], "ai.bik.message-status-update");
        assert_eq!(cloud["time"], event.event.received_at.to_string());
        assert_eq!(cloud["subject"], "wamid.€");
        assert_eq!(cloud["data"]["eventName"], "message-status-update");
        assert_eq!((&cloud["attempt"], &cloud["replay"]), (&1.into(), &false.into()));
    }
    let (_, came) = sent("body = \"cloudevents\"\nmode = \"batched\"").await;
    assert_eq!(came[0].headers["content-type"], "application/cloudevents-batch+json; charset=utf-8");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&came[0].body).unwrap(), structured);
    let (events, came) = sent("body = \"cloudevents\"\nmode = \"binary\"").await;
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].headers["ce-id"], events[0].key().to_string());
    assert_eq!(came[0].headers["ce-specversion"], "1.0");
    assert_eq!(came[0].headers["ce-subject"], "wamid.%E2%82%AC");
    assert_eq!(came[0].headers["content-type"], "application/json");
    assert_eq!(came[0].body, events[0].event.element.rendered());
}

#[tokio::test]
async fn the_signature_of_each_key_equals_that_of_an_independent_program() {
    const KEYS: [&str; 2] =
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3xsA4TXVOLw="];
    for body in ["envelope", "envelopes"] {
        let (_, came) = sent(&format!("body = {body:?}\nsigning_keys = {KEYS:?}")).await;
        for request in &came {
            let expected = KEYS.map(|key| {
                let (id, time) = (&request.headers["webhook-id"], &request.headers["webhook-timestamp"]);
                signed_by_python(key, &format!("{id}.{time}.{}", request.body))
            });
            assert_eq!(request.headers["webhook-signature"], expected.join(" "));
        }
    }
}

fn signed_by_python(key: &str, text: &str) -> String {
    const PROGRAM: &str = "import sys, hmac, hashlib, base64\n\
        key = base64.b64decode(sys.argv[1].removeprefix('whsec_'))\n\
        mac = hmac.new(key, sys.stdin.buffer.read(), hashlib.sha256)\n\
        print('v1,' + base64.b64encode(mac.digest()).decode(), end='')";
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap()
}

/// The result of a delivery that gets this answer.
async fn answered(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<(), Failure> {
    let web = Web::new(move |_| answer());
    open("http", &url(&web)).await.unwrap().deliver(&[sample(1)]).await
}

#[tokio::test]
async fn a_status_decides() {
    for code in [200, 201, 202, 204, 299] {
        answered(move || Answer::status(code)).await.unwrap();
    }
    let text = "no such order ".repeat(10_000);
    for (code, wanted) in [
        (301, "misconfigured"),
        (307, "misconfigured"),
        (400, "refuse"),
        (401, "misconfigured"),
        (403, "misconfigured"),
        (404, "misconfigured"),
        (408, "retry"),
        (410, "gone"),
        (413, "refuse"),
        (414, "refuse"),
        (422, "refuse"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ] {
        let text = text.clone();
        let failure = answered(move || Answer::Status(code, "location: /elsewhere\r\n", text.clone())).await;
        let (name, class, error) = match failure.unwrap_err() {
            Failure::Retry { class, error, .. } => ("retry", class, error),
            Failure::Refuse { class, error } => ("refuse", class, error),
            Failure::Misconfigured { class, error, .. } => ("misconfigured", class, error),
            Failure::Gone { class, error } => ("gone", class, error),
        };
        assert_eq!((name, class), (wanted, format!("status {code}")));
        let error = error.whole();
        assert!(error.contains("no such order") && error.len() < 17_000, "{} bytes", error.len());
    }
}

#[tokio::test]
async fn events_accepted_before_a_failed_request_are_reported() {
    let web = Web::new(|request| Answer::status(if request.body.contains("\"e2\"") { 503 } else { 200 }));
    let events = [1, 2, 3].map(sample);
    let failure = open("http", &url(&web)).await.unwrap().deliver(&events).await.unwrap_err();
    assert!(matches!(&failure, Failure::Retry { class, .. } if class == "status 503"), "{failure:?}");
    assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, false, false]);
    assert_eq!(events.each_ref().map(Delivery::is_sent), [true, true, false]);
}

#[tokio::test]
async fn status_409_is_a_repetition_only_where_the_settings_say_so() {
    let web = Web::new(|_| Answer::status(409));
    for (settings, about) in [
        (url(&web), About::Event),
        (format!("{}\nconflict_is_delivered = true", url(&web)), About::Repetition),
    ] {
        let handler = open("http", &settings).await.unwrap();
        let failure = handler.deliver(&[sample(1)]).await.unwrap_err();
        assert!(matches!(failure, Failure::Retry { about: told, .. } if told == about), "{failure:?}");
    }
    // If a connection breaks, the event may have arrived. If it was never made, the event has not arrived.
    let broken = answered(|| Answer::Close).await.unwrap_err();
    assert!(matches!(broken, Failure::Retry { about: About::Unanswered, .. }), "{broken:?}");
}

#[tokio::test]
async fn a_wait_that_the_destination_asks_for_is_passed_on() {
    let failure = answered(|| Answer::Status(429, "retry-after: 120\r\n", String::new())).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Retry { after: Some(after), .. } if after == Duration::from_secs(120)),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_broken_connection_is_retried_and_a_status_alone_is_an_answer() {
    let failure = answered(|| Answer::Close).await.unwrap_err();
    assert!(matches!(&failure, Failure::Retry { class, .. } if class == "connection"), "{failure:?}");
    answered(|| Answer::HeadOnly(200)).await.unwrap();
    let web =
        Web::new(|request| if request.body.contains("\"e1\"") { Answer::Hang } else { Answer::status(200) });
    let handler = open("http", &url(&web)).await.unwrap();
    tokio::time::timeout(Duration::from_millis(300), handler.deliver(&[sample(1)])).await.unwrap_err();
    handler.deliver(&[sample(2)]).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let web = Web::new(|_| Answer::Status(200, "", "thanks".to_owned()));
    let handler = open("http", &url(&web)).await.unwrap();
    for seq in 1..=20 {
        handler.deliver(&[sample(seq)]).await.unwrap();
    }
    assert_eq!(web.came("/hook").len(), 20);
    assert!(web.connections() <= 2, "{} connections", web.connections());
}

#[tokio::test]
async fn a_connection_takes_no_request_after_its_time() {
    let web = Web::new(|_| Answer::status(200));
    let handler = open("http", &(url(&web) + "max_connection_age = \"1s\"")).await.unwrap();
    let begun = Instant::now();
    let mut seq = 0;
    while web.connections() < 3 {
        assert!(begun.elapsed() < LONG, "{} connections after {seq} requests", web.connections());
        seq += 1;
        handler.deliver(&[sample(seq)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(web.came("/hook").len() > 3, "a connection for each request");
}

#[tokio::test]
async fn a_connection_age_shorter_than_a_request_is_a_settings_error() {
    let settings = "url = \"http://127.0.0.1:1\"\nmax_connection_age = \"0s\"";
    let error = open("http", settings).await.err().expect("it took it");
    assert!(error.contains("max_connection_age") && error.contains("1s"), "{error}");
}

#[tokio::test]
async fn a_request_on_a_closed_kept_connection_is_sent_again_as_attempt_2() {
    let closes = AtomicBool::new(true);
    let web = Web::new(move |request| {
        let closes = request.body.contains("\"e2\"") && closes.swap(false, Ordering::SeqCst);
        if closes { Answer::Close } else { Answer::status(200) }
    });
    let handler = open("http", &url(&web)).await.unwrap();
    handler.deliver(&[sample(1)]).await.unwrap();
    handler.deliver(&[sample(2)]).await.unwrap();
    let attempts: Vec<Value> = web
        .came("/hook")
        .iter()
        .map(|it| serde_json::from_str::<Value>(&it.body).unwrap()["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 1, 2]);
    assert_eq!(web.connections(), 2, "the second try is on a connection of its own");
}

#[tokio::test]
async fn a_destination_that_closes_every_connection_has_two_requests_a_delivery() {
    let web = Web::new(|_| Answer::Close);
    let handler = open("http", &url(&web)).await.unwrap();
    let failure = handler.deliver(&[sample(1)]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Retry { class, .. } if class == "connection"), "{failure:?}");
    assert_eq!(web.came("/hook").len(), 2);
}

#[tokio::test]
async fn a_handler_opens_while_its_server_is_down_or_its_name_unknown() {
    let mut web = Web::new(|_| Answer::status(200));
    web.kill();
    let handler = open("http", &url(&web)).await.unwrap();
    let failure = handler.deliver(&[sample(1)]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Retry { class, .. } if class == "connect"), "{failure:?}");
    web.start();
    handler.deliver(&[sample(1)]).await.unwrap();
    let begun = Instant::now();
    let handler = open("http", "url = \"http://nobody.invalid/s3cret\"").await.unwrap();
    let failure = handler.deliver(&[sample(1)]).await.unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure:?}");
    assert!(!failure.to_string().contains("s3cret"), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn over_tls_only_an_authority_that_is_trusted_will_do() {
    let certificate = Certificate::make();
    let web = Web::with(Some(certificate.server_config()), |_| Answer::status(200));
    let url = format!("url = \"https://{}/hook\"\n", web.address());
    let error = open("http", &url).await.err().expect("it trusts anybody");
    assert!(error.contains("certificate") && error.contains("set `ca`"), "{error}");
    let handler = open("http", &format!("{url}ca = {:?}", certificate.ca())).await.unwrap();
    handler.deliver(&[sample(1)]).await.unwrap();
    assert_eq!(web.came("/hook").len(), 1);
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("url = \"https://{}/hook\"", plain.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = open("http", &url).await.err().expect("it is content with plain text");
    assert!(error.contains("does not speak TLS"), "{error}");
}
