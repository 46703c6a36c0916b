//! The contract, with a table of an SQLite file; and what the `sqlite` kind promises beyond it.

use std::fs;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    contract::{Arrival, Destination, hold_to},
    support::{folder::MovableFolder, home::Home},
};

/// A table that a user made, with a rule of the user's.
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

pub fn destination() -> Box<dyn Destination> {
    Box::new(Files(MovableFolder::new()))
}

#[test]
fn sqlite_keeps_the_contract() {
    hold_to(&mut *destination());
}

#[test]
fn a_file_that_is_no_database_or_whose_table_does_not_fit_ends_the_start_and_says_so() {
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
        let mut receiver = home.spawn(home.command());
        assert_ne!(receiver.exit_code(), 0);
        assert!(home.log().contains(word), "{word}: {}", home.log());
    }
}
