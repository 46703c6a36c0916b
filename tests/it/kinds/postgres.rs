//! The contract with a table of a real PostgreSQL, and the other guarantees of the `postgres` kind.

use bikhook::handler::Failure;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{deliveries, give_up, open},
    kinds::Fixture,
    support::{
        home::{Home, eventually},
        servers::{certificate::Certificate, postgres::Server},
    },
};

/// A table made by the user, with a constraint of the user, and a column that shows the order of arrival, which `ctid`
/// does not.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS TABLE_OF_SCENE (
    key text PRIMARY KEY, seq bigint, received_at timestamptz, source text, event_name text,
    bik_id text CHECK (bik_id <> 'poison'), store_id text, message_id text, status text, channel text, owner text,
    category text, customer_id text, customer_name text, phone text, created_at timestamptz, failure_reason text,
    attempt bigint, replay boolean, event jsonb, raw bytea, place bigserial NOT NULL)";

/// A table for each scene.
struct Database {
    server: Server,
}

impl Destination for Database {
    fn settings(&self, scene: &str) -> String {
        self.server.sql("bik", &TABLE.replace("TABLE_OF_SCENE", scene));
        format!(
            "kind = \"postgres\"\nurl = {:?}\npassword = \"secret\"\ntable = {scene:?}",
            self.server.url()
        )
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let select = format!("SELECT key, convert_from(raw, 'UTF8') FROM {scene} ORDER BY place");
        let arrival = |line: &str| {
            let (key, event) = line.split_once('\t').unwrap();
            Arrival { key: key.to_owned(), event: event.to_owned() }
        };
        // The table may not be there yet.
        self.server.psql("bik", &select).unwrap_or_default().lines().map(arrival).collect()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start(&mut self) {
        self.server.start();
    }

    fn poison(&self) -> Option<String> {
        Some(r#"{"eventName":"x","id":"poison"}"#.to_owned())
    }

    fn is_idempotent(&self) -> bool {
        true
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "postgres",
    destination: Some(destination),
    wrong: &[
        ("", "url"),
        ("url = \"postgres://\"", "url"),
        ("url = \"postgres://me@h/d?sslmode=perhaps\"", "url"),
        ("url = \"postgres://me@127.0.0.1:1/d\"\ntable = \"a b\"", "table"),
        ("url = \"postgres://me@h/d\"\nca = \"/no/such/file\"", "ca"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Database { server: Server::start_new() })
}

#[test]
fn postgres_keeps_the_contract() {
    hold_to(&mut *destination());
}

#[test]
fn an_event_that_jsonb_cannot_hold_is_null_and_its_bytes_are_stored() {
    let server = Server::start_new();
    let mut home = Home::new();
    home.more = format!(
        "[handlers.out]\nkind = \"postgres\"\nurl = {:?}\npassword = \"secret\"\nstart = \"beginning\"\n",
        server.url()
    );
    let mut receiver = home.start();
    let body = r#"[{"eventName":"a\u0000b","id":"1"},{"eventName":"x","id":"2","t":"\ud83d"},
        {"eventName":"x","id":"3","n":1e200000},{"eventName":"x","id":"4","n":12345678901234567890.50}]"#;
    assert_eq!(receiver.connect().post(body).unwrap().status, 200);
    home.wait_until_delivered_to("out");
    receiver.stop();
    let rows =
        "SELECT bik_id, event_name, event IS NULL, length(raw) > 0, event->>'n' FROM bik_events ORDER BY seq";
    assert_eq!(
        server.sql("bik", rows),
        "1\ta\u{fffd}b\tt\tt\t\n2\tx\tt\tt\t\n3\tx\tt\tt\t\n4\tx\tf\tt\t12345678901234567890.50\n"
    );
}

#[test]
fn a_wrong_password_and_an_unfit_table_give_errors_with_advice() {
    let server = Server::start_new();
    server.sql("bik", "CREATE TABLE other (key text PRIMARY KEY, seq bigint)");
    for (keys, word) in [
        ("password = \"wrong\"", "check the user in `url`"),
        ("password = \"secret\"\ntable = \"other\"", "lacks received_at"),
        ("password = \"secret\"\ncreate = false", "create = true"),
        ("password = \"secret\"\ntable = \"nowhere.events\"", "create the schema"),
    ] {
        let mut home = Home::new();
        home.more = format!("[handlers.out]\nkind = \"postgres\"\nurl = {:?}\n{keys}\n", server.url());
        let mut receiver = home.start();
        eventually(word, || home.log().contains(word));
        receiver.stop();
        assert!(home.log().contains("ERROR") && !home.log().contains("secret"), "{}", home.log());
    }
}

#[test]
fn a_table_of_an_older_version_gets_the_columns_that_it_lacks() {
    let server = Server::start_new();
    let mut home = Home::new();
    home.more =
        format!("[handlers.out]\nkind = \"postgres\"\nurl = {:?}\npassword = \"secret\"\n", server.url());
    let open = || {
        let is_opened = |line: &&str| line.contains("handler opened") && line.contains("postgres");
        let opened = || home.log().lines().filter(is_opened).count();
        let before = opened();
        let mut receiver = home.start();
        eventually("it is not opened", || opened() > before);
        receiver.stop();
    };
    open();
    let version = "SELECT obj_description('bik_events'::regclass)";
    let ours = server.sql("bik", version);
    let older = format!("{}0", ours.trim_end().trim_end_matches(|c: char| c.is_ascii_digit()));
    server.sql(
        "bik",
        &format!("ALTER TABLE bik_events DROP COLUMN phone; COMMENT ON TABLE bik_events IS '{older}'"),
    );
    open();
    assert_eq!(server.sql("bik", version), ours);
    server.sql("bik", "SELECT phone FROM bik_events");
}

#[tokio::test]
async fn the_servers_text_about_a_row_follows_its_code_and_a_colon() {
    let server = Server::start_new();
    let settings = format!("url = {:?}\npassword = \"secret\"", server.url());
    let handler = open("postgres", &settings).await.unwrap();
    server.sql("bik", "ALTER TABLE bik_events ADD CONSTRAINT nobody CHECK (seq < 0)");
    let failure = handler.deliver(&deliveries(1..=1)).await.unwrap_err();
    let Failure::Refuse { class, error } = &failure else { panic!("{failure:?}") };
    assert_eq!(class, "sqlstate 23514");
    assert_eq!(error.own, "SQLSTATE 23514");
    let said = error.said.as_deref().unwrap();
    assert!(said.contains("nobody") && said.contains("Failing row contains"), "{said}");
}

/// Otherwise each attempt would leave a running statement, until the database has no free connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_was_given_up_does_not_wait_on_in_the_server() {
    let server = Server::start_new();
    let settings = format!("url = {:?}\npassword = \"secret\"", server.url());
    let handler = open("postgres", &settings).await.unwrap();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    let holder = server.hold_lock("bik_events");
    for _ in 0..3 {
        give_up(&*handler, &deliveries(4..=5), 1).await;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        eventually("the statement waits on", || server.sql("bik", waiting).trim() == "0");
    }
    let log = server.log();
    assert!(log.contains("canceling statement due to user request"), "{log}");
    assert!(!log.contains("due to lock timeout"), "{log}");
    drop(holder);
    handler.deliver(&deliveries(4..=5)).await.unwrap();
    assert_eq!(server.sql("bik", "SELECT count(*) FROM bik_events"), "5\n");
}

#[tokio::test]
async fn tls_is_verified_and_is_there_where_it_is_demanded() {
    let (certificate, other) = (Certificate::make(), Certificate::make());
    let mut server = Server::with_tls(&certificate);
    let url = server.url();
    let keys = |url: &str, more: &str| format!("url = {url:?}\npassword = \"secret\"\n{more}");
    let ca = format!("ca = {:?}", certificate.ca());
    let handler = open("postgres", &keys(&url, &ca)).await.expect("who names an authority has TLS");
    handler.deliver(&deliveries(1..=3)).await.unwrap();
    let with_tls = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE ssl AND application_name = 'bikhook'";
    assert_eq!(server.sql("bik", with_tls), "1\n");
    let plain = Server::start_new();
    for (settings, words) in [
        (keys(&(url.clone() + "?sslmode=require"), ""), "UnknownIssuer"),
        (keys(&url, &format!("ca = {:?}", other.ca())), "UnknownIssuer"),
        (keys(&url.replace("127.0.0.1", "localhost"), &ca), "not valid for name"),
        (keys(&(plain.url() + "?sslmode=require"), ""), "server does not support TLS"),
        (keys(&(url.clone() + "?sslmode=disable"), &ca), "ca: needs TLS"),
    ] {
        let error = open("postgres", &settings).await.err().unwrap_or_else(|| panic!("took {settings}"));
        assert!(error.contains(words) && error.contains("ca"), "{settings}: {error}");
    }
    server.kill();
    let late = open("postgres", &keys(&url, &ca)).await.expect("it is away, not wrong");
    for handler in [&handler, &late] {
        let failure = handler.deliver(&deliveries(4..=6)).await.unwrap_err();
        assert!(matches!(&failure, Failure::Retry { class, .. } if class == "connection"), "{failure:?}");
    }
    server.start();
    late.deliver(&deliveries(4..=5)).await.unwrap();
    server.kill();
    server.configure("ssl = off\n");
    server.start();
    let failure = late.deliver(&deliveries(7..=9)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Misconfigured { class, .. } if class == "tls"), "{failure:?}");
    assert_eq!(server.sql("bik", "SELECT count(*) FROM bik_events"), "5\n");
}

#[tokio::test]
async fn a_server_that_requires_tls_gives_an_error_with_the_setting() {
    let certificate = Certificate::make();
    let mut server = Server::with_tls(&certificate);
    server.kill();
    server.let_in("hostssl all all 127.0.0.1/32 scram-sha-256\n");
    server.start();
    let keys = |url: &str, more: &str| format!("url = {url:?}\npassword = \"secret\"\n{more}");
    for url in [server.url(), server.url() + "?sslmode=disable"] {
        let error = open("postgres", &keys(&url, "")).await.err().unwrap_or_else(|| panic!("took {url}"));
        assert!(error.contains("`?sslmode=require`"), "{error}");
    }
    let ca = format!("ca = {:?}", certificate.ca());
    let handler = open("postgres", &keys(&(server.url() + "?sslmode=require"), &ca)).await.unwrap();
    handler.deliver(&deliveries(1..=3)).await.unwrap();
}
