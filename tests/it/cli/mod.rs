//! The commands that ask a running receiver, or read a stopped one's journal: the real binary, over real sockets.

mod export;
mod insight;
mod statuses;
mod tail;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use bikhook::{
    http::{self, AuthMode, CredentialSettings, Intake, SourceSettings, Sources},
    journal::{Journal, JournalState},
    metrics::Metrics,
    secret::Secret,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::Instant,
};

use crate::{
    handlers::until,
    support::{
        clock::{DAY, Hands},
        events::{incoming, status},
        home::Home,
        journals::Place,
        operator::{Guard, Operator},
    },
};

/// A command that ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// Asserts that it failed with this message.
    #[track_caller]
    fn failed(self, why: &str) {
        assert!(self.code == 1 && self.err.contains(why), "{self:?}");
    }

    /// Asserts exit code 2: its input is invalid, and a retry does not help.
    #[track_caller]
    fn unusable(self, why: &str) {
        assert!(self.code == 2 && self.err.contains(why), "{self:?}");
    }

    #[track_caller]
    fn objects(self) -> Vec<Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs the command in a folder of its own, with these variables and no others.
async fn run_with(variables: &[(&str, &str)], stdin: &[u8], args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
    let folder = TempDir::new().unwrap();
    command.env_clear().envs(variables.iter().copied()).args(args).current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stdin = stdin.to_vec();
    let ended = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A command that does not read its input closes it.
        drop(pipe.write_all(&stdin));
        drop(pipe);
        child.wait_with_output().unwrap()
    });
    let Output { status, stdout, stderr } = ended.await.unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs the command against an admin side.
async fn ask(operator: &Operator, args: &[&str]) -> Ran {
    run_with(&[("BIKHOOK_ADMIN", &operator.url(""))], b"", args).await
}

/// A configuration that only the owner can read, so there is no warning.
fn write_private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Reads a stopped journal.
async fn read(journal: &Path, args: &[&str]) -> Ran {
    run_with(&[], b"", &[args, &["--journal", journal.to_str().unwrap()]].concat()).await
}

/// An address where nobody listens, for as long as the socket is kept.
fn nobody() -> (TcpSocket, SocketAddr) {
    let kept = TcpSocket::new_v4().unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = kept.local_addr().unwrap();
    (kept, address)
}

fn seqs(objects: &[Value]) -> Vec<u64> {
    objects.iter().map(|object| object["seq"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_lists_the_newest_oldest_first_with_nothing_personal() {
    let operator = Operator::new().await;
    operator.store((1..=25).map(|n| status(&format!("i-{n}"), &format!("m-{n}"), "read"))).await;
    let Ran { code, out: table, err } = ask(&operator, &["events"]).await;
    assert_eq!(
        (code, err.as_str()),
        (0, "only the newest 20 are shown: use --limit N for more\n"),
        "there are older ones"
    );
    for all in [&["events", "--until", "2000-01-01"][..], &["events", "--limit", "20"]] {
        ask(&operator, all).await.ok();
    }
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 21, "{table}");
    assert!(lines[0].contains("SEQ") && lines[0].contains("CHANNEL"), "{table}");
    assert!(lines[1].trim_start().starts_with("6 ") && lines[20].trim_start().starts_with("25 "), "{table}");
    for shown in ["message-status-update", "read", "whatsapp", "i-25", "m-25"] {
        assert!(lines[20].contains(shown), "{table}");
    }
    for hidden in ["+91", "Hello"] {
        assert!(!table.contains(hidden), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pages_to_any_limit_and_gives_lines_and_stored_bytes() {
    let operator = Operator::new().await;
    let odd =
        "{ \"eventName\": \"odd\",\n\"n\": 12345678901234567890123, \"n\": 1.10, \"t\": \"\\ud83d\u{7f}\", }";
    for block in 0..5 {
        operator
            .store((0..500).map(|n| status(&format!("{block}-{n}"), &format!("m-{block}-{n}"), "sent")))
            .await;
    }
    operator.store([odd, &incoming("in-1", "m-in")]).await;

    let objects =
        ask(&operator, &["events", "--json", "--limit", "100000", "--event", "message-status-update"]);
    let objects = objects.await.objects();
    assert_eq!(seqs(&objects), (1..=2_500).collect::<Vec<_>>());
    let keys: Vec<_> = objects[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert_eq!((&objects[0]["id"], &objects[0]["source"]), (&json!("0-0"), &json!("bik")));

    let line = ask(&operator, &["events", "--json", "--event", "odd"]).await.ok();
    let element = "{\"eventName\":\"odd\",\"n\":12345678901234567890123,\"n\":1.10,\"t\":\"\\ud83d\u{7f}\"}";
    assert!(
        line.starts_with("{\"seq\":2501,") && line.ends_with(&format!("\"event\":{element}}}\n")),
        "{line}"
    );
    assert!(line.contains("\"id\":null"));
    assert_eq!(ask(&operator, &["events", "--raw", "--event", "odd"]).await.ok(), format!("{odd}\n"));

    let received = objects[0]["receivedAt"].as_str().unwrap();
    assert_eq!(ask(&operator, &["events", "--json", "--until", received]).await.ok(), "");
    let since = ask(&operator, &["events", "--json", "--since", received, "--limit", "2501"]).await.ok();
    assert_eq!(since.lines().count(), 2_501);
    assert_eq!(ask(&operator, &["events", "--json", "--source", "other"]).await.ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_read_while_its_receiver_is_stopped_and_only_then() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent"), incoming("i-2", "m-2")]).await;
    operator.quarantine("{bad").await;
    operator.bury(1).await;
    let path = operator.place.path();
    let locked = read(&path, &["events"]).await;
    assert!(locked.err.contains("is in use by another process"), "{locked:?}");
    locked.failed("omit --journal to ask the running receiver");

    let running = [
        ask(&operator, &["events", "--json"]).await.ok(),
        ask(&operator, &["dead", "list", "--json"]).await.ok(),
        ask(&operator, &["dead", "show", "1", "--json"]).await.ok(),
        ask(&operator, &["quarantine", "list", "--json"]).await.ok(),
        ask(&operator, &["quarantine", "show", "1", "--json"]).await.ok(),
        ask(&operator, &["quarantine", "show", "1", "--raw"]).await.ok(),
    ];
    let place = operator.stop().await;
    let stopped = [
        read(&path, &["events", "--json"]).await.ok(),
        read(&path, &["dead", "list", "--json"]).await.ok(),
        read(&path, &["dead", "show", "1", "--json"]).await.ok(),
        read(&path, &["quarantine", "list", "--json"]).await.ok(),
        read(&path, &["quarantine", "show", "1", "--json"]).await.ok(),
        read(&path, &["quarantine", "show", "1", "--raw"]).await.ok(),
    ];
    assert_eq!(stopped, running);
    assert_eq!(stopped[5], "{bad");
    let handlers = read(&path, &["handlers", "--json"]).await.objects();
    let crm = &handlers[0];
    assert_eq!(
        (handlers.len(), &crm["handler"], &crm["kind"], &crm["dead"]),
        (1, &json!("crm"), &Value::Null, &json!(1))
    );
    let other = &crm["lanes"][1];
    assert_eq!(other, &json!({"lane": "other", "cursor": 0, "lag": 2, "setAside": 0}));
    assert!(read(&path, &["handlers"]).await.ok().contains("crm"));
    drop(place);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_foreign_journal_is_an_error_and_nothing_is_created() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep/journal.db");
    read(&path, &["events"]).await.unusable("cannot open the journal");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes nothing");
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    read(&empty, &["events"]).await.unusable("is not a bikhook journal: it is empty");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "no database at all, but long enough to be looked at as one".repeat(20)).unwrap();
    read(&text, &["dead", "list"]).await.unusable("is not a bikhook journal");
    assert!(!folder.path().join("text.db.lock").exists(), "nor is anything made beside it");
    read(folder.path(), &["events"]).await.unusable("cannot open the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receiver_the_message_says_what_to_do() {
    let (_kept, nobody) = nobody();
    let url = format!("http://{nobody}");
    let ran = run_with(&[], b"", &["events", "--admin", &url]).await;
    assert!(ran.err.contains(&url), "{ran:?}");
    ran.failed("is bikhook running? If it is stopped, read its journal with --journal FILE");
    for without in [&["health"][..], &["replay", "list"], &["handlers", "resume", "crm"]] {
        let ran = run_with(&[], b"", &[without, &["--admin", &url]].concat()).await;
        assert!(ran.err.contains("is bikhook running?") && !ran.err.contains("--journal"), "{ran:?}");
    }
    run_with(&[], b"", &["events", "--admin", "127.0.0.1:8081"]).await.failed("is not an HTTP URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_variables_or_the_configuration() {
    let guard = Guard { credentials: Some(("ops", "s3cret")), ..Guard::default() };
    let operator = Operator::guarded(guard).await;
    operator.store([status("i-1", "m-1", "sent")]).await;
    ask(&operator, &["events"]).await.failed("BIKHOOK_ADMIN_PASSWORD");
    ask(&operator, &["events", "--admin-user", "ops"])
        .await
        .failed("needs its password in BIKHOOK_ADMIN_PASSWORD");
    let url = operator.url("");
    let given = [
        ("BIKHOOK_ADMIN", url.as_str()),
        ("BIKHOOK_ADMIN_USER", "ops"),
        ("BIKHOOK_ADMIN_PASSWORD", "s3cret"),
    ];
    assert_eq!(run_with(&given, b"", &["events", "--json"]).await.objects().len(), 1);

    let folder = TempDir::new().unwrap();
    let config = folder.path().join("bikhook.toml");
    let text = format!(
        "[admin]\nlisten = \"{}\"\ncredentials = {{ username = \"ops\", password = \"s3cret\" }}\n",
        operator.address
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let before = run_with(&[], b"", &["--config", config, "events", "--json"]).await;
    assert_eq!(before.objects().len(), 1);
    let variable = run_with(&[("BIKHOOK_CONFIG", config)], b"", &["events", "--json"]).await;
    assert_eq!(variable.objects().len(), 1);
    assert_eq!(run_with(&[("BIKHOOK_CONFIG", config)], b"", &["health"]).await.ok(), "alive\n");
    run_with(&[], b"", &["--config", "nowhere.toml", "events"]).await.code_is(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_need_no_intake_secret_and_an_empty_variable_is_unset() {
    let operator = Operator::new().await;
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("bikhook.toml");
    let text = format!(
        "[admin]\nlisten = \"{}\"\n[sources.bik]\ncredentials.portal = {{ key = {{ env = \"BIK_KEY\" }} }}\n",
        operator.address
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    assert_eq!(run_with(&[], b"", &["health", "--config", config]).await.ok(), "alive\n");
    run_with(&[], b"", &["handlers", "--config", config]).await.ok();
    run_with(&[], b"", &["auth", "--config", config]).await.code_is(2);
    let empty = [("BIKHOOK_CONFIG", ""), ("BIKHOOK_ADMIN", ""), ("BIKHOOK_ADMIN_USER", "")];
    assert_eq!(run_with(&empty, b"", &["health", "--config", config]).await.ok(), "alive\n");
    assert!(run_with(&empty, b"", &["check"]).await.ok().starts_with("ok\n"));
}

impl Ran {
    #[track_caller]
    fn code_is(&self, code: i32) {
        assert_eq!(self.code, code, "{self:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_an_exit_code() {
    let operator = Operator::new().await;
    assert_eq!(ask(&operator, &["health"]).await.ok(), "alive\n");
    let health = ask(&operator, &["health", "--json"]).await.objects();
    assert_eq!(health, [json!({"ready": true, "state": "ready", "heldBy": null})]);
    let mut state = operator.journal.state();
    let url = operator.url("");
    let _nobody_else_gets_it = operator.hang_up().await;
    // On a busy disk it may be stalled for a moment.
    let ready = state.wait_for(|state| matches!(state, JournalState::Ready));
    tokio::time::timeout(Duration::from_secs(20), ready)
        .await
        .expect("the journal is well, but nobody answers")
        .unwrap();
    run_with(&[], b"", &["health", "--admin", &url]).await.failed("cannot reach");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_are_listed_and_skipped_only_when_it_is_meant() {
    let operator = Operator::new().await;
    operator.store((1..=3).map(|n| status(&format!("i-{n}"), &format!("m-{n}"), "sent"))).await;
    let table = ask(&operator, &["handlers"]).await.ok();
    assert!(table.contains("crm") && table.contains("incoming") && table.contains("LAST FAILURE"), "{table}");
    let objects = ask(&operator, &["handlers", "--json"]).await.objects();
    assert_eq!((objects.len(), &objects[0]["handler"]), (1, &json!("crm")));

    ask(&operator, &["handlers", "skip", "crm", "--before", "4"]).await.failed("Add --yes");
    let skip =
        async |before: &str| ask(&operator, &["handlers", "skip", "crm", "--yes", "--before", before]).await;
    skip("never").await.code_is(2);
    let dry = ask(&operator, &["handlers", "skip", "crm", "--dry-run", "--before", "4"]).await.ok();
    assert!(dry.starts_with("crm would skip ") && dry.ends_with(" below seq 4\n"), "{dry}");
    let skipped = skip("4").await.ok();
    assert!(skipped.starts_with("crm skips ") && skipped.ends_with(" below seq 4\n"), "{skipped}");
    assert_eq!(skip("2001-01-01").await.ok(), "crm skips 0 undelivered events below seq 1\n", "nothing");
    ask(&operator, &["handlers", "skip", "nobody", "--yes", "--before", "1"]).await.failed("nobody");
    let json =
        ask(&operator, &["handlers", "skip", "crm", "--yes", "--json", "--before", "9"]).await.objects();
    let counts = (&json[0]["events"], &json[0]["before"], &json[0]["lanes"], &json[0]["dryRun"]);
    assert_eq!(counts, (&json!(0), &json!(4), &json!(2), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_for_the_handler_and_not_for_a_lane() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent"), status("i-2", "m-2", "sent")]).await;
    operator.bury(1).await;
    operator.bury(2).await;
    for command in ["handlers", "stats"] {
        let told = ask(&operator, &[command]).await.ok();
        let table = &told[told.find(" HANDLER ").expect("the table of handlers")..];
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let column = |name: &str| rows[0].iter().position(|column| *column == name).expect(name);
        let (lane, dead) = (column("LANE"), column("DEAD"));
        let of_lane = |name: &str| rows.iter().find(|row| row.get(lane) == Some(&name)).expect(name)[dead];
        assert_eq!(["all", "incoming", "other"].map(of_lane), ["2", "-", "-"], "{command}:\n{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_says_so() {
    let operator = Operator::new().await;
    for list in [&["events"][..], &["dead", "list"], &["quarantine", "list"], &["replay", "list"]] {
        let table = ask(&operator, list).await.ok();
        assert!(table.lines().count() == 2 && table.ends_with("\n none\n"), "{list:?}: {table:?}");
        let json = ask(&operator, &[list, &["--json"]].concat()).await.ok();
        assert_eq!(json, "", "{list:?}");
    }
    operator.store([status("i-1", "m-1", "sent")]).await;
    let table = ask(&operator, &["events"]).await.ok();
    assert!(table.lines().count() == 2 && !table.contains("none"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_retried_and_dropped() {
    let operator = Operator::new().await;
    operator.store((1..=4).map(|n| status(&format!("i-{n}"), &format!("m-{n}"), "sent"))).await;
    for seq in 1..=4 {
        operator.bury(seq).await;
    }
    let table = ask(&operator, &["dead", "list", "--handler", "crm", "--limit", "3"]).await.ok();
    assert!(table.lines().count() == 4 && table.contains("refused") && !table.contains("+91"), "{table}");
    let row = table.lines().last().unwrap();
    assert!(row.contains(" m-4 ") && row.contains("422: ••••"), "for `message` and for the cause: {row}");
    let shown = ask(&operator, &["dead", "show", "1"]).await.ok();
    assert!(
        shown.contains("422: phone +910000000000 is unknown") && shown.contains("message-status-update"),
        "{shown}"
    );
    ask(&operator, &["dead", "show", "99"]).await.failed("no dead letter 99");

    ask(&operator, &["dead", "drop", "1"])
        .await
        .failed("1 of the dead letters will be deleted permanently. Continue? Add --yes");
    assert_eq!(ask(&operator, &["dead", "drop", "1", "--yes"]).await.ok(), "1 dropped\n");
    let some = ask(&operator, &["dead", "drop", "2", "1", "--json", "--yes"]).await;
    assert_eq!(serde_json::from_str::<Value>(&some.out).unwrap(), json!({"dropped": 1, "unknown": [1]}));
    some.failed("there are no dead letters [1]");
    operator.destination.well.store(true, SeqCst);
    assert_eq!(ask(&operator, &["dead", "retry", "3"]).await.ok(), "1 will be retried\n");
    ask(&operator, &["dead", "drop", "--handler", "crm", "--all"]).await.failed("Add --yes");
    ask(&operator, &["dead", "drop"])
        .await
        .failed("no dead letters are selected: give ids, --handler NAME with a selection");
    ask(&operator, &["dead", "retry"]).await.failed("or --handler NAME --all");
    ask(&operator, &["dead", "retry", "--status", "failed"]).await.failed("add --handler NAME");
    ask(&operator, &["dead", "retry", "--handler", "crm"])
        .await
        .failed("no dead letters of \"crm\" are selected");
    ask(&operator, &["dead", "retry", "4", "--status", "failed"])
        .await
        .failed("ids cannot be combined with a selection");
    ask(&operator, &["dead", "drop", "--all"]).await.code_is(2);
    ask(&operator, &["dead", "drop", "1", "--handler", "crm", "--all"]).await.code_is(2);
    let retried = ask(&operator, &["dead", "retry", "--handler", "crm", "--all", "--json"]).await.objects();
    assert!(retried[0]["retried"].as_u64() >= Some(1), "{retried:?}");
    ask(&operator, &["dead", "drop", "--handler", "crm", "--all", "--yes"]).await.ok();
    assert_eq!(ask(&operator, &["dead", "list", "--json"]).await.ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_selected_by_content_and_counted_by_a_dry_run() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent"), status("2", "b", "failed"), status("3", "c", "failed")]).await;
    for seq in 1..=3 {
        operator.bury(seq).await;
    }
    let listed = async |args: &[&str]| {
        seqs(&ask(&operator, &[&["dead", "list", "--json"], args].concat()).await.objects())
    };
    assert_eq!(listed(&["--status", "failed"]).await, [2, 3]);
    assert_eq!(listed(&["--status", "failed", "--message", "c", "--handler", "crm"]).await, [3]);
    assert_eq!(listed(&["--until", "2001-01-01"]).await, [0; 0]);
    let dead = async |args: &[&str]| ask(&operator, &[&["dead"], args].concat()).await;
    let failed = ["--handler", "crm", "--status", "failed", "--dry-run"];
    assert_eq!(dead(&[&["retry"], &failed[..]].concat()).await.ok(), "2 would be retried\n");
    assert_eq!(dead(&[&["drop"], &failed[..]].concat()).await.ok(), "2 would be deleted permanently\n");
    let counted = dead(&["drop", "1", "9", "--dry-run", "--json"]).await;
    assert_eq!(counted.out, "{\"dryRun\":true,\"matches\":1,\"unknown\":[9]}\n");
    counted.failed("no dead letters [9]");
    assert_eq!(listed(&[]).await, [1, 2, 3], "nothing has happened");
    assert_eq!(dead(&["drop", "--yes", "--handler", "crm", "--message", "b"]).await.ok(), "1 dropped\n");
    let path = operator.place.path();
    let place = operator.stop().await;
    let stopped = read(&path, &["dead", "list", "--json", "--status", "failed"]).await.objects();
    assert_eq!(seqs(&stopped), [3]);
    drop(place);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_selected_by_what_is_in_them() {
    let operator = Operator::new().await;
    operator.store((0..1_500).map(|n| status(&format!("a-{n}"), &format!("m-{n}"), "sent"))).await;
    operator.store([status("b", "m-7", "failed"), incoming("c", "m-c")]).await;
    operator.store((0..1_500).map(|n| status(&format!("d-{n}"), &format!("n-{n}"), "read"))).await;
    let asked: [(&[&str], &[u64]); 6] = [
        (&["--message", "m-7"], &[8, 1_501]),
        (&["--message", "m-7", "--status", "failed"], &[1_501]),
        (&["--status", "failed", "--status", "sent", "--limit", "2"], &[1_500, 1_501]),
        (&["--event", "incoming-*"], &[1_502]),
        (&["--phone", "+1 999 000"], &[]),
        (&["--message", "m-7", "--until", "2001-01-01"], &[]),
    ];
    for (args, wanted) in asked {
        let rows = ask(&operator, &[&["events", "--json"], args].concat()).await.objects();
        assert_eq!(seqs(&rows), wanted, "{args:?}");
    }
    ask(&operator, &["events", "--event", "[a"]).await.failed("is not a glob");
    let path = operator.place.path();
    let place = operator.stop().await;
    for (args, wanted) in asked {
        let rows = read(&path, &[&["events", "--json"], args].concat()).await.objects();
        assert_eq!(seqs(&rows), wanted, "{args:?}");
    }
    drop(place);
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_is_listed_shown_retried_and_dropped() {
    let operator = Operator::new().await;
    operator.quarantine(&status("i-1", "m-1", "sent")).await;
    operator.quarantine("{\"bad\u{1b}[2J").await;
    let table = ask(&operator, &["quarantine", "list"]).await.ok();
    assert!(table.contains("syntax") && !table.contains("bad"), "{table}");
    let shown = ask(&operator, &["quarantine", "show", "2"]).await.ok();
    assert!(shown.contains("made by a test") && shown.ends_with("\n\n{\"bad\u{1b}[2J"), "{shown:?}");
    let retried = ask(&operator, &["quarantine", "retry", "1", "2"]).await;
    assert!(retried.out.contains("stored") && retried.out.contains("unreadable"), "{retried:?}");
    retried.failed("1 of the entries could not be stored");
    assert_eq!(seqs(&ask(&operator, &["events", "--json"]).await.objects()), [1]);
    ask(&operator, &["quarantine", "retry", "99"]).await.failed("there are no entries [99] in quarantine");
    ask(&operator, &["quarantine", "drop", "2"]).await.failed("Add --yes");
    ask(&operator, &["quarantine", "drop", "2", "1", "--yes"]).await.failed("no entries [1]");
    assert_eq!(ask(&operator, &["quarantine", "list", "--json"]).await.ok(), "");
}

/// A receiver's public side, with the key `portal-key`, over an operator's journal.
struct Receiver {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Receiver {
    async fn over(journal: &Arc<dyn Journal>) -> Self {
        let credential =
            CredentialSettings { key: Some(Secret::new("portal-key")), ..CredentialSettings::default() };
        let source = SourceSettings {
            path: "/webhook".to_owned(),
            auth: AuthMode::Basic,
            credentials: BTreeMap::from([("portal".to_owned(), credential)]),
            rate: None,
            tenant: None,
        };
        let settings = http::Settings::default();
        let sources = Sources::check([("bik", &source)]).ok().unwrap();
        let intake = Intake::new(&settings, &sources, Arc::clone(journal), Metrics::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            http::serve(listener, intake, settings, std::future::pending::<Instant>()).await;
        });
        Self { address, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_posts_files_byte_for_byte() {
    let operator = Operator::new().await;
    let receiver = Receiver::over(&operator.journal).await;
    let folder = TempDir::new().unwrap();
    let raw = "{ \"eventName\" : \"x\" , \"n\": 1.10 , }";
    let file = folder.path().join("one.json");
    std::fs::write(&file, format!("\n[{raw}]\n")).unwrap();
    let file = file.to_str().unwrap();
    let url = receiver.url();
    let send = async |args: &[&str]| {
        let args = [&["send", "--url", &url], args].concat();
        run_with(&[("BIKHOOK_SEND_KEY", "portal-key")], incoming("i-1", "m-1").as_bytes(), &args).await
    };
    let summary = send(&[file, file, "-"]).await.ok();
    assert!(summary.contains("3 requests") && summary.contains("200: 3"), "{summary}");
    assert!(summary.contains("accepted 2, duplicates 1, quarantined 0"), "{summary}");
    assert_eq!(ask(&operator, &["events", "--raw", "--event", "x"]).await.ok(), format!("{raw}\n"));
    assert_eq!(ask(&operator, &["events", "--json", "--event", "incoming-message"]).await.objects().len(), 1);

    let bad = folder.path().join("bad.json");
    std::fs::write(&bad, "no json").unwrap();
    send(&[bad.to_str().unwrap()]).await.failed("1 of 1 requests failed; the first: 400");
    send(&["nowhere.json"]).await.failed("cannot read nowhere.json");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "portal-key\n").unwrap();
    let secret = secret.to_str().unwrap();
    run_with(&[], b"", &["send", "--url", &url, "--key-file", secret, file]).await.ok();
    run_with(&[("BIKHOOK_SEND_KEY", "wrong")], b"", &["send", "--url", &url, file]).await.failed("401");
    let as_user = ["send", "--url", &url, "--user", "portal", file];
    run_with(&[("BIKHOOK_SEND_PASSWORD", "portal-key")], b"", &as_user).await.ok();
    run_with(&[], b"", &[&as_user[..], &["--password-file", secret]].concat()).await.ok();
    run_with(&[], b"", &["send"]).await.code_is(2);
    let no_url =
        run_with(&[("BIKHOOK_SEND_KEY", "k")], b"", &["send", "--url", "127.0.0.1:8080", file]).await;
    no_url.failed("write it as http://127.0.0.1:8080/webhook");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_takes_the_url_and_the_key_from_the_configuration() {
    let operator = Operator::new().await;
    let receiver = Receiver::over(&operator.journal).await;
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("bikhook.toml");
    let text = format!(
        "[http]\nlisten = \"{}\"\n[sources.bik.credentials]\nold = {{ key = \"gone\", not_after = \"2020-01-01\" }}\nportal = {{ key = \"portal-key\" }}\n",
        receiver.address
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let body = status("i-1", "m-1", "sent");
    let sent = run_with(&[], body.as_bytes(), &["send", "--config", config, "-"]).await.ok();
    assert!(sent.contains("accepted 1"), "{sent}");
    run_with(&[], b"", &["send", "--config", config, "--source", "other", "-"])
        .await
        .failed("no source \"other\": use one of bik");
    // No receiver was started here yet, so there is no key to send.
    run_with(&[], b"", &["send", "-"]).await.failed("data/credential does not exist yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_traffic_is_stored_and_its_faults_are_where_they_belong() {
    let operator = Operator::new().await;
    let receiver = Receiver::over(&operator.journal).await;
    let url = receiver.url();
    let send = async |extra: &[&str]| {
        let common = ["send", "--url", &url, "--json", "--seed", "7", "--generate"];
        let ran = run_with(&[("BIKHOOK_SEND_KEY", "portal-key")], b"", &[&common, extra].concat()).await;
        serde_json::from_str::<Value>(&ran.ok()).unwrap()
    };
    let first = send(&["400", "--batch", "4", "--connections", "4"]).await;
    assert_eq!((&first["requests"], &first["events"], &first["seed"]), (&json!(100), &json!(400), &json!(7)));
    assert_eq!((&first["answers"], &first["unanswered"]), (&json!({"200": 100}), &json!(0)));
    assert_eq!(
        (&first["accepted"], &first["duplicates"], &first["quarantined"]),
        (&json!(400), &json!(0), &json!(0))
    );
    // The same seed is the same traffic.
    let again = send(&["400", "--batch", "4"]).await;
    assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(400)));

    let messy = [
        "1000",
        "--duplicates",
        "5%",
        "--disorder",
        "10%",
        "--garbage",
        "10%",
        "--seed",
        "8",
        "--rate",
        "5000",
    ];
    let common = ["send", "--url", &url, "--json", "--generate"];
    let messy =
        run_with(&[("BIKHOOK_SEND_KEY", "portal-key")], b"", &[&common[..], &messy[..]].concat()).await.ok();
    let messy: Value = serde_json::from_str(&messy).unwrap();
    let count = |name: &str| messy[name].as_u64().unwrap();
    let garbled = messy["answers"]["400"].as_u64().unwrap();
    assert_eq!(count("accepted") + count("duplicates") + count("quarantined") + garbled, 1_000, "{messy}");
    assert!(count("duplicates") > 20 && count("quarantined") > 30 && garbled > 5, "{messy}");
    assert!(messy["tookSecs"].as_f64().unwrap() >= 0.199, "a rate is kept: {messy}");
    assert!(messy["latencyUs"]["max"].as_u64() >= messy["latencyUs"]["p50"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn send_gives_up_where_nobody_answers() {
    let (_kept, nobody) = nobody();
    let url = format!("http://{nobody}/webhook");
    let key = [("BIKHOOK_SEND_KEY", "k")];
    run_with(&key, b"", &["send", "--url", &url, "--generate", "100000000"]).await.failed("cannot reach");
    run_with(&key, b"x", &["send", "--url", &url, "-"]).await.failed("1 of 1 requests failed");
}

/// With the real receiver: the file gets the selected lines again, and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_counted_started_watched_and_listed() {
    let home = Home::new();
    let receiver = tokio::task::block_in_place(|| home.start());
    let mut connection = receiver.connect();
    for (id, message, word) in [("1", "m-1", "sent"), ("2", "m-1", "failed"), ("3", "m-2", "sent")] {
        assert_eq!(connection.post(&format!("[{}]", status(id, message, word))).unwrap().status, 200);
    }
    let admin = format!("http://{}", receiver.admin());
    let replay = async |args: &[&str]| {
        let args = [&["replay"], args].concat();
        run_with(&[("BIKHOOK_ADMIN", &admin)], b"", &args).await
    };
    let counted = replay(&["--handler", "audit", "--status", "failed", "--dry-run"]).await.ok();
    assert_eq!(counted, "1 event would be delivered to audit: seq 2 to 2\n");
    let told = replay(&["--handler", "audit", "--message", "m-1"]).await;
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "replay 1 to audit is done: 2 events delivered\n"),
        "{told:?}"
    );
    let mut lines = Vec::new();
    home.each_line(|line| lines.push(serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()));
    assert_eq!(lines, [1, 2, 3, 1, 2]);
    let list = replay(&["list", "--json"]).await.objects();
    assert_eq!((&list[0]["state"], &list[0]["delivered"]), (&json!("done"), &json!(2)));
    let table = replay(&["list"]).await.ok();
    assert!(table.contains("done") && table.contains("100 %"), "{table}");
    replay(&["cancel", "9"]).await.failed("there is no replay 9");
    replay(&["--handler", "lake"]).await.failed("there is no handler \"lake\"");
    assert_eq!(replay(&["--dry-run"]).await.code, 2);
    let dead = replay(&["--handler", "audit", "--dead", "--status", "failed"]).await.ok();
    assert!(dead.starts_with("0 dead letters"), "{dead}");
}

#[tokio::test]
async fn a_replay_to_a_paused_handler_says_that_it_waits() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent")]).await;
    ask(&operator, &["handlers", "pause", "crm"]).await.ok();
    let paused = async || {
        let told = ask(&operator, &["replay", "list"]).await.ok();
        told.contains("WAITS FOR") && told.contains("handler crm is paused")
    };
    let told = ask(&operator, &["replay", "--handler", "crm", "--detach"]).await.ok();
    assert!(told.starts_with("replay 1 to crm waits: "), "{told}");
    until(paused).await;
    let shown = ask(&operator, &["replay", "show", "1"]).await.ok();
    assert!(shown.contains("waits      handler crm is paused\n"), "{shown}");
    let object = ask(&operator, &["replay", "show", "1", "--json"]).await.objects();
    assert_eq!(object[0]["waits"], "handler crm is paused");
    ask(&operator, &["replay", "show", "9"]).await.failed("there is no replay 9");
}

#[tokio::test]
async fn a_handler_is_paused_and_resumed() {
    let operator = Operator::new().await;
    let admin = operator.url("");
    let handlers = async |args: &[&str]| {
        run_with(&[("BIKHOOK_ADMIN", &admin)], b"", &[&["handlers"], args].concat()).await
    };
    let told = handlers(&["pause", "crm", "--reason", "it moves"]).await.ok();
    assert!(told.contains("crm is paused: resume it with `bikhook handlers resume crm`"), "{told}");
    let rows = handlers(&["--json"]).await.objects();
    assert_eq!(rows[0]["paused"]["reason"], "it moves");
    let table = handlers(&[]).await.ok();
    assert!(table.contains("\ncrm is paused since ") && table.ends_with(": it moves\n"), "{table}");
    assert_eq!(handlers(&["resume", "crm"]).await.ok(), "crm is resumed\n");
    assert_eq!(handlers(&["resume", "crm"]).await.ok(), "crm was not paused\n");
    assert_eq!(handlers(&["retry", "crm"]).await.ok(), "crm retries now\n");
    let believed = handlers(&["believe", "crm", "--yes"]).await.ok();
    assert_eq!(believed, "crm has no refused events that wait\n");
    handlers(&["believe", "lake", "--yes"]).await.failed("there is no handler \"lake\"");
    handlers(&["pause", "lake"])
        .await
        .failed("there is no handler \"lake\" in the configuration (configured: crm)");
    handlers(&["pause", "cmr"]).await.failed("did you mean crm?");
}

#[tokio::test]
async fn a_new_configuration_is_tried_with_what_is_stored_and_delivers_nothing() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent"), status("2", "b", "failed"), incoming("3", "c")]).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("new.toml");
    let text = "[sources.bik]\ncredentials.portal = { key = \"0123456789abcdef\" }\n\
        [handlers.failures]\nkind = \"log\"\nstatuses = [\"failed\"]\nmask = { drop = [\"/customerDetails\"] }\n\
        [handlers.all]\nkind = \"log\"\n";
    write_private(&file, text);
    let check = async |more: &[&str]| {
        let args = [&["check", "--config", file.to_str().unwrap(), "--against-journal", "2"], more].concat();
        run_with(&[("BIKHOOK_ADMIN", &operator.url(""))], b"", &args).await
    };
    let rows = check(&["--json", "--show", "1"]).await.objects();
    let of = |name: &str| rows.iter().find(|row| row["handler"] == name).unwrap().clone();
    let failures = of("failures");
    assert_eq!(
        (&failures["looked"], &failures["takes"], &failures["incoming"]),
        (&json!(2), &json!(1), &json!(0))
    );
    assert_eq!(failures["names"], json!({"message-status-update": 1}));
    let shown = &failures["shown"][0];
    assert_eq!((&shown["seq"], &shown["id"], &shown["phone"]), (&json!(2), &json!("2"), &json!("***00")));
    assert_eq!((&of("all")["takes"], &of("all")["incoming"]), (&json!(2), &json!(1)));
    let told = check(&[]).await.ok();
    assert!(told.starts_with("ok\n") && told.contains("Of the last 2 events"), "{told}");
    assert!(!told.contains("+91"), "nothing personal unless it is asked for");
    assert!(operator.destination.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_check_shows_what_each_destination_really_gets() {
    let operator = Operator::new().await;
    let raw = status("1", "a", "failed").replace("{\"eventName", "{ \"eventName");
    operator.store([raw.as_str()]).await;
    let folder = TempDir::new().unwrap();
    let (file, digest_key) = (folder.path().join("new.toml"), folder.path().join("digest-key"));
    let http = "kind = \"http\"\nurl = \"https://crm.example/\"\n";
    let mask = "mask = { drop = [\"/customerDetails\"] }\n";
    let text = format!(
        "[sources.bik]\ncredentials.portal = {{ key = \"0123456789abcdef\" }}\n\
         [handlers.file]\nkind = \"jsonl\"\npath = \"never-made/events.jsonl\"\n{mask}\
         [handlers.log]\nkind = \"log\"\ndigest_key_file = {digest_key:?}\n\
         [handlers.envelope]\n{http}headers = {{ Authorization = \"Bearer s3cret\" }}\n\
         [handlers.raw]\n{http}body = \"raw\"\n\
         [handlers.cloud]\n{http}body = \"cloudevents\"\n{mask}\
         [handlers.binary]\n{http}body = \"cloudevents\"\nmode = \"binary\"\n\
         [handlers.program]\nkind = \"exec\"\ncommand = [\"cat\"]\nbody = \"raw\"\nenv = {{ TOKEN = \"s3cret\" }}\n\
         [handlers.lines]\nkind = \"exec\"\ncommand = [\"cat\"]\nmode = \"lines\"\n"
    );
    write_private(&file, &text);
    let args =
        ["check", "--config", file.to_str().unwrap(), "--against-journal", "1", "--show", "1", "--json"];
    let ran = run_with(&[("BIKHOOK_ADMIN", &operator.url(""))], b"", &args).await;
    assert!(!ran.out.contains("s3cret"), "{ran:?}");
    let rows = ran.objects();
    let of = |name: &str| rows.iter().find(|row| row["handler"] == name).unwrap()["shown"][0].clone();

    let line = of("file");
    assert_eq!(
        (&line["seq"], &line["event"]["id"], line.get("key")),
        (&json!(1), &json!("1"), None),
        "{line}"
    );
    assert!(line["event"].get("customerDetails").is_none(), "{line}");
    let log = of("log");
    assert_eq!(
        (&log["status"], &log["phone"], log.get("text")),
        (&json!("failed"), &json!("***00"), None),
        "{log}"
    );
    assert!(!digest_key.exists(), "a check makes no key");
    let envelope = of("envelope");
    assert_eq!(envelope["headers"]["authorization"], "***", "{envelope}");
    assert_eq!(envelope["body"]["key"], envelope["headers"]["idempotency-key"], "{envelope}");
    let posted = of("raw");
    assert_eq!(
        (posted["body"].to_string().contains("customerDetails"), &posted["headers"]["bikhook-seq"]),
        (true, &json!("1"))
    );
    let cloud = of("cloud");
    assert_eq!(
        (&cloud["body"]["specversion"], &cloud["body"]["data"]["id"]),
        (&json!("1.0"), &json!("1")),
        "{cloud}"
    );
    assert!(cloud["body"]["data"].get("customerDetails").is_none(), "{cloud}");
    let binary = of("binary");
    assert_eq!(
        (&binary["headers"]["ce-sequence"], &binary["body"]["id"]),
        (&json!("1"), &json!("1")),
        "{binary}"
    );
    let program = of("program");
    assert_eq!((&program["env"]["BIKHOOK_SEQ"], &program["stdin"]), (&json!("1"), &json!(raw)), "{program}");
    assert_eq!(of("lines")["event"]["id"], "1");
}

#[tokio::test]
async fn a_check_shows_what_each_handler_does_and_warns_of_likely_mistakes() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent"), status("2", "b", "failed")]).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("new.toml");
    let text = "[sources.bik]\ncredentials.portal = { key = \"0123456789abcdef\" }\n\
        [handlers.crm]\nkind = \"http\"\nurl = \"https://crm.example/s3cret\"\nstart = \"beginning\"\n\
        statuses = [\"failed\", \"sent\"]\nphones = [\"+91 99\"]\n\
        where = [{ pointer = \"/eventinfo/status\", exists = false }, { pointer = \"/eventInfo/status\", exists = true }]\n\
        mask = { drop = [\"/customer\", \"/customerDetails\"], hash = [\"/eventInfo/messageId\"], key = \"s3cret-0123456789\" }\n\
        [handlers.table]\nkind = \"sqlite\"\npath = \"never-made/table.db\"\nstart = \"now\"\n";
    write_private(&file, text);
    let check = async |more: &[&str]| {
        let args = [&["check", "--config", file.to_str().unwrap()], more].concat();
        run_with(&[("BIKHOOK_ADMIN", &operator.url(""))], b"", &args).await
    };
    let told = check(&[]).await.ok();
    for line in [
        "handler  crm: http, POST https://crm.example/…, from the beginning\n",
        "  takes  statuses failed, sent; phones (1); where /eventinfo/status, /eventInfo/status\n",
        "  masks  drops /customer, /customerDetails; hashes /eventInfo/messageId\n",
        "handler  table: sqlite, never-made/table.db, table bik_events, from now\n",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert!(!told.contains("s3cret") && !told.contains("+91"), "{told}");
    let told = check(&["--against-journal", "2", "--show", "1"]).await.ok();
    let warnings: Vec<&str> = told.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 3, "{told}");
    assert!(
        warnings[0].contains("handlers.crm: none of the last 2 events has a field at \"/eventinfo/status\"")
    );
    assert!(warnings[1].contains("\"/customer\""), "{told}");
    assert!(warnings[2].contains("`bikhook replay --handler crm --since TIME`"), "{told}");
    let rows = check(&["--against-journal", "2", "--show", "1", "--json"]).await.objects();
    assert_eq!(rows[0]["nowhere"], json!(["/eventinfo/status", "/customer"]));
    assert_eq!((&rows[0]["startUnread"], rows[1].get("startUnread")), (&json!(true), None));
    let row = &rows[1]["shown"][0];
    assert_eq!((&row["message_id"], &row["status"]), (&json!("b"), &json!("failed")), "{row}");
    let none = check(&["--against-journal", "0", "--json"]).await.objects();
    assert!(none[0].get("nowhere").is_none(), "of no events nothing can be said");
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_shows_a_jump_and_accepts_it() {
    let (place, hands) = (Place::new(), Hands::new());
    let journal = place.open_by(&hands);
    let operator = Operator::over(Guard::default(), place, journal, Metrics::new()).await;
    hands.jump(40 * DAY);
    let shown = ask(&operator, &["clock"]).await.ok();
    assert!(shown.lines().any(|line| line.starts_with("trusted") && line.ends_with("false")), "{shown}");
    let accepted = ask(&operator, &["clock", "accept"]).await.ok();
    assert_eq!(accepted, format!("the wall clock is accepted: it is {}\n", hands.wall()));
    let objects = ask(&operator, &["clock", "--json"]).await.objects();
    assert_eq!(objects[0]["trusted"], json!(true));
}
