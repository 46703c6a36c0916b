//! The start: intake opens regardless of the destinations, and errors that a restart cannot resolve end with code 2.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    events::status,
    home::{Home, Process, eventually},
};

/// A handler whose program is not there until [`Late::repair`] puts it there.
struct Late {
    own: TempDir,
}

impl Late {
    fn new() -> Self {
        Self { own: TempDir::new().unwrap() }
    }

    fn program(&self) -> PathBuf {
        self.own.path().join("deliver")
    }

    fn section(&self, keys: &str) -> String {
        format!("[handlers.late]\nkind = \"exec\"\ncommand = [{:?}]\n{keys}\n", self.program())
    }

    fn repair(&self) {
        use std::os::unix::fs::PermissionsExt;
        let out = self.own.path().join("out");
        fs::write(self.program(), format!("#!/bin/sh\ncat >> {out:?}\n")).unwrap();
        fs::set_permissions(self.program(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// One of the lanes of a handler, as the API shows it.
fn lane(process: &Process, handler: &str) -> Value {
    let answer = process.operator().get("/api/v1/handlers").unwrap();
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let mut handlers = answer["handlers"].as_array().unwrap().iter();
    handlers.find(|one| one["handler"] == handler).expect("the handler")["lanes"][1].clone()
}

fn post(process: &Process, id: &str) {
    let body = format!("[{}]", status(id, "m", "sent"));
    assert_eq!(process.connect().post(&body).unwrap().status, 200);
}

#[test]
fn a_destination_that_refuses_leaves_intake_open_and_is_shown() {
    let late = Late::new();
    let foreign = late.own.path().join("foreign.jsonl");
    fs::write(&foreign, "no line of ours\n").unwrap();
    let mut home = Home::new();
    home.more = late.section("probe_first = \"1h\"\nprobe_max = \"1h\"")
        + &format!("[handlers.foreign]\nkind = \"jsonl\"\npath = {foreign:?}\n");
    let mut process = home.start();
    post(&process, "e1");
    home.wait_until_delivered_to("audit");
    for (handler, why) in [("late", late.program()), ("foreign", foreign.clone())] {
        let why = why.to_str().unwrap().to_owned();
        eventually("it is not shown as unwell", || lane(&process, handler)["state"] == "waiting");
        let shown = lane(&process, handler);
        assert!(shown["openError"].as_str().unwrap().contains(&why), "{shown}");
        assert_eq!(shown["lastFailure"], "cannot be opened");
        let metrics = process.operator().get("/metrics").unwrap().body;
        for lane in ["incoming", "other"] {
            let unwell = format!("bikhook_lane_waiting{{handler=\"{handler}\",lane=\"{lane}\"}} 1");
            assert!(metrics.contains(&unwell), "{unwell}: {metrics}");
        }
        let page = process.operator().get(&format!("/handlers/{handler}")).unwrap().body;
        assert!(page.contains("The handler could not be opened") && page.contains(&why), "{page}");
        let is_error = |line: &str| line.contains("ERROR") && line.contains(&why);
        eventually("it is not logged", || home.log().lines().any(is_error));
    }
    process.stop();
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "no line of ours\n");
}

#[test]
fn the_migration_of_an_older_journal_is_logged() {
    let home = Home::new();
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/journal/format-1.db");
    fs::copy(old, home.journal_file()).unwrap();
    home.start().stop();
    let log = home.log();
    for what in ["migration of the journal started", "migration of the journal finished"] {
        let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {log}"));
        assert!(line.contains("INFO") && line.contains("from=1 to="), "{line}");
    }
    home.start().stop();
    assert_eq!(home.log().matches("migration").count(), 2, "a journal of this format is not migrated");
}

#[test]
fn a_missing_secret_of_customers_ids_is_replaced_with_a_warning() {
    let home = Home::new();
    let mut process = home.start();
    post(&process, "e1");
    let contacts = |process: &Process| process.operator().get("/api/v1/contacts").unwrap().body;
    eventually("the customer is not stored", || contacts(&process).contains("910000000000"));
    let before = contacts(&process);
    process.stop();
    let warned = || home.log().matches("secret of customers' ids was missing").count();
    assert_eq!(warned(), 0, "the first start makes it");
    fs::remove_file(home.journal_file().with_file_name("insight.db.id-key")).unwrap();
    let mut process = home.start();
    eventually("the stored customer does not keep the id", || contacts(&process) == before);
    process.stop();
    home.start().stop();
    assert_eq!(warned(), 1, "only the start that made another one");
}

#[test]
fn a_handler_is_reopened_automatically_and_delivers_waiting_events() {
    let late = Late::new();
    let mut home = Home::new();
    home.more = late.section("probe_first = \"100ms\"\nprobe_max = \"100ms\"");
    let mut process = home.start();
    post(&process, "e1");
    eventually("it is not unwell", || lane(&process, "late")["state"] == "waiting");
    late.repair();
    home.wait_until_delivered_to("late");
    eventually("it is not well", || lane(&process, "late")["state"] == "running");
    assert_eq!(lane(&process, "late")["openError"], Value::Null);
    process.stop();
    let out = fs::read_to_string(late.own.path().join("out")).unwrap();
    assert_eq!(out.lines().count(), 1, "{out}");
}

#[test]
fn an_idle_handler_is_opened_again_when_it_is_resumed() {
    let late = Late::new();
    let mut home = Home::new();
    home.more = late.section("probe_first = \"1h\"\nprobe_max = \"1h\"");
    let mut process = home.start();
    eventually("it is not unwell", || lane(&process, "late")["state"] == "waiting");
    late.repair();
    let ask = |what: &str| {
        let asked = process.operator().ask(&format!("/api/v1/handlers/late/{what}"), "{}").unwrap();
        assert_eq!(asked.status, 200, "{}", asked.body);
    };
    ask("pause");
    eventually("it is not paused", || lane(&process, "late")["state"] == "paused");
    ask("resume");
    eventually("it is not opened", || lane(&process, "late")["state"] == "running");
    process.stop();
}

#[test]
fn destinations_that_never_answer_delay_neither_intake_nor_a_stop() {
    // Connections stay in the backlog, and are never accepted.
    let silent: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let at = |n: usize| silent[n].local_addr().unwrap().to_string();
    let mut home = Home::new();
    let keys = "timeout = \"5m\"";
    let kinds = [
        format!("kind = \"http\"\nurl = \"http://{}/\"", at(0)),
        format!("kind = \"redis\"\nurl = \"redis://{}\"", at(1)),
        format!("kind = \"nats\"\nurl = \"nats://{}\"", at(2)),
        format!("kind = \"rabbitmq\"\nurl = \"amqp://{}\"\nrouting_key = \"q\"", at(3)),
        format!("kind = \"postgres\"\nurl = \"postgres://bik@{}/bik\"", at(4)),
        format!(
            "kind = \"s3\"\nbucket = \"b\"\nendpoint = \"http://{}\"\naccess_key_id = \"k\"\nsecret_access_key = \"s\"",
            at(5)
        ),
    ];
    for (n, kind) in kinds.iter().enumerate() {
        home.more += &format!("[handlers.silent{n}]\n{kind}\n{keys}\n");
    }
    let mut process = home.start();
    post(&process, "e1");
    // No connection attempt had timed out when the first event got its 200, so nothing waited for them.
    let log = home.log();
    assert!(!log.contains("unwell") && !log.contains("refuses"), "{log}");
    home.wait_until_delivered_to("audit");
    process.stop();
}

#[test]
fn check_connect_opens_every_destination_and_says_what_is_wrong() {
    let late = Late::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut home = Home::new();
    home.more = late.section("")
        + &format!(
            "[handlers.silent]\nkind = \"redis\"\nurl = \"redis://{}\"\ntimeout = \"300ms\"\n",
            silent.local_addr().unwrap()
        );
    let mut process = home.start();
    let (code, said, error) = bikhook(&home, &["check", "--connect"]);
    assert_eq!(code, 1, "{said} {error}");
    // The file that the running receiver uses is reported, and is not an error.
    let audit = said.lines().find(|line| line.starts_with("connect  audit: ok, but")).expect(&said);
    assert!(audit.contains("in use") && audit.contains(&process.pid().to_string()), "{audit}");
    let failed = format!("connect  late: FAILED: command: {}", late.program().display());
    assert!(said.lines().any(|line| line.starts_with(&failed)), "{said}");
    assert!(said.contains("connect  silent: FAILED: no answer within 0.3 s"), "{said}");
    assert!(error.contains("2 of 3 destinations"), "{error}");
    process.stop();

    late.repair();
    home.more = late.section("");
    home.start().stop();
    let (code, said, error) = bikhook(&home, &["check", "--connect", "--json"]);
    assert_eq!((code, error.as_str()), (0, ""), "{said}");
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["ok"] == true && row["error"] == Value::Null), "{said}");

    home.more = "[handlers.late]\nkind = \"exe\"\n".to_owned();
    fs::write(home.config_file(), &home.more).unwrap();
    assert_eq!(bikhook(&home, &["check", "--connect"]).0, 2);
}

#[test]
fn a_removed_handler_is_reported_and_can_be_renamed() {
    let mut home = Home::new();
    let crm = "[handlers.crm]\nkind = \"http\"\nurl = \"http://127.0.0.1:1/\"\nstart = \"beginning\"\n";
    home.more = crm.to_owned();
    let mut process = home.start();
    post(&process, "e1");
    post(&process, "e2");
    home.wait_until_delivered_to("audit");
    process.stop();

    home.more = "[handlers.fresh]\nkind = \"log\"\n".to_owned();
    let mut process = home.start();
    let log = home.log();
    let warns = |line: &&str| line.contains("WARN") && line.contains("handler is no longer configured");
    let warned = log.lines().find(warns).expect(&log);
    assert!(warned.contains("handler=\"crm\"") && warned.contains("undelivered=2"), "{warned}");
    assert!(warned.contains("handlers rename crm NEW"), "{warned}");
    let of_fresh = |line: &&str| line.contains("handler added") && line.contains("handler=\"fresh\"");
    let new = log.lines().find(of_fresh).expect(&log);
    assert!(new.contains("begins_after=2") && new.contains("stored_before=2"), "{new}");
    let listed = bikhook(&home, &["handlers", "--admin", &format!("http://{}", process.admin())]);
    let of_lane = |line: &&str| line.trim_start().starts_with("crm ") && line.contains(" incoming ");
    let row = listed.1.lines().find(of_lane).expect(&listed.1);
    assert!(row.contains("not configured"), "{row}");
    let page = process.operator().get("/handlers").unwrap().body;
    assert!(page.contains("crm is not configured any more: 2 events are undelivered"), "{page}");
    let refused = process.operator().ask("/api/v1/handlers/audit/rename", "{\"to\":\"sales\"}").unwrap();
    assert!(refused.status == 400 && refused.body.contains("still configured"), "{}", refused.body);
    let refused = process.operator().ask("/api/v1/handlers/crm/rename", "{\"to\":\"crm\"}").unwrap();
    assert!(refused.status == 400 && refused.body.contains("are the same"), "{}", refused.body);
    let answer = process.operator().ask("/api/v1/handlers/crm/rename", "{\"to\":\"sales\"}").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    eventually("it is not logged", || home.log().contains("handler renamed by an operator"));
    process.stop();

    // And back, while it is stopped. The given configuration must not have the old name.
    let journal = home.journal_file();
    let rename = |old: &str, new: &str| {
        bikhook(&home, &["handlers", "rename", old, new, "--journal", journal.to_str().unwrap()])
    };
    let (code, _, error) = rename("sales", "sales");
    assert!(code == 1 && error.contains("are the same"), "{error}");
    assert_eq!(rename("sales", "orders").0, 0);
    let (code, _, error) = rename("fresh", "sales");
    assert!(code == 1 && error.contains("still configured"), "{error}");
    home.more = crm.replace("crm", "orders");
    let mut process = home.start();
    assert_eq!(lane(&process, "orders")["cursor"], 0, "it goes on where the old name was");
    process.stop();
}

#[test]
fn insight_that_cannot_be_opened_leaves_intake_open() {
    let own = TempDir::new().unwrap();
    let foreign = own.path().join("insight.db");
    fs::write(&foreign, "no database of ours, and longer than the head of one would be ".repeat(20)).unwrap();
    let mut home = Home::new();
    home.more = format!("[insight]\npath = {foreign:?}\n");
    let mut process = home.start();
    post(&process, "e1");
    home.wait_until_delivered_to("audit");
    let log = home.log();
    let told = |line: &str| line.contains("ERROR") && line.contains("insight cannot be opened");
    assert!(log.lines().any(told), "{log}");
    let page = process.operator().get("/").unwrap();
    assert!(page.status == 200 && page.body.contains("could not be opened"), "{}", page.body);
    let metrics = process.operator().get("/metrics").unwrap().body;
    assert!(metrics.contains("bikhook_insight_failed 1\n"), "{metrics}");
    process.stop();
}

/// A configuration, with its environment variables.
struct Made {
    name: String,
    text: String,
    variables: Vec<(String, String)>,
}

impl Made {
    fn fixtures(folder: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for entry in Path::new("fixtures/config").join(folder).read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = fs::read_to_string(&path).unwrap();
                let variables = text.lines().filter_map(|line| line.strip_prefix("# variable "));
                let variables = variables.map(|line| line.split_once('=').unwrap());
                let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                all.push(Self { name: path.display().to_string(), text, variables });
            }
        }
        assert!(!all.is_empty(), "{folder}");
        all
    }

    fn text(text: &str) -> Self {
        Self { name: text.to_owned(), text: text.to_owned(), variables: Vec::new() }
    }

    /// The code of `check`, and that of `serve`, which is stopped once it is ready.
    fn codes(&self) -> (i32, i32) {
        let own = TempDir::new().unwrap();
        let config = own.path().join("bikhook.toml");
        fs::write(&config, &self.text).unwrap();
        let command = |what: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
            command.current_dir(own.path()).env_clear().envs(self.variables.iter().cloned());
            command.arg("--config").arg(&config).arg(what);
            command
        };
        let checked = command("check").output().unwrap().status.code().unwrap();
        let mut serve = command("serve");
        if checked == 0 {
            serve.env("BIKHOOK_HTTP_LISTEN", "127.0.0.1:0").env("BIKHOOK_ADMIN_LISTEN", "127.0.0.1:0");
        }
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        if said.next().is_some() {
            assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        }
        (checked, child.wait().unwrap().code().unwrap())
    }
}

#[test]
fn serve_starts_if_check_passes_and_else_ends_with_2() {
    let source = |keys: &str| Made::text(&format!("[sources.bik]\n{keys}\n"));
    let key = |key: &str| source(&format!("credentials.portal = {{ key = {key:?} }}"));
    let mut good = Made::fixtures("good");
    good.push(source("path = \"/*\"\ncredentials.portal = { key = \"the-key\" }"));
    good.push(key(&"k".repeat(2_048)));
    good.push(Made::text(
        "[http]\nheader_limit = \"8KiB\"\nheader_bytes = \"8KiB\"\nbody_limit = 1\nin_flight_bytes = 1\nin_flight = 1\n\
         connections = 1\nconnections_per_address = 1\nauth_failures_per_minute = 1\n[sources.bik]\nrate = 1\n\
         credentials.portal = { key = \"the-key\" }\n[handlers.log]\nkind = \"log\"\nbatch = 1\nconcurrency = 1\n\
         aside_limit = 1\n",
    ));
    good.push(Made::text("[insight]\nenabled = false\nfailures = \"/nowhere/failures.toml\"\n"));
    for made in good {
        assert_eq!(made.codes(), (0, 0), "{}", made.name);
    }
    let mut bad = Made::fixtures("bad");
    bad.extend([
        key(""),
        key("  "),
        key(&"k".repeat(2_049)),
        source("credentials.portal = { username = \"u\", password = \"\" }"),
        source("credentials.portal = { username = \"\", password = \"p\" }"),
        source("auth = \"none\"\ncredentials.portal = { key = \"the-key\" }"),
        Made::text("[http]\nheader_limit = \"4KiB\"\n"),
        Made::text("[http]\nin_flight_bytes = \"1MiB\"\n"),
        Made::text("[insight]\nfailures = \"/nowhere/failures.toml\"\n"),
        Made::text("[admin]\ncredentials = { username = \"ops\", password = \"\" }\n"),
        Made::text("[handlers.x]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\nca = \"ca.pem\"\n"),
        Made::text("[handlers.x]\nkind = \"log\"\nmask = { hash = [\"/id\"] }\n"),
    ]);
    for made in bad {
        assert_eq!(made.codes(), (2, 2), "{}", made.name);
    }
}

/// The output and the exit code of a command.
fn bikhook(home: &Home, args: &[&str]) -> (i32, String, String) {
    let output = home.command().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The exit code and the last line of a start in this folder.
fn ended(home: &Home) -> (i32, String) {
    let code = home.spawn(home.command()).exit_code();
    (code, home.log().lines().last().unwrap_or_default().to_owned())
}

#[test]
fn an_error_that_a_restart_cannot_resolve_ends_a_start_with_code_2() {
    let home = Home::new();
    home.start().stop();
    let journal = rusqlite::Connection::open(home.journal_file()).unwrap();
    journal.pragma_update(None, "user_version", 99).unwrap();
    drop(journal);
    let (code, error) = ended(&home);
    assert!(code == 2 && error.contains("newer bikhook"), "{code} {error}");
    fs::write(home.journal_file(), "no database").unwrap();
    let (code, error) = ended(&home);
    assert!(code == 2 && error.contains("not a bikhook journal"), "{code} {error}");

    // A path that is not a folder, or a folder without read permission; root can read everything.
    let own = TempDir::new().unwrap();
    let not_a_folder = own.path().join("file");
    fs::write(&not_a_folder, "").unwrap();
    let data = |path: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
        command.current_dir(own.path()).env("BIKHOOK_JOURNAL_PATH", path);
        command.env("BIKHOOK_HTTP_LISTEN", "127.0.0.1:0").env("BIKHOOK_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("BIKHOOK_SOURCES_BIK_CREDENTIALS_PORTAL_KEY", "the-key");
        command.output().unwrap()
    };
    let output = data(&not_a_folder.join("journal.db"));
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let output = data(own.path());
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
