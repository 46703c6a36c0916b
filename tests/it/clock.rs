//! A wall clock that jumps under the real receiver: libfaketime fakes it, and leaves the time since boot alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bikhook::clock::{Timestamp, now};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    clock::{DAY, MINUTE},
    events::status,
    home::{Home, Process, eventually},
};

/// A receiver whose wall clock a file moves.
struct Faked {
    home: Home,
    offset: PathBuf,
}

impl Faked {
    fn new() -> Self {
        let home = Home::new();
        let offset = home.config_file().with_file_name("offset");
        let faked = Self { home, offset };
        faked.set("+0");
        faked
    }

    /// Sets the wall clock to this difference from the real one.
    fn set(&self, offset: &str) {
        let written = self.offset.with_extension("new");
        fs::write(&written, offset).unwrap();
        fs::rename(written, &self.offset).unwrap();
    }

    fn start(&self) -> Process {
        let mut command = Command::new("env");
        command
            .arg(format!("LD_PRELOAD={}", library().display()))
            .arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.offset.display()))
            .args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
            .arg(env!("CARGO_BIN_EXE_bikhook"))
            .arg("--config")
            .arg(self.home.config_file());
        let mut process = self.home.spawn(command);
        process.wait_until_ready();
        process
    }
}

/// Debian's package `faketime`.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|folder| folder.unwrap().path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists()).expect("libfaketime: tests/run installs it")
}

fn read(operator: &mut Client, path: &str) -> Value {
    serde_json::from_str(&operator.get(path).unwrap().body).unwrap()
}

/// Posts an event, and how far from the real time it was received.
fn post(process: &Process, id: &str) -> i64 {
    let answer = process.connect().post(&format!("[{}]", status(id, "m", "sent"))).unwrap();
    let seq = answer.receipt().seq.unwrap();
    let event = read(&mut process.operator(), &format!("/api/v1/events/{seq}"));
    let received_at: Timestamp = event["receivedAt"].as_str().unwrap().parse().unwrap();
    received_at.ms_since(now())
}

fn is_near(offset: i64, expected: i64) -> bool {
    (offset - expected).abs() < MINUTE
}

fn accept(process: &Process) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .current_dir(Path::new("/"))
        .env_clear()
        .args(["clock", "accept", "--admin", &format!("http://{}", process.admin())])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_wall_clock_that_jumps_deletes_and_stamps_nothing_until_accepted() {
    let mut faked = Faked::new();
    let mut process = faked.start();
    assert!(is_near(post(&process, "before"), 0));
    faked.home.wait_until_delivered();
    let log = |faked: &Faked, text: &str| faked.home.log().matches(text).count();

    faked.set("+60d");
    assert!(is_near(post(&process, "ahead"), 0), "{}", faked.home.log());
    let jumped = "wall clock jumped and is not trusted";
    eventually("it says nothing of the jump", || log(&faked, jumped) == 1);
    // Retention looks every second.
    std::thread::sleep(Duration::from_millis(3_500));
    let mut operator = process.operator();
    assert_eq!(read(&mut operator, "/api/v1/events")["events"].as_array().unwrap().len(), 2);
    assert_eq!(read(&mut operator, "/api/v1/clock")["trusted"], json!(false));
    let metrics = operator.get("/metrics").unwrap().body;
    assert!(metrics.contains("\nbikhook_clock_trusted 0\n"), "{metrics}");
    assert!(operator.get("/").unwrap().body.contains("bikhook clock accept"), "the page says it");

    assert!(accept(&process).contains("the wall clock is accepted"));
    assert!(is_near(post(&process, "accepted"), 60 * DAY));
    faked.set("+0");
    assert!(is_near(post(&process, "back"), 60 * DAY));
    assert!(accept(&process).contains("the wall clock is accepted"));
    assert!(is_near(post(&process, "right again"), 0));
    assert!(accept(&process).contains("the wall clock is already trusted"));
    assert_eq!(read(&mut process.operator(), "/api/v1/events")["events"].as_array().unwrap().len(), 5);
    assert_eq!(log(&faked, jumped), 2, "once for each jump");
    process.stop();

    faked.set("-2d");
    faked.home.journal_keys = "disk_reserve = 1000000000000000";
    let mut process = faked.start();
    assert_eq!(log(&faked, "wall clock does not fit the last known time"), 1);
    let held = "deletion by age is delayed by the clock checks";
    eventually("it does not say what the clock holds back", || log(&faked, held) == 1);
    process.stop();
}
