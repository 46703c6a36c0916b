//! The contract with a NATS server, and the other guarantees of the `nats` kind.

use std::{collections::HashMap, time::Instant};

use async_nats::{ConnectOptions, jetstream::stream::Config};
use bikhook::handler::{Delivery, Failure};
use rustix::process::Signal;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{deliveries, delivery, give_up, open},
    kinds::Fixture,
    support::{
        events::{incoming, status},
        servers::{
            certificate::Certificate,
            nats::{Kept, NatsServer},
            nats_operator::Operator,
        },
    },
};

/// Its streams refuse larger messages.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

struct Streams {
    server: NatsServer,
    /// The messages read so far. A stream only grows.
    read: HashMap<String, Vec<Arrival>>,
}

pub const FIXTURE: Fixture = Fixture {
    kind: "nats",
    destination: Some(destination),
    wrong: &[
        ("", "url"),
        ("url = \"http://127.0.0.1\"", "url"),
        ("url = \"nats://me:sesame@127.0.0.1\"", "user and password"),
        ("url = \"nats://127.0.0.1:1\"\nsubject = \"bik.{name}\"", "{event}"),
        ("url = \"nats://127.0.0.1:1\"\ncreate_stream = true", "stream ="),
        ("url = \"nats://127.0.0.1:1\"\ncredentials = \"x\"", ".creds"),
        ("url = \"nats://127.0.0.1:1\"\ntls = true\nca = \"/no/such/file\"", "ca"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Streams { server: NatsServer::start_new(), read: HashMap::new() })
}

impl Destination for Streams {
    fn settings(&self, scene: &str) -> String {
        self.server.make_stream(stream(scene, &format!("{scene}.>")));
        format!(
            "kind = \"nats\"\nurl = {:?}\nsubject = \"{scene}.{{source}}.{{event}}\"\nstream = {scene:?}",
            self.server.url()
        )
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let read = self.read.entry(scene.to_owned()).or_default();
        let messages = self.server.messages(scene, read.len() as u64 + 1);
        read.extend(messages.into_iter().map(|message| arrival(&message)));
        read.clone()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start(&mut self) {
        self.server.start();
    }

    fn poison(&self) -> Option<String> {
        let text = "x".repeat(MAX_MESSAGE_BYTES);
        Some(format!(r#"{{"eventName":"addToCart","id":"poison","text":"{text}"}}"#))
    }

    fn is_idempotent(&self) -> bool {
        true
    }
}

fn stream(name: &str, subject: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        max_message_size: i32::try_from(MAX_MESSAGE_BYTES).unwrap(),
        ..Config::default()
    }
}

fn arrival(message: &Kept) -> Arrival {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        key: String,
        #[serde(borrow)]
        event: &'a serde_json::value::RawValue,
    }
    let Envelope { key, event } = serde_json::from_str(&message.payload).unwrap();
    assert_eq!(message.headers.get("Bikhook-Key").unwrap().as_str(), key);
    Arrival { key, event: event.get().to_owned() }
}

#[test]
fn nats_keeps_the_contract() {
    hold_to(&mut *destination());
}

#[tokio::test]
async fn a_message_has_the_envelope_or_the_event_and_headers_for_the_rest() {
    let server = NatsServer::start_new();
    server.make_stream(stream("BIK", "bik.>"));
    let url = server.url();
    let read = delivery(7, &status("a-1", "m", "read"));
    open("nats", &format!("url = {url:?}"))
        .await
        .unwrap()
        .deliver(std::slice::from_ref(&read))
        .await
        .unwrap();
    let raw = format!(
        "url = [\"nats://127.0.0.1:1\", {url:?}]\nbody = \"raw\"\nsubject = \"bik.{{class}}.{{status}}\""
    );
    let raw = open("nats", &raw).await.unwrap();
    raw.deliver(&[delivery(8, &incoming("b-1", "n")), delivery(9, &status("c", "o", "sent."))])
        .await
        .unwrap();
    let messages = server.messages("BIK", 1);
    let subjects: Vec<&str> = messages.iter().map(|message| message.subject.as_str()).collect();
    assert_eq!(subjects, ["bik.bik.message-status-update", "bik.incoming.none", "bik.other.sent_"]);
    assert_eq!(messages[0].payload, read.to_envelope());
    assert_eq!(messages[1].payload, incoming("b-1", "n"));
    let header = |name: &str| messages[0].headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(header("Bikhook-Key"), read.key().to_string());
    assert!(header("Nats-Msg-Id").ends_with(&format!(".{}", read.key())));
    assert_eq!(header("Bikhook-Seq"), "7");
    assert_eq!(header("Bikhook-Source"), "bik");
    assert_eq!(header("Bikhook-Event"), "message-status-update");
    assert_eq!(header("Bikhook-Id"), "a-1");
    assert_eq!(header("Bikhook-Attempt"), "1");
    assert!(header("Bikhook-Received-At").ends_with('Z'));
}

#[tokio::test]
async fn without_a_stream_it_says_how_to_make_one_or_makes_it() {
    let server = NatsServer::start_new();
    let url = format!("url = {:?}\n", server.url());
    let error = async |settings: &str| open("nats", &(url.clone() + settings)).await.err().unwrap();
    let none = error("").await;
    assert!(none.contains("nats stream add BIK --subjects 'bik.*.*'"), "{none}");
    let named = error("stream = \"CRM\"").await;
    assert!(named.contains("there is no stream CRM") && named.contains("create_stream"), "{named}");
    let made = url.clone() + "stream = \"CRM\"\ncreate_stream = true";
    for _ in 0..2 {
        let handler = open("nats", &made).await.unwrap();
        handler.deliver(&[delivery(1, &incoming("a", "m"))]).await.unwrap();
    }
    assert_eq!(server.messages("CRM", 1).len(), 1, "it came twice with one key");
    let other = error("stream = \"CRM\"\nsubject = \"other.{event}\"").await;
    assert!(other.contains("does not capture the subject other.*"), "{other}");
}

#[tokio::test]
async fn nothing_of_a_message_is_stored_after_what_was_refused_of_it() {
    let server = NatsServer::start_new();
    server.make_stream(stream("BIK", "bik.>"));
    let handler = open("nats", &format!("url = {:?}", server.url())).await.unwrap();
    let large = status("2", "m", &"x".repeat(MAX_MESSAGE_BYTES));
    let events =
        [delivery(1, &status("1", "m", "sent")), delivery(2, &large), delivery(3, &status("3", "m", "read"))];
    let failure = handler.deliver(&events).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refuse { class, .. } if class == "too large"), "{failure:?}");
    assert_eq!(server.messages("BIK", 1).len(), 1);
    let huge = status("4", "n", &"x".repeat(1024 * 1024));
    let failure = handler.deliver(&[delivery(4, &incoming("5", "o")), delivery(5, &huge)]).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Refuse { error, .. } if error.whole().contains("max_payload")),
        "{failure:?}"
    );
    assert_eq!(
        server.messages("BIK", 1).len(),
        1,
        "what is too large for the server is known before anything is sent"
    );
}

#[tokio::test]
async fn a_full_stream_is_waited_for() {
    let server = NatsServer::start_new();
    let full = Config {
        max_messages: 2,
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        ..stream("BIK", "bik.>")
    };
    server.make_stream(full);
    let handler = open("nats", &format!("url = {:?}", server.url())).await.unwrap();
    let events = [1, 2, 3].map(|seq| delivery(seq, &incoming(&seq.to_string(), "m")));
    let failure = handler.deliver(&events).await.unwrap_err();
    assert!(matches!(&failure, Failure::Retry { class, .. } if class == "stream full"), "{failure:?}");
    assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, true, false]);
    server.purge("BIK");
    handler.deliver(&events[2..]).await.unwrap();
}

#[tokio::test]
async fn messages_stored_beside_a_refused_one_are_reported() {
    let server = NatsServer::start_new();
    server.make_stream(stream("BIK", "bik.>"));
    let handler = open("nats", &format!("url = {:?}", server.url())).await.unwrap();
    let large = status("2", "b", &"x".repeat(MAX_MESSAGE_BYTES));
    let events = [
        delivery(1, &status("1", "a", "sent")),
        delivery(2, &large),
        delivery(3, &status("3", "c", "sent")),
        delivery(4, &status("4", "b", "read")),
    ];
    let failure = handler.deliver(&events).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refuse { class, .. } if class == "too large"), "{failure:?}");
    assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, false, true, false]);
    assert_eq!(events.each_ref().map(Delivery::is_sent), [true, true, true, false]);
    assert_eq!(server.messages("BIK", 1).len(), 2);
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_with_a_new_connection() {
    let server = NatsServer::start_new();
    server.make_stream(stream("BIK", "bik.>"));
    let handler = open("nats", &format!("url = {:?}", server.url())).await.unwrap();
    let events = [delivery(1, &incoming("1", "m"))];
    server.signal(Signal::STOP);
    for _ in 0..2 {
        let begun = Instant::now();
        let failure = handler.deliver(&events).await.unwrap_err();
        assert!(matches!(&failure, Failure::Retry { class, .. } if class == "timeout"), "{failure:?}");
        assert!(begun.elapsed().as_secs() < 10);
    }
    server.signal(Signal::CONT);
    handler.deliver(&events).await.unwrap();
    assert_eq!(server.messages("BIK", 1).len(), 1);
}

/// A replayed message has no id by which the stream could deduplicate it, so each copy would be stored.
#[tokio::test]
async fn cancelled_deliveries_leave_one_copy() {
    let server = NatsServer::start_new();
    server.make_stream(stream("BIK", "bik.>"));
    let handler = open("nats", &format!("url = {:?}", server.url())).await.unwrap();
    let events = [Delivery::new(delivery(1, &incoming("1", "m")).event, 2, true)];
    server.signal(Signal::STOP);
    give_up(&*handler, &events, 6).await;
    server.signal(Signal::CONT);
    handler.deliver(&events).await.unwrap();
    let copies = server.messages("BIK", 1).len();
    assert!((1..=2).contains(&copies), "{copies}");
}

const USERS: &str = r#"authorization { users: [
    { user: "admin", password: "a" },
    { user: "narrow", password: "n", permissions: { publish: ["bik.>"], subscribe: ["_INBOX.>"] } },
    { user: "blind", password: "b", permissions: { publish: ["bik.bik.incoming-message", "$JS.API.>"], subscribe: ["_INBOX.>"] } },
] }"#;

#[tokio::test]
async fn wrong_credentials_and_missing_publish_permission_are_errors() {
    let admin = ConnectOptions::new().user_and_password("admin".to_owned(), "a".to_owned());
    let mut server = NatsServer::with(USERS, admin);
    server.make_stream(stream("BIK", "bik.>"));
    let url = server.url();
    let with =
        |user: &str, password: &str| format!("url = {url:?}\nuser = {user:?}\npassword = {password:?}");
    for settings in
        [format!("url = {url:?}"), with("admin", "sesame"), format!("url = {url:?}\ntoken = \"sesame\"")]
    {
        let error = open("nats", &settings).await.err().unwrap();
        assert!(error.contains("refuses the credentials") && !error.contains("sesame"), "{error}");
    }
    let narrow =
        open("nats", &with("narrow", "n")).await.expect("who may not ask about streams may still publish");
    narrow.deliver(&[delivery(1, &status("1", "m", "sent"))]).await.unwrap();
    let blind = open("nats", &with("blind", "b")).await.unwrap();
    for _ in 0..2 {
        let failure = blind.deliver(&[delivery(2, &status("2", "m", "sent"))]).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Misconfigured { class, .. } if class == "permission"),
            "{failure:?}"
        );
    }
    blind.deliver(&[delivery(3, &incoming("3", "m"))]).await.unwrap();
    assert_eq!(server.messages("BIK", 1).len(), 2);
    server.kill();
    server.configure(&USERS.replace("\"n\"", "\"changed\""));
    server.start();
    // That the connection broke is the first news.
    narrow.deliver(&[delivery(4, &incoming("4", "m"))]).await.unwrap_err();
    let failure = narrow.deliver(&[delivery(4, &incoming("4", "m"))]).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Misconfigured { class, .. } if class == "credentials"),
        "{failure:?}"
    );
}

/// The example of NATS's documentation; it is used nowhere else.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

#[tokio::test]
async fn an_nkey_lets_in_and_one_that_is_none_is_an_error() {
    let users = format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}");
    let server = NatsServer::with(&users, ConnectOptions::with_nkey(SEED.to_owned()));
    server.make_stream(stream("BIK", "bik.>"));
    let with = |nkey: &str| format!("url = {:?}\nnkey = {nkey:?}", server.url());
    let handler = open("nats", &with(SEED)).await.unwrap();
    handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    let error = open("nats", &with("SUABC")).await.err().unwrap();
    assert!(error.contains("refuses the credentials") && !error.contains("SUABC"), "{error}");
}

#[tokio::test]
async fn a_credentials_file_is_accepted_and_an_error_shows_none_of_a_wrong_one() {
    let operator = Operator::new();
    let admin = ConnectOptions::with_credentials(&operator.credentials(false)).unwrap();
    let mut server = NatsServer::with(&operator.server_config(), admin);
    server.make_stream(stream("BIK", "bik.>"));
    let folder = tempfile::tempdir().unwrap();
    let with = |name: &str, creds: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, creds).unwrap();
        format!("url = {:?}\ncredentials = {{ file = {file:?} }}", server.url())
    };
    let settings = with("bik.creds", &operator.credentials(false));
    let handler = open("nats", &settings).await.unwrap();
    handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    assert_eq!(server.messages("BIK", 1).len(), 1);
    let right = operator.credentials(false);
    let seed = right.lines().find(|line| line.starts_with("SU")).unwrap();
    for (name, creds, words) in [
        ("expired.creds", operator.credentials(true), "refuses the credentials"),
        ("strange.creds", Operator::new().credentials(false), "refuses the credentials"),
        ("seed.creds", seed.to_owned(), "not the content of a .creds file"),
        ("cut.creds", right[..right.len() / 2].to_owned(), "not the content of a .creds file"),
        ("empty.creds", String::new(), "empty"),
    ] {
        let error = open("nats", &with(name, &creds)).await.err().unwrap_or_else(|| panic!("took {name}"));
        assert!(error.contains(words), "{name}: {error}");
        assert!(!error.contains("eyJ") && !error.contains(seed), "{name}: {error}");
    }
    server.kill();
    server.configure(&Operator::new().server_config());
    server.start();
    // That the connection broke is the first news.
    handler.deliver(&[delivery(2, &incoming("2", "m"))]).await.unwrap_err();
    let failure = handler.deliver(&[delivery(2, &incoming("2", "m"))]).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Misconfigured { class, .. } if class == "credentials"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn tls_is_verified_and_is_there_where_it_is_demanded() {
    let certificate = Certificate::make();
    let tls = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", certificate.cert(), certificate.key());
    let connect = ConnectOptions::new().add_root_certificates(certificate.ca());
    let server = NatsServer::with(&tls, connect);
    server.make_stream(stream("BIK", "bik.>"));
    let url = server.url().replace("nats://", "tls://");
    let ca = format!("ca = {:?}", certificate.ca());
    let handler = open("nats", &format!("url = {url:?}\n{ca}")).await.unwrap();
    handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    let stranger = open("nats", &format!("url = {url:?}")).await.err().unwrap();
    assert!(stranger.contains("the TLS connection to") && stranger.contains("`ca`"), "{stranger}");
    let other_name = url.replace("127.0.0.1", "localhost");
    let misnamed = open("nats", &format!("url = {other_name:?}\n{ca}")).await.err().unwrap();
    assert!(misnamed.contains("the TLS connection to"), "{misnamed}");
    let plain = NatsServer::start_new();
    for demands in ["tls = true", &ca] {
        let demanded =
            open("nats", &format!("url = {:?}\n{demands}", plain.url())).await.err().expect("plain text");
        assert!(demanded.contains("TLS"), "{demanded}");
    }
}

#[tokio::test]
async fn a_deleted_stream_is_recreated_if_configured() {
    let server = NatsServer::start_new();
    let keys = format!("url = {:?}\nstream = \"BIK\"\ncreate_stream = ", server.url());
    let makes = open("nats", &(keys.clone() + "true")).await.unwrap();
    let waits = open("nats", &(keys + "false")).await.unwrap();
    for handler in [&makes, &waits] {
        handler.deliver(&deliveries(1..=3)).await.unwrap();
    }
    server.delete_stream("BIK");
    let failure = waits.deliver(&deliveries(4..=5)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Misconfigured { class, .. } if class == "no stream"), "{failure:?}");
    makes.deliver(&deliveries(4..=5)).await.unwrap();
    assert_eq!(server.messages("BIK", 1).len(), 2);
    waits.deliver(&deliveries(1..=1)).await.unwrap();
}
