//! The README is true: its commands are run and their output compared, its TOML is read and served, its names exist.

pub mod page;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bikhook::{clock::Timestamp, config::Config};
use serde::Deserialize;
use tempfile::TempDir;

use self::page::{Block, blocks, code_spans, links, rows};
use crate::support::{events::status, home::eventually, receiver::Receiver};

/// The blocks that are not run, by their first line, and why not. A new one has to be entered here.
const SKIPPED: [(&str, &str); 6] = [
    ("cd bikhook", "because the test builds the binary itself"),
    ("bikhook", "because it runs until it is stopped: the test starts it"),
    ("tests/run", "because it runs this test"),
    ("docker compose -f config/compose.yaml up -d", "because it needs a Docker engine"),
    ("sudo install -m 0755 ~/.cargo/bin/bikhook /usr/local/bin/bikhook", "because it changes the system"),
    ("cargo bench --bench intake", "because the benches take minutes"),
];

/// Languages that say nothing to run or to read.
const SHOWN: [&str; 3] = ["nginx", "caddy", "dockerfile"];

/// A key for the variable that the configuration of the page asks for.
const KEY: &str = "a-key-for-this-page";

#[test]
fn only_the_blocks_that_are_listed_are_not_run() {
    let blocks = blocks();
    let skipped: Vec<_> =
        blocks.iter().filter_map(|block| Some((block.first(), block.skip.as_deref()?))).collect();
    assert_eq!(skipped, SKIPPED);
    for block in &blocks {
        let known = ["sh", "console", "toml"].contains(&block.language.as_str());
        assert!(known || SHOWN.contains(&block.language.as_str()), "what is {:?}?", block.language);
    }
    for language in ["sh", "console", "toml"] {
        let run = blocks.iter().filter(|block| block.language == language && block.skip.is_none());
        assert!(run.count() > 0, "no {language} was found");
    }
}

/// A folder in which somebody follows the page, with a clone's samples and the binary on the path.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        symlink(root.join("fixtures"), folder.path().join("fixtures")).unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_bikhook"), folder.path().join("bin/bikhook")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in this folder, with the addresses that it listens on or asks.
    fn command(&self, program: &str, http: &str, admin: &str) -> Command {
        let system = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_clear();
        command.env("PATH", format!("{}:{system}", self.path("bin").display()));
        command.env("BIKHOOK_HTTP_LISTEN", http).env("BIKHOOK_ADMIN_LISTEN", admin);
        command
    }

    /// `bikhook` as the page starts it; the addresses of the defaults may be taken.
    fn start(&self, args: &[&str]) -> Receiver {
        let mut command = self.command(env!("CARGO_BIN_EXE_bikhook"), "127.0.0.1:0", "127.0.0.1:0");
        command.args(args).env("BIK_KEY", KEY);
        Receiver::start(command, &self.path("log"), &self.path("data/journal.db.lock"))
    }

    /// Starts it where it was before.
    fn start_again(&self, before: (String, String)) -> Receiver {
        let command = self.command(env!("CARGO_BIN_EXE_bikhook"), &before.0, &before.1);
        Receiver::start(command, &self.path("log"), &self.path("data/journal.db.lock"))
    }

    /// Lines of the shell, with the real addresses in the place of the page's.
    fn shell(&self, receiver: &Receiver, lines: &str) -> Output {
        let (http, admin) = (receiver.http.to_string(), receiver.admin.to_string());
        let lines = lines.replace("127.0.0.1:8080", &http).replace("127.0.0.1:8081", &admin);
        self.command("sh", &http, &admin).args(["-euc", &lines]).output().unwrap()
    }

    /// Runs a block, or writes the file that it is.
    #[track_caller]
    fn follow(&self, receiver: &Receiver, block: &Block) {
        match block.language.as_str() {
            "sh" => drop(self.succeed(receiver, &block.text)),
            "console" => {
                for (command, expected) in block.dialogue() {
                    let said = self.succeed(receiver, &command);
                    assert_eq!(without_times(&said), without_times(&expected), "$ {command}");
                }
            }
            "toml" => {
                if let Some(name) = block.first().strip_prefix("# ") {
                    fs::write(self.path(name), &block.text).unwrap();
                }
            }
            _ => {}
        }
    }

    /// What the lines write, once all of them have done what they were asked to.
    #[track_caller]
    fn succeed(&self, receiver: &Receiver, lines: &str) -> String {
        let output = self.shell(receiver, lines);
        let said = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {lines}\n{said}{complaint}", output.status);
        said
    }
}

/// The text with every time replaced, and without the blanks at the ends of lines.
fn without_times(text: &str) -> String {
    let mut masked = String::new();
    for line in text.trim_end().lines() {
        let words = line.trim_end().split(' ');
        let words = words.map(|word| if word.parse::<Timestamp>().is_ok() { "TIME" } else { word });
        masked += &(words.collect::<Vec<_>>().join(" ") + "\n");
    }
    masked
}

#[test]
fn its_commands_do_what_it_says_and_a_killed_receiver_still_knows_a_duplicate() {
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    for block in blocks().iter().filter(|block| block.skip.is_none()) {
        desk.follow(&receiver, block);
    }
    let addresses = (receiver.http.to_string(), receiver.admin.to_string());
    receiver.kill();
    let receiver = desk.start_again(addresses);
    let said = desk.succeed(&receiver, "bikhook send --json fixtures/bik/page/status-failed.json");
    let summary: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&summary["accepted"], &summary["duplicates"]), (&0.into(), &1.into()), "{said}");
}

#[test]
fn every_toml_is_accepted() {
    let desk = Desk::new();
    for block in blocks().iter().filter(|block| block.language == "toml") {
        let path = desk.path("read.toml");
        fs::write(&path, &block.text).unwrap();
        let secrets = [("BIK_KEY", KEY), ("DATABASE_PASSWORD", "x"), ("KAFKA_PASSWORD", "x")];
        let variables = secrets.map(|(name, value)| (name.into(), value.into()));
        let config = Config::load(Some(&path), variables).unwrap_or_else(|error| panic!("{error}"));
        // A part of a file has no handlers, which is warned about.
        let whole = block.first().starts_with('#');
        assert!(config.warnings.is_empty() || !whole, "{}", config.warnings);
        let mut check = desk.command(env!("CARGO_BIN_EXE_bikhook"), "127.0.0.1:8080", "127.0.0.1:8081");
        let checked = check.args(["check", "--config", "read.toml"]).envs(secrets).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn its_configuration_keeps_every_event_and_sorts_out_the_failures_of_broadcasts() {
    let desk = Desk::new();
    let blocks = blocks();
    let whole = blocks.iter().find(|block| block.first() == "# bikhook.toml").unwrap();
    fs::write(desk.path("bikhook.toml"), &whole.text).unwrap();
    let broadcast = format!("[{},{}]", status("s-1", "m-1", "sent"), status("s-2", "m-1", "failed"));
    fs::write(desk.path("broadcast.json"), broadcast).unwrap();

    let receiver = desk.start(&["--config", "bikhook.toml"]);
    // One of an agent, which is no broadcast, and two of a campaign.
    let send = "BIK_KEY=a-key-for-this-page bikhook --config bikhook.toml send fixtures/bik/page/status-failed.json broadcast.json";
    desk.succeed(&receiver, send);
    let ids = |name: &str| {
        let text = fs::read_to_string(desk.path(name)).unwrap_or_default();
        let ids = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["id"].as_str().unwrap().to_owned()
        });
        ids.collect::<Vec<_>>()
    };
    eventually("not every event is in its file", || {
        ids("data/events.jsonl").len() == 3 && ids("data/failures.jsonl") == ["s-2"]
    });
}

#[test]
fn the_defaults_in_its_table_are_those_of_the_example() {
    let example = fs::read_to_string("config/example.toml").unwrap();
    let mut defaults = BTreeMap::new();
    let mut section = "";
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) {
            defaults.insert(format!("`{section}.{key}`"), format!("`{value}`"));
        }
    }
    let table: Vec<_> = rows()
        .into_iter()
        .filter(|row| row[0].starts_with("`http.") || defaults.contains_key(&row[0]))
        .collect();
    assert!(table.len() > 15, "the table was not found");
    for row in table {
        assert_eq!(defaults.get(&row[0]), Some(&row[1]), "{}", row[0]);
    }
}

#[test]
fn its_kinds_are_those_that_there_are_with_every_key() {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
        keys: Vec<String>,
    }
    let listed = Command::new(env!("CARGO_BIN_EXE_bikhook")).args(["kinds", "--json"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.is_empty());
    for line in listed.lines() {
        let Kind { kind, keys } = serde_json::from_str(line).unwrap();
        let row =
            rows().into_iter().find(|row| row[0] == format!("`{kind}`")).unwrap_or_else(|| panic!("{kind}"));
        let told: Vec<&str> = row[2].split(' ').map(|key| key.trim_matches('`')).collect();
        assert_eq!(told, keys, "{kind}");
    }
}

#[test]
fn the_tests_the_files_and_the_metrics_that_it_names_exist() {
    let named: Vec<String> = code_spans().into_iter().filter(|span| span.contains("::")).collect();
    assert!(named.len() > 15, "{named:?}");
    for test in named {
        assert!(is_test_or_module(&test), "there is no {test}");
    }
    for link in links().into_iter().filter(|link| !link.starts_with("http")) {
        assert!(Path::new(&link).exists(), "there is no {link}");
    }
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    let metrics = desk.succeed(&receiver, "curl -s http://127.0.0.1:8081/metrics");
    let named: Vec<String> = code_spans().into_iter().filter(|span| span.starts_with("bikhook_")).collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        let starts = ["{", " ", "_bucket{"].map(|end| format!("{name}{end}"));
        let is_there = metrics.lines().any(|line| starts.iter().any(|start| line.starts_with(start)));
        assert!(is_there, "there is no {name}");
    }
}

#[test]
fn every_path_of_the_api_that_it_names_is_served() {
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    let named: Vec<_> = code_spans().into_iter().filter(|span| span.contains(" /api/v1/")).collect();
    assert!(named.len() > 10, "{named:?}");
    for path in named {
        let (method, path) = path.split_once(' ').unwrap();
        let path = path.replace("{seq}", "1").replace("{id}", "1").replace("{name}", "log");
        // A tail has no end: what is wrong with a question has.
        let path = path.replace("/tail", "/tail?after=x");
        let ask = format!(
            "curl -s -X {method} -H 'Content-Type: application/json' -d '{{}}' http://127.0.0.1:8081{path}"
        );
        let said = desk.succeed(&receiver, &ask);
        assert!(
            !said.contains("nothing at this path") && !said.contains("that method"),
            "{method} {path}: {said}"
        );
    }
}

/// `crash::sync::a_test`, or `crash::sync`: by the files of the integration tests.
fn is_test_or_module(name: &str) -> bool {
    let file = |module: &str| Path::new("tests/it").join(module.replace("::", "/")).with_extension("rs");
    let (module, test) = name.rsplit_once("::").unwrap();
    let contains = |text: String| text.contains(&format!("fn {test}("));
    file(name).exists() || fs::read_to_string(file(module)).is_ok_and(contains)
}
