//! The contract with a table of an SQLite file, and the other guarantees of the `sqlite` kind.

use std::{fs, ops::Range, os::unix::fs::PermissionsExt, path::Path};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{deliveries, open},
    kinds::Fixture,
    support::{
        disk::SmallDisk,
        events::status,
        folder::MovableFolder,
        home::{Home, Process, eventually},
    },
};

/// A table made by the user, with a constraint of the user.
const TABLE_WITH_A_RULE: &str = "CREATE TABLE bik_events (
    key TEXT PRIMARY KEY, seq, received_at, source, event_name, bik_id TEXT CHECK (bik_id <> 'poison'), store_id,
    message_id, status, channel, owner, category, customer_id, customer_name, phone, created_at, failure_reason, attempt,
    replay, event, raw, written_at NOT NULL DEFAULT CURRENT_TIMESTAMP)";

/// A file for each scene.
struct Files(MovableFolder);

impl Files {
    fn connect(&self, scene: &str) -> Connection {
        fs::create_dir_all(self.0.path()).unwrap();
        let connection = Connection::open(self.0.path().join(format!("{scene}.db"))).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        connection
    }
}

impl Destination for Files {
    fn settings(&self, scene: &str) -> String {
        if scene == "poison" {
            self.connect(scene).execute_batch(TABLE_WITH_A_RULE).unwrap();
        }
        format!("kind = \"sqlite\"\npath = {:?}", self.0.path().join(format!("{scene}.db")))
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        if !self.0.path().is_dir() {
            return Vec::new();
        }
        let connection = self.connect(scene);
        let Ok(mut select) = connection.prepare("SELECT key, event FROM bik_events ORDER BY rowid") else {
            return Vec::new();
        };
        let rows = select.query_map([], |row| Ok(Arrival { key: row.get(0)?, event: row.get(1)? }));
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn kill(&mut self) {
        self.0.move_away();
    }

    fn start(&mut self) {
        self.0.bring_back();
    }

    fn poison(&self) -> Option<String> {
        Some(r#"{"eventName":"x","id":"poison"}"#.to_owned())
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn may_be_away_at_the_start(&self) -> bool {
        false
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "sqlite",
    destination: Some(destination),
    wrong: &[("", "path"), ("path = \"x\"\ntable = \"a b\"", "table")],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Files(MovableFolder::new()))
}

#[test]
fn sqlite_keeps_the_contract() {
    hold_to(&mut *destination());
}

#[tokio::test]
async fn others_may_not_read_the_file_and_a_file_of_the_user_keeps_its_mode() {
    let folder = TempDir::new().unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    let (own, other) = (folder.path().join("own.db"), folder.path().join("other.db"));
    fs::write(&other, "").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o664)).unwrap();
    // SQLite deletes the other files when it closes the last connection.
    let mut open_handlers = Vec::new();
    for path in [own, other] {
        let handler = open("sqlite", &format!("path = {path:?}")).await.unwrap();
        handler.deliver(&deliveries(1..=3)).await.unwrap();
        assert!(folder.path().join(format!("{}-wal", path.file_name().unwrap().display())).exists());
        open_handlers.push(handler);
    }
    assert_eq!([mode("own.db"), mode("own.db-wal"), mode("own.db-shm")], [0o640; 3]);
    assert_eq!(mode("other.db"), 0o664);
}

/// A receiver with the handler `out` and short timeouts.
fn home(path: &Path) -> Home {
    let mut home = Home::new();
    home.more = format!(
        "[handlers.out]\nkind = \"sqlite\"\npath = {path:?}\nprobe_first = \"50ms\"\nprobe_max = \"250ms\"\n\
         start = \"beginning\"\n"
    );
    home
}

fn post(receiver: &Process, messages: Range<usize>) {
    let events: Vec<String> =
        messages.map(|message| status(&message.to_string(), &format!("m-{message}"), "sent")).collect();
    assert_eq!(receiver.connect().post(&format!("[{}]", events.join(","))).unwrap().status, 200);
}

/// Every event is stored once, and none is a dead letter.
fn assert_has(path: &Path, receiver: &Process, count: usize) {
    let connection = Connection::open(path).unwrap();
    let found = "SELECT count(*), count(DISTINCT bik_id) FROM bik_events";
    let found = connection.query_row(found, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (count, count));
    let handlers = receiver.operator().get("/api/v1/handlers").unwrap().body;
    let handlers: serde_json::Value = serde_json::from_str(&handlers).unwrap();
    let out = handlers["handlers"].as_array().unwrap().iter().find(|row| row["handler"] == "out").unwrap();
    assert_eq!(out["dead"], 0, "{out}");
}

#[test]
fn events_of_a_full_disk_are_stored_once_when_there_is_room() {
    let disk = SmallDisk::mount("8m");
    let path = disk.path().join("x.db");
    let home = home(&path);
    let mut receiver = home.start();
    post(&receiver, 0..500);
    home.wait_until_delivered_to("out");
    disk.fill_up_to(64 << 10);
    post(&receiver, 500..2000);
    eventually("it is not noticed", || home.log().contains("disk full"));
    receiver.stop();
    receiver = home.start();
    post(&receiver, 2000..2100);
    let noticed = || home.log().matches("disk full").count() >= 2;
    eventually("it is not noticed after the start", noticed);
    disk.make_room();
    home.wait_until_delivered_to("out");
    assert_has(&path, &receiver, 2100);
    receiver.stop();
}

#[test]
fn events_are_there_once_after_another_program_held_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE theirs (x); BEGIN IMMEDIATE").unwrap();
    let home = home(&path);
    let mut receiver = home.start();
    post(&receiver, 0..200);
    eventually("it is not noticed", || home.log().matches("locked").count() >= 2);
    other.execute_batch("COMMIT").unwrap();
    home.wait_until_delivered_to("out");
    other.execute_batch("BEGIN EXCLUSIVE; INSERT INTO theirs VALUES (1)").unwrap();
    let before = home.log().matches("locked").count();
    post(&receiver, 200..400);
    eventually("it is not noticed later", || home.log().matches("locked").count() > before);
    receiver.stop();
    receiver = home.start();
    post(&receiver, 400..500);
    other.execute_batch("ROLLBACK").unwrap();
    home.wait_until_delivered_to("out");
    assert_has(&path, &receiver, 500);
    receiver.stop();
}

#[test]
fn a_file_without_a_database_or_with_an_unfit_table_is_an_error() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.db");
    for (make, word) in [
        (&"no database, but longer than the header of one would be ".repeat(20)[..], "not a database"),
        ("", "lacks received_at"),
    ] {
        fs::write(&path, make).unwrap();
        if make.is_empty() {
            let connection = Connection::open(&path).unwrap();
            connection.execute_batch("CREATE TABLE bik_events (key TEXT PRIMARY KEY, seq INTEGER)").unwrap();
        }
        let mut home = Home::new();
        home.more = format!("[handlers.out]\nkind = \"sqlite\"\npath = {path:?}\n");
        let mut receiver = home.start();
        eventually(word, || home.log().contains(word));
        receiver.stop();
        assert!(home.log().contains("ERROR"), "{}", home.log());
    }
}
