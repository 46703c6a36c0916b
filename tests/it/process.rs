//! The process and its environment: a log that cannot be written, and signals.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    client::KEY,
    events::status,
    home::{Home, eventually},
    receiver::Receiver,
};

/// `bikhook`, started in a folder.
fn bikhook(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
    command.current_dir(folder);
    command.env("BIKHOOK_HTTP_LISTEN", "127.0.0.1:0").env("BIKHOOK_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

/// Starts it there, and returns its output until it is ready.
fn greeting(folder: &Path, command: Command) -> String {
    let receiver = Receiver::start(command, &folder.join("log"), &folder.join("data/journal.db.lock"));
    // The greeting comes after the line of the log that is waited for, and this is the greeting's last line.
    eventually("it does not greet", || receiver.said().contains("Page: http://"));
    receiver.said()
}

#[test]
fn a_start_whose_address_is_taken_makes_no_key_and_the_next_shows_it() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = bikhook(home.path()).env("BIKHOOK_HTTP_LISTEN", &address).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains(&address));
    let credential = home.path().join("data/credential");
    assert!(!credential.exists());
    let said = greeting(home.path(), bikhook(home.path()));
    let key = fs::read_to_string(credential).unwrap();
    assert!(said.contains(&format!("curl -H 'Authorization: Basic {}'", key.trim())), "{said}");
}

#[test]
fn a_start_shows_only_secrets_that_it_generated() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("bikhook.toml");
    let head = "[admin]\ncredentials = { username = \"admin\", password = { generate = \"data/admin-password\" } }\n\
                [handlers.log]\nkind = \"log\"\n[sources.bik.credentials]\nold = { key = { env = \"OLD_KEY\" } }\n";
    let greeting = |more: &str| {
        fs::write(&config, format!("{head}{more}")).unwrap();
        let mut command = bikhook(home.path());
        command.arg("--config").arg(&config).env("OLD_KEY", "kept-elsewhere");
        greeting(home.path(), command)
    };
    let said = greeting("");
    let made =
        |name: &str| fs::read_to_string(home.path().join("data").join(name)).unwrap().trim().to_owned();
    let password = made("admin-password");
    assert!(!said.contains("kept-elsewhere") && !said.contains(&password), "{said}");
    let said = greeting("new = { key = { generate = \"data/new\" } }\n");
    assert!(said.contains(&made("new")), "{said}");
    assert!(!said.contains("kept-elsewhere") && !said.contains(&password), "{said}");
}

#[test]
fn a_start_shows_the_url_of_each_source_and_of_the_page() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("bikhook.toml");
    let source = |name: &str, key: &str| {
        format!("[sources.{name}]\npath = \"/{name}\"\ncredentials = {{ one = {{ key = {key} }} }}\n")
    };
    let configured = "{ env = \"KEY\" }";
    let generated = "{ generate = \"data/key\" }";
    let text =
        ["[handlers.log]\nkind = \"log\"\n", &source("crm", configured), &source("shop", generated)].concat();
    fs::write(&config, text).unwrap();
    // The first start generates the key of one source, the second does not.
    for _ in 0..2 {
        let mut command = bikhook(home.path());
        command.arg("--config").arg(&config).env("KEY", "kept-elsewhere");
        let said = greeting(home.path(), command);
        for url in ["/crm\n", "/shop", "Page: http://127.0.0.1:"] {
            assert!(said.contains(url), "{url}: {said}");
        }
    }
}

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
        // A refusal is logged. If logging panicked, the task would have ended.
        assert_eq!(client.post("no JSON").unwrap().status, 400);
    }
    home.wait_until_delivered();
    process.stop();
}

#[test]
fn a_log_without_a_reader_does_not_block_intake() {
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
    // Also more lines than the log buffers: thousands of requests are refused, and none waits for the log.
    for n in 0..6_000 {
        let path = format!("GET /nowhere-{n} HTTP/1.1\r\nHost: test\r\n\r\n");
        client.send(&path).unwrap();
        assert_eq!(client.answer().unwrap().status, 404);
    }
    process.stop();
}

#[test]
fn the_log_says_where_events_go_and_that_a_start_is_not_looked_at_twice() {
    let mut home = Home::new();
    home.audit_keys = "start = \"beginning\"";
    home.more = "[handlers.crm]\nkind = \"http\"\nurl = \"http://127.0.0.1:1/s3cret\"\n".to_owned();
    let unread = "`bikhook replay --handler audit --since TIME`";
    let mut process = home.start();
    process.connect().post(&format!("[{}]", status("e1", "m", "sent"))).unwrap();
    eventually("it does not say that the destination is unwell", || {
        let log = home.log();
        let mut unwell = log.lines().filter(|line| line.contains("the destination is unwell"));
        unwell.any(|line| line.contains("destination=\"POST http://127.0.0.1:1/…\""))
    });
    process.stop();
    let log = home.log();
    let of_audit = |line: &&str| line.contains("handler started") && line.contains("events.jsonl");
    assert!(log.lines().any(|line| of_audit(&line) && line.contains("concurrency=1")), "{log}");
    assert!(!log.contains(unread) && !log.contains("s3cret"), "{log}");
    home.start().stop();
    assert!(home.log().contains(unread), "{}", home.log());
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

#[test]
fn a_stop_leaves_the_whole_journal_in_its_one_file() {
    let home = Home::new();
    let mut process = home.start();
    let receipt = process.connect().post(&format!("[{}]", status("e1", "m", "sent"))).unwrap().receipt();
    process.stop();
    let beside: Vec<String> = fs::read_dir(home.journal_file().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("journal.db-"))
        .collect();
    assert_eq!(beside, [""; 0]);
    // A copy of that one file is a whole backup.
    let copy = Home::new();
    fs::copy(home.journal_file(), copy.journal_file()).unwrap();
    let mut stored = Vec::new();
    copy.each_stored(|event| stored.push(event.seq));
    assert_eq!(stored, [receipt.seq.unwrap()]);
}

#[test]
fn measured_values_are_numbers_in_a_json_log() {
    let mut home = Home::new();
    home.journal_keys = "disk_reserve = 0\n[log]\nlevel = \"debug\"\nformat = \"json\"";
    let mut process = home.start();
    process.connect().post(&format!("[{}]", status("e1", "m", "sent"))).unwrap();
    process.stop();
    let log = home.log();
    let member = |message: &str, name: &str| {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let line = lines.find(|line| line["message"] == message);
        line.unwrap_or_else(|| panic!("no {message:?} in:\n{log}"))[name].clone()
    };
    assert!(member("journal opened", "took_ms").is_u64(), "{log}");
    assert!(member("request answered", "ms").is_u64(), "{log}");
    // The fields are flat, so that a collector has a column for each.
    for line in log.lines() {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line.get(name).is_some_and(serde_json::Value::is_string), "{name}: {line:?}");
        }
        assert!(line.values().all(|value| !value.is_object() && !value.is_array()), "{line:?}");
    }
}
