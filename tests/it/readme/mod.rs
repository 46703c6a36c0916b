//! Checks the documents: their commands are run and the output is compared, their TOML is loaded, their tables match
//! the code, and all names and links exist.

pub mod page;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bikhook::{clock::Timestamp, config::Config};
use serde::Deserialize;
use tempfile::TempDir;

use self::page::{Block, Document, document, documents};
use crate::support::{events::status, home::eventually, receiver::Receiver};

/// The blocks that are not run: document, first line and reason. A new one must be added here.
const SKIPPED: [(&str, &str, &str); 12] = [
    ("README.md", "git clone URL bikhook", "because the test builds the binary itself"),
    ("README.md", "bikhook", "because it runs until it is stopped: the test starts it"),
    ("README.md", "tests/run", "because it runs this test"),
    ("CONTRIBUTING.md", "tests/run", "because it runs this test"),
    ("CONTRIBUTING.md", ".ci/run", "because it runs this test"),
    ("docs/install.md", "cargo install --locked --path .", "because the test builds the binary itself"),
    (
        "docs/install.md",
        "cargo install --locked --path . --features kafka,parquet",
        "because the test builds the binary itself",
    ),
    ("docs/install.md", "docker compose -f config/compose.yaml up -d", "because it needs a Docker engine"),
    (
        "docs/install.md",
        "sudo install -m 0755 ~/.cargo/bin/bikhook /usr/local/bin/bikhook",
        "because it changes the system",
    ),
    (
        "docs/install.md",
        "sudo sh -c 'set -a; . /etc/bikhook/bikhook.env; bikhook auth --config /etc/bikhook/bikhook.toml'",
        "because it needs the installed unit",
    ),
    ("docs/performance.md", "cargo bench --bench intake", "because the benches take minutes"),
    (
        "docs/portal.md",
        "bikhook send --url https://hooks.example.com/webhook --key-file data/credential fixtures/bik/page/status-failed.json",
        "because it needs a public host",
    ),
];

/// Languages whose blocks are run or read.
const READ: [&str; 4] = ["sh", "console", "toml", "json"];

/// Languages that are neither run nor read.
const SHOWN: [&str; 4] = ["nginx", "caddy", "dockerfile", "text"];

/// A key for the variable that the configurations of the documents need.
const KEY: &str = "a-key-for-this-page";

#[test]
fn only_the_blocks_that_are_listed_are_not_run() {
    let (mut skipped, mut read) = (Vec::new(), BTreeSet::new());
    for document in documents() {
        for block in document.blocks() {
            let language = block.language.as_str();
            let is_read = READ.contains(&language);
            assert!(is_read || SHOWN.contains(&language), "{}: what is {language:?}?", document.path);
            match &block.skip {
                Some(why) => skipped.push((document.path.clone(), block.first().to_owned(), why.clone())),
                None if is_read => drop(read.insert(language.to_owned())),
                None => {}
            }
        }
    }
    let listed =
        SKIPPED.map(|(document, first, why)| (document.to_owned(), first.to_owned(), why.to_owned()));
    assert_eq!(skipped, listed);
    assert_eq!(read.len(), READ.len(), "of a language no block was found: {read:?}");
}

#[test]
fn the_readme_is_short() {
    let lines = document("README.md").lines();
    assert!(lines <= 200, "{lines} lines: what is not for everybody belongs into docs/");
}

/// A folder in which somebody follows a document, with a clone's samples and the binary on the path.
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

    /// `bikhook` as the documents start it; the addresses of the defaults may be taken.
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

    /// Shell lines, with the real addresses instead of those of the document.
    fn shell(&self, receiver: &Receiver, lines: &str) -> Output {
        let (http, admin) = (receiver.http.to_string(), receiver.admin.to_string());
        let lines = lines.replace("127.0.0.1:8080", &http).replace("127.0.0.1:8081", &admin);
        self.command("sh", &http, &admin).args(["-euc", &lines]).output().unwrap()
    }

    /// Runs every block that is not skipped, in order.
    #[track_caller]
    fn follow_all(&self, receiver: &Receiver, document: &Document) {
        for block in document.blocks().iter().filter(|block| block.skip.is_none()) {
            self.follow(receiver, block);
        }
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

    /// The output of the lines, all of which must succeed.
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
fn the_readme_does_what_it_says_and_a_killed_receiver_knows_a_duplicate() {
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    desk.follow_all(&receiver, &document("README.md"));
    let addresses = (receiver.http.to_string(), receiver.admin.to_string());
    receiver.kill();
    let receiver = desk.start_again(addresses);
    let said = desk.succeed(&receiver, "bikhook send --json fixtures/bik/page/status-failed.json");
    let summary: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&summary["accepted"], &summary["duplicates"]), (&0.into(), &1.into()), "{said}");
}

#[test]
fn the_other_documents_do_what_they_say() {
    let mut followed = 0;
    for document in documents().iter().filter(|document| document.path != "README.md") {
        let runs =
            |block: &Block| block.skip.is_none() && ["sh", "console"].contains(&block.language.as_str());
        if !document.blocks().iter().any(runs) {
            continue;
        }
        followed += 1;
        // Their reader has followed the README.
        let desk = Desk::new();
        let receiver = desk.start(&[]);
        desk.succeed(&receiver, "bikhook send fixtures/bik/page/*.json");
        desk.follow_all(&receiver, document);
    }
    assert!(followed >= 3, "no commands were found");
}

#[test]
fn every_toml_is_accepted() {
    let desk = Desk::new();
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.language == "toml") {
            let path = desk.path("read.toml");
            fs::write(&path, &block.text).unwrap();
            let secrets = [
                ("BIK_KEY", KEY),
                ("DATABASE_PASSWORD", "x"),
                ("KAFKA_PASSWORD", "x"),
                ("CRM_SIGNING_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ];
            let variables = secrets.map(|(name, value)| (name.into(), value.into()));
            let config = Config::load(Some(&path), variables)
                .unwrap_or_else(|error| panic!("{}: {error}", document.path));
            // A part of a file has no handlers, which is warned about.
            let whole = block.first().starts_with('#');
            assert!(config.warnings.is_empty() || !whole, "{}: {}", document.path, config.warnings);
            let mut check = desk.command(env!("CARGO_BIN_EXE_bikhook"), "127.0.0.1:8080", "127.0.0.1:8081");
            let checked = check.args(["check", "--config", "read.toml"]).envs(secrets).output().unwrap();
            let complaint = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{}: {complaint}", document.path);
        }
    }
}

/// A secret in an example is copied to production as it is.
#[test]
fn no_example_has_a_secret_in_clear() {
    let files = fs::read_dir("config").unwrap().map(|entry| entry.unwrap().path());
    let mut texts: Vec<(String, String)> =
        files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect();
    for document in documents() {
        let toml = document.blocks().into_iter().filter(|block| block.language == "toml");
        texts.extend(toml.map(|block| (document.path.clone(), block.text)));
    }
    let secrets =
        ["key", "password", "token", "Authorization", "API_TOKEN", "signing_keys", "secret_access_key"];
    let mut found = 0;
    for (path, text) in &texts {
        for placeholder in ["change-me", "changeme", "replace-me", "your-key", "your-secret"] {
            assert!(!text.contains(placeholder), "{path}: {placeholder}");
        }
        for line in text.lines().filter(|line| !line.contains("key = value")) {
            for (before, value) in line.match_indices(" = ").map(|(at, sign)| line.split_at(at + sign.len()))
            {
                let name = before.trim_end_matches(" = ").rsplit([' ', '.']).next().unwrap_or_default();
                if secrets.contains(&name) {
                    found += 1;
                    assert!(value.starts_with('{') || value.starts_with("[{"), "{path}: {line}");
                }
            }
        }
    }
    assert!(found > 10, "{found} secrets were found");
}

/// The file of a document, with its `[sources.bik]` replaced by that block.
fn with_source(file: &str, block: &str) -> String {
    let mut sections = file.split_inclusive('\n').peekable();
    let mut merged = String::new();
    while let Some(line) = sections.next() {
        if !line.starts_with("[sources.bik]") {
            merged += line;
            continue;
        }
        while sections.next_if(|line| !line.starts_with('[')).is_some() {}
        merged += block;
        merged += "\n";
    }
    assert!(merged.contains(block), "the file has no [sources.bik]");
    merged
}

#[test]
fn the_rotation_fits_the_files_of_the_documents() {
    let rotation = document("docs/portal.md").blocks();
    let rotation = rotation.iter().find(|block| block.text.contains("credentials.next")).unwrap();
    let end = rotation.text.split("not_after = ").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap();
    // The date of the document is over one day.
    let block = rotation.text.replace(end, "2099-12-31T00:00:00Z");
    for path in ["README.md", "docs/configuration.md"] {
        let blocks = document(path).blocks();
        let file = blocks.iter().find(|block| block.first() == "# bikhook.toml").expect(path);
        let desk = Desk::new();
        fs::write(desk.path("bikhook.toml"), &file.text).unwrap();
        desk.start(&["--config", "bikhook.toml"]).kill();
        let before = fs::read_to_string(desk.path("data/credential")).unwrap();

        fs::write(desk.path("bikhook.toml"), with_source(&file.text, &block)).unwrap();
        let receiver = desk.start(&["--config", "bikhook.toml"]);
        for key in ["credential", "credential-2027"] {
            let post = format!(
                "curl -sS --fail-with-body -H \"Authorization: Basic $(cat data/{key})\" --data-binary \
                 @fixtures/bik/page/status-failed.json http://127.0.0.1:8080/webhook"
            );
            let answer = desk.succeed(&receiver, &post);
            assert!(answer.contains("\"quarantined\":0"), "{path}, {key}: {answer}");
        }
        assert_eq!(
            fs::read_to_string(desk.path("data/credential")).unwrap(),
            before,
            "{path}: the old key stays"
        );
    }
}

#[test]
fn every_json_is_json() {
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.language == "json") {
            let read = serde_json::from_str::<serde_json::Value>(&block.text);
            assert!(read.is_ok(), "{}: {read:?}: {}", document.path, block.text);
        }
    }
}

#[test]
fn the_complete_file_keeps_every_event_and_sorts_out_failed_broadcasts() {
    let desk = Desk::new();
    let blocks = document("docs/configuration.md").blocks();
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

/// Keys of the example, by section and name: the default, or `None` where it has none. The section of a handler is its kind.
fn example() -> BTreeMap<(String, String), Option<String>> {
    let text = fs::read_to_string("config/example.toml").unwrap();
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        let (has_default, line) = match line.split_once(' ') {
            Some(("#", rest)) => (true, rest),
            Some(("#+" | "#-", rest)) => (false, rest),
            _ => (false, line),
        };
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once(" = ") else { continue };
        if !key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_') {
            continue;
        }
        if key == "kind" && section.starts_with("handlers.") {
            section = format!("kind {}", value.trim_matches('"'));
        } else {
            keys.insert((section.clone(), key.to_owned()), has_default.then(|| value.to_owned()));
        }
    }
    assert!(keys.len() > 100, "the keys of the example were not found");
    keys
}

/// The keys of a table, each with its default, in the order of the keys.
fn keys_of_table(rows: Vec<Vec<String>>) -> Vec<(String, String)> {
    let keys = rows.into_iter().filter(|row| row[0].starts_with('`'));
    let mut keys: Vec<_> = keys.map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone())).collect();
    keys.sort();
    keys
}

/// The default as written in a table.
fn default_cell(default: Option<&String>) -> String {
    default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"))
}

#[test]
fn each_section_of_the_configuration_has_every_key_with_its_default() {
    let (page, example) = (document("docs/configuration.md"), example());
    for (heading, section) in [
        ("## http", "http"),
        ("## admin", "admin"),
        ("## sources", "sources.bik"),
        ("## journal", "journal"),
        ("## insight", "insight"),
        ("## log", "log"),
    ] {
        let answers = format!("{section}.answers");
        let keys = example.iter().filter(|((of, _), _)| of == section || *of == answers);
        let mut expected: Vec<_> = keys
            .map(|((of, key), default)| (format!("{of}.{key}"), default_cell(default.as_ref())))
            .collect();
        expected.sort();
        assert!(!expected.is_empty(), "the example has no {section}");
        assert_eq!(keys_of_table(page.rows_below(heading)), expected);
    }
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
    keys: Vec<String>,
}

fn kinds() -> Vec<Kind> {
    let listed = Command::new(env!("CARGO_BIN_EXE_bikhook")).args(["kinds", "--json"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let kinds: Vec<Kind> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(kinds.len() > 4, "{listed}");
    kinds
}

#[test]
fn each_kind_has_its_row_and_a_section_with_every_key() {
    let (page, example) = (document("docs/handlers.md"), example());
    let table = page.rows_below("## Kinds");
    for Kind { kind, keys } in kinds() {
        let name = format!("`{kind}`");
        let link = format!("[{name}](#{kind})");
        assert!(table.iter().any(|row| row[0] == link), "{kind} is not in the table of kinds");
        let rows = page.rows_below(&format!("## {name}"));
        let rows: Vec<_> = rows.iter().filter(|row| row[0].starts_with('`')).collect();
        let named: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        assert_eq!(named, keys, "{kind}");
        for row in rows.iter().filter(|row| row[1].starts_with('`')) {
            let key = row[0].trim_matches('`').to_owned();
            let default = example.get(&(format!("kind {kind}"), key)).and_then(Option::as_ref);
            assert_eq!(default_cell(default), row[1], "{kind}: {}", row[0]);
        }
    }
}

#[test]
fn the_keys_of_every_handler_are_there_with_their_defaults() {
    let own = kinds().into_iter().find(|one| one.kind == "log").unwrap().keys;
    let example = example();
    let common = example.iter().filter(|((of, key), _)| of == "kind log" && !own.contains(key));
    let expected: Vec<_> =
        common.map(|((_, key), default)| (key.clone(), default_cell(default.as_ref()))).collect();
    assert!(expected.len() > 15, "{expected:?}");
    let rows = document("docs/handlers.md").rows_below("## Keys of every handler");
    assert_eq!(keys_of_table(rows), expected);
}

#[test]
fn every_command_has_its_row() {
    let help = Command::new(env!("CARGO_BIN_EXE_bikhook")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.split("\n\n").next().unwrap_or_default();
    let names = commands.lines().filter_map(|line| line.split_whitespace().next());
    let expected: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(expected.len() > 10, "{help}");
    let rows = document("docs/operations.md").rows_below("## Commands");
    let named = rows.iter().filter_map(|row| row[0].strip_prefix("`bikhook ")?.strip_suffix('`'));
    assert_eq!(named.collect::<Vec<_>>(), expected);
}

#[test]
fn all_names_and_links_in_the_documents_exist() {
    let documents = documents();
    let mut tests = BTreeSet::new();
    let mut links = 0;
    for document in &documents {
        let path = &document.path;
        let anchors = document.anchors();
        let distinct: BTreeSet<&String> = anchors.iter().collect();
        assert_eq!(distinct.len(), anchors.len(), "{path}: two headings have the same anchor");
        tests.extend(document.code_spans().into_iter().filter(|span| is_rust_path(span)));
        for (file, anchor) in document.links() {
            links += 1;
            assert!(file.exists(), "{path}: there is no {}", file.display());
            if let Some(anchor) = anchor {
                let anchors = page::document(file.to_str().unwrap()).anchors();
                assert!(anchors.contains(&anchor), "{path}: {} has no heading {anchor:?}", file.display());
            }
        }
    }
    assert!(tests.len() > 15 && links > 50, "{links} links, {tests:?}");
    for test in tests {
        assert!(is_test_or_module(&test), "there is no {test}");
    }
}

#[test]
fn every_metric_that_the_documents_name_exists() {
    let spans = documents().into_iter().flat_map(|document| document.code_spans());
    let named: BTreeSet<String> = spans.filter(|span| span.starts_with("bikhook_")).collect();
    assert!(named.len() > 40, "{named:?}");
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    let metrics = desk.succeed(&receiver, "curl -s http://127.0.0.1:8081/metrics");
    for name in named {
        let starts = ["{", " ", "_bucket{"].map(|end| format!("{name}{end}"));
        let is_there = metrics.lines().any(|line| starts.iter().any(|start| line.starts_with(start)));
        assert!(is_there, "there is no {name}");
    }
}

#[test]
fn every_route_has_its_row() {
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    let openapi = desk.succeed(&receiver, "curl -s http://127.0.0.1:8081/api/v1/openapi.json");
    let openapi: serde_json::Value = serde_json::from_str(&openapi).unwrap();
    let mut expected = BTreeSet::new();
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            expected.insert(format!("`{} /api/v1{path}`", method.to_uppercase()));
        }
    }
    assert!(expected.len() > 30, "{expected:?}");
    let cells = document("docs/api.md").rows().into_iter().map(|row| row[0].clone());
    let named: BTreeSet<String> = cells.filter(|cell| cell.contains(" /api/v1/")).collect();
    assert_eq!(named, expected);
}

#[test]
fn every_route_that_the_documents_name_is_served() {
    let desk = Desk::new();
    let receiver = desk.start(&[]);
    let spans = documents().into_iter().flat_map(|document| document.code_spans());
    let named: BTreeSet<String> = spans.filter(|span| span.contains(" /api/v1/")).collect();
    assert!(named.len() > 30, "{named:?}");
    for path in named {
        let (method, path) = path.split_once(' ').unwrap();
        let path = path.replace("{seq}", "1").replace("{id}", "1").replace("{name}", "log");
        // A tail never ends, but an invalid request for it does.
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

/// Whether a code span is a path of Rust, such as `crash::sync`.
fn is_rust_path(span: &str) -> bool {
    let is_part =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_:".contains(letter);
    span.contains("::") && span.chars().all(is_part)
}

/// `crash::sync::a_test`, or `crash::sync`: by the files of the integration tests.
fn is_test_or_module(name: &str) -> bool {
    let files = |module: &str| {
        let folder = Path::new("tests/it").join(module.replace("::", "/"));
        [folder.with_extension("rs"), folder.join("mod.rs")]
    };
    let (module, test) = name.rsplit_once("::").unwrap();
    let contains = |text: String| text.contains(&format!("fn {test}("));
    files(name).iter().any(|file| file.exists())
        || files(module).iter().any(|file| fs::read_to_string(file).is_ok_and(contains))
}
