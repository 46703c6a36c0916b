//! The process and what is around it: a log that takes nothing, and signals.

use std::{
    fs::File,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    client::KEY,
    events::status,
    home::{Home, eventually},
};

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let home = Home::new();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full", env!("CARGO_BIN_EXE_bikhook")]);
    command.arg("--config").arg(home.config_file());
    let mut process = home.spawn(command);
    process.wait_until_ready();
    let mut client = process.connect();
    for id in ["e1", "e2", "e3"] {
        let answer = client.post(&format!("[{}]", status(id, "m", "sent"))).unwrap();
        assert_eq!(answer.receipt().accepted, 1);
        // A refusal is logged: where that went wrong the task would be gone.
        assert_eq!(client.post("no JSON").unwrap().status, 400);
    }
    home.wait_until_delivered();
    process.stop();
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_events_from_being_taken() {
    let mut home = Home::new();
    home.journal_keys = "disk_reserve = 0\n[handlers.log]\nkind = \"log\"";
    let pipe = home.config_file().with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _open_and_never_read = File::options().read(true).write(true).open(&pipe).unwrap();
    let mut command = Command::new("sh");
    let one_core =
        "export TOKIO_WORKER_THREADS=1 BIKHOOK_LOG_LEVEL=debug; log=$1; shift; exec \"$0\" \"$@\" 2>\"$log\"";
    command.args(["-c", one_core, env!("CARGO_BIN_EXE_bikhook")]).arg(&pipe);
    command.arg("--config").arg(home.config_file());
    let mut process = home.spawn(command);
    process.wait_until_ready();
    let mut client = process.connect();
    for n in 0..10 {
        let events: Vec<String> = (0..200).map(|m| status(&format!("e{n}-{m}"), "m", "sent")).collect();
        let answer = client.post(&format!("[{}]", events.join(","))).unwrap();
        assert_eq!(answer.receipt().accepted, 200);
        home.wait_until_delivered_to("audit");
    }
    // More than the log holds back is said, too: refusals, by the thousand, and not one waits for the log.
    for n in 0..6_000 {
        let path = format!("GET /nowhere-{n} HTTP/1.1\r\nHost: test\r\n\r\n");
        client.send(&path).unwrap();
        assert_eq!(client.answer().unwrap().status, 404);
    }
    process.stop();
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let home = Home::new();
    let mut process = home.start();
    let mut client = process.connect();
    client
        .send(&format!(
            "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: Basic {KEY}\r\nContent-Length: 100\r\n\r\n["
        ))
        .unwrap();
    process.terminate();
    eventually("it does not begin to stop", || home.log().contains("stopping"));
    assert!(process.is_alive(), "a request under way is waited for");
    let begun = Instant::now();
    process.terminate();
    assert_eq!(process.exit_code(), 1);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
