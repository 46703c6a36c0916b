//! The contract, with the files of the `jsonl` kind.

use std::fs;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    contract::{Arrival, Destination, hold_to},
    kinds::Fixture,
    support::{
        folder::MovableFolder,
        home::{Home, eventually},
    },
};

/// A file for each scene.
struct Files(MovableFolder);

impl Destination for Files {
    fn settings(&self, scene: &str) -> String {
        format!("kind = \"jsonl\"\npath = {:?}", self.0.path().join(format!("{scene}.jsonl")))
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        #[derive(Deserialize)]
        struct Line<'a> {
            seq: u64,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let text = fs::read_to_string(self.0.path().join(format!("{scene}.jsonl"))).unwrap_or_default();
        // A line that is still being written has no end yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let arrival = |line: &str| {
            let Line { seq, event } = serde_json::from_str(line).unwrap();
            // Lines have no key, so `seq` identifies a repetition.
            Arrival { key: format!("{seq:032}"), event: event.get().to_owned() }
        };
        whole.lines().map(arrival).collect()
    }

    fn kill(&mut self) {
        self.0.move_away();
    }

    fn start(&mut self) {
        self.0.bring_back();
    }

    fn poison(&self) -> Option<String> {
        None
    }

    fn is_idempotent(&self) -> bool {
        false
    }

    fn may_be_away_at_the_start(&self) -> bool {
        false
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "jsonl",
    destination: Some(destination),
    wrong: &[
        ("", "path"),
        ("path = \"x\"\nkeep = 0", "keep"),
        ("path = \"x\"\nrotate_size = \"ten\"", "rotate_size"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Files(MovableFolder::new()))
}

#[test]
fn jsonl_keeps_the_contract() {
    hold_to(&mut *destination());
}

/// A settle is on disk at most one second after its delivery. Each of these processes is killed earlier.
#[test]
fn a_receiver_that_is_killed_again_and_again_writes_no_line_twice() {
    let home = Home::new();
    for life in 1..=8 {
        let mut receiver = home.start();
        let body = format!(r#"{{"eventName":"x","id":"{life}"}}"#);
        assert_eq!(receiver.connect().post(&body).unwrap().status, 200);
        eventually("the line is not written", || {
            let mut is_there = false;
            home.each_line(|line| is_there |= line.contains(&format!(r#""id":"{life}""#)));
            is_there
        });
        receiver.kill();
    }
    let mut receiver = home.start();
    home.wait_until_delivered();
    receiver.stop();
    let mut ids = Vec::new();
    home.each_line(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        ids.push(line["id"].as_str().unwrap().to_owned());
    });
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn a_damaged_file_is_repaired_with_an_error_and_the_receiver_starts() {
    let home = Home::new();
    let mut receiver = home.start();
    for id in 1..=3 {
        let body = format!(r#"{{"eventName":"x","id":"{id}"}}"#);
        assert_eq!(receiver.connect().post(&body).unwrap().status, 200);
    }
    home.wait_until_delivered();
    receiver.stop();
    let file = home.journal_file().with_file_name("events.jsonl");
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let zeroed_head = whole.replacen(&lines[0][..20], &"\0".repeat(20), 1);
    let broken_middle = whole.replacen(&lines[1][30..60], &"\0".repeat(30), 1);
    for (damaged, left, kept) in
        [(zeroed_head, "events.jsonl.damaged-1", [1, 2]), (broken_middle, "events.jsonl.damaged-2", [0, 2])]
    {
        fs::write(&file, &damaged).unwrap();
        let mut receiver = home.start();
        // The handler opens after intake.
        eventually("the file is not repaired", || home.log().contains(left));
        receiver.stop();
        assert_eq!(fs::read_to_string(&file).unwrap(), kept.map(|at| lines[at].to_owned() + "\n").concat());
        assert_eq!(fs::read_to_string(file.with_file_name(left)).unwrap(), damaged);
        let log = home.log();
        assert!(log.contains("ERROR") && log.contains(left), "{log}");
    }
}

#[test]
fn a_damaged_gz_is_an_error_in_the_log_and_the_handler_opens() {
    let home = Home::new();
    let gzip = "events-2026-11-22T101500Z-001.jsonl.gz";
    fs::write(home.journal_file().with_file_name(gzip), "not gzip at all").unwrap();
    let mut receiver = home.start();
    assert_eq!(receiver.connect().post(r#"{"eventName":"x","id":"1"}"#).unwrap().status, 200);
    home.wait_until_delivered();
    receiver.stop();
    let live = home.journal_file().with_file_name("events.jsonl");
    assert_eq!(fs::read_to_string(live).unwrap().lines().count(), 1);
    let log = home.log();
    assert!(log.lines().any(|line| line.contains(" ERROR ") && line.contains(gzip)), "{log}");
}
