//! `bikhook tail`, with real receivers.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::support::home::{Process, eventually};

/// A tail that is being read.
struct Tail {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Tail {
    fn start(receiver: &Process, args: &[&str]) -> Self {
        let mut child = spawn(receiver, args);
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line, and when it arrived.
    fn next(&self) -> (Instant, String) {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("a line")
    }

    fn seqs(&self, count: u64) -> Vec<u64> {
        let seq = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        (0..count).map(|_| seq(&self.next().1)).collect()
    }

    /// Interrupts it, and asserts that it prints no further event. Returns its standard error.
    fn interrupt(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status().unwrap().success());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(self.lines.iter().next().is_none(), "nothing is told twice");
        said
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended already, because of the signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(receiver: &Process, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .env_clear()
        .env("BIKHOOK_ADMIN", format!("http://{}", receiver.admin()))
        .arg("tail")
        .args(args)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn lines_of(stdout: ChildStdout) -> Receiver<(Instant, String)> {
    let (send, lines) = sync_channel(1_000);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    lines
}

fn post(receiver: &Process, ids: std::ops::Range<u32>) {
    let events: Vec<_> = ids.map(|id| status(&id.to_string(), &format!("m-{id}"), "sent")).collect();
    receiver.connect().post(&format!("[{}]", events.join(","))).unwrap().receipt();
}

#[test]
fn tail_shows_an_event_within_a_second_and_loses_none_across_restarts() {
    let mut home = Home::new();
    let mut receiver = home.start();
    home.admin = receiver.admin();
    let tail = Tail::start(&receiver, &["--json", "--after", "0"]);
    post(&receiver, 0..1);
    assert_eq!(tail.seqs(1), [1]);
    let took = (1..=5).map(|n| {
        let posted = Instant::now();
        post(&receiver, n..n + 1);
        let (told, line) = tail.next();
        assert!(
            line.starts_with(&format!("{{\"seq\":{},", n + 1)) && line.contains(&format!("\"m-{n}\"")),
            "{line}"
        );
        told - posted
    });
    // Other processes use this machine, too.
    let quickest = took.min().unwrap();
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");

    for round in 1..=3 {
        post(&receiver, round * 100..round * 100 + 50);
        receiver.stop();
        receiver = home.start();
        post(&receiver, round * 100 + 50..round * 100 + 100);
    }
    assert_eq!(tail.seqs(300), (7..=306).collect::<Vec<_>>());
    let said = tail.interrupt();
    assert!(
        said.contains("the receiver is unreachable") && said.contains("the receiver is reachable again"),
        "{said}"
    );
    receiver.stop();
}

#[test]
fn tail_shows_selected_events_one_per_line_without_personal_data() {
    let home = Home::new();
    let mut receiver = home.start();
    let tail = Tail::start(&receiver, &["--after", "0", "--status", "failed", "--event", "message-*"]);
    let events = [
        status("1", "a", "sent"),
        incoming("2", "b"),
        status("3", "c", "failed"),
        status("4", "d", "failed"),
    ];
    receiver.connect().post(&format!("[{}]", events.join(","))).unwrap().receipt();
    for seq in ["3", "4"] {
        let (_, line) = tail.next();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!([cells[0], cells[3], cells[4], cells[6]], [seq, "message-status-update", "failed", seq]);
        assert!(!line.contains("+91") && !line.contains("Hello"), "{line}");
    }
    tail.interrupt();
    receiver.stop();
}

#[test]
fn tail_ends_when_its_output_has_no_reader() {
    let home = Home::new();
    let mut receiver = home.start();
    post(&receiver, 0..1);
    let mut child = spawn(&receiver, &["--after", "0"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    drop(lines);
    // No further event arrives that could be written.
    let mut ended = None;
    eventually("it does not end", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
    receiver.stop();
}

#[tokio::test]
async fn tail_says_why_it_cannot_begin() {
    let (_kept, nobody) = nobody();
    let admin = format!("http://{nobody}");
    run_with(&[("BIKHOOK_ADMIN", &admin)], b"", &["tail"]).await.failed("is bikhook running?");
    let operator = Operator::new().await;
    ask(&operator, &["tail", "--event", "[x"]).await.failed("event: ");
}
