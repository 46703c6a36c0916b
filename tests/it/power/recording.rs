//! Runs a receiver twice, and records all its writes.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
    thread,
};

use tempfile::TempDir;

use super::log::Log;
use crate::support::{
    client::Client,
    home::{Home, Stored},
    load::{Ledger, Load, Made},
    proof::Proof,
};

const SENDERS: u64 = 6;
/// The number of answers that the senders wait for before and after a burst.
const ANSWERS: u64 = 60;
/// Connections that post large events at once: more than one group commit holds, and enough for a checkpoint.
const LARGE_SENDERS: usize = 64;
const LARGE_POSTS: usize = 3;
const LARGE_BYTES: usize = 60_000;
/// The minimum duration of a sync, as on a real disk.
const SYNC_US: u32 = 1_500;

/// The recorded operations, and the answers that the senders got.
pub struct Recording {
    pub log: Log,
    pub ledger: Ledger,
    /// The seq of each event, by its id.
    pub seqs: HashMap<String, u64>,
    /// The folder of the receiver.
    pub root: PathBuf,
}

/// A receiver with a handler that writes lines, rotated and compressed, and one that writes rows.
pub fn home(root: PathBuf) -> Home {
    let rows = rows_file(&root);
    let mut home = Home::at(root);
    home.audit_keys = "rotate_size = \"1MiB\"\ngzip = true";
    home.more = format!(
        "[handlers.rows]\nkind = \"sqlite\"\npath = {rows:?}\nevents = [\"incoming-message\"]\nconcurrency = 1\n"
    );
    home
}

/// The file of the handler that writes rows: in a folder that it makes.
pub fn rows_file(root: &Path) -> PathBuf {
    root.join("rows/rows.db")
}

/// Runs the receiver once with recording. Checks that everything is correct without a power cut.
pub fn record(seed: u64) -> Recording {
    let folder = TempDir::new().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap().join("home");
    fs::create_dir(&root).unwrap();
    let home = home(root.clone());
    let recorder = Recorder::build(folder.path());
    let load = Load::new(SENDERS, seed);
    let mut large = Vec::new();
    for life in 0..2 {
        let mut process = home.spawn(recorder.watch(&home, &root));
        process.wait_until_ready();
        load.aim(process.address());
        load.wait_for_answers(ANSWERS);
        large.extend(post_large(process.address(), life));
        load.wait_for_answers(ANSWERS);
        if life == 0 {
            process.stop();
        } else {
            let mut ledger = load.finish();
            ledger.events.extend(large);
            home.wait_until_delivered();
            process.stop();
            let seqs = check(&home, &ledger);
            let log = Log::read(fs::read(recorder.log).unwrap());
            return Recording { log, ledger, seqs, root };
        }
    }
    unreachable!("the second life is the last")
}

/// The seq of each event, once nothing is missing.
fn check(home: &Home, ledger: &Ledger) -> HashMap<String, u64> {
    let mut proof = Proof::new(ledger);
    let mut seqs = HashMap::new();
    home.each_stored(|stored| {
        seqs.insert(id_of(&stored), stored.seq);
        proof.stored(&stored);
    });
    home.each_line(|line| proof.line(line));
    assert!(seqs.len() == ledger.events.len(), "{} events, {} posted", seqs.len(), ledger.events.len());
    seqs
}

/// BIK's id of a stored event.
pub fn id_of(stored: &Stored) -> String {
    let event: serde_json::Value = serde_json::from_str(&stored.raw).expect("an event");
    event["id"].as_str().expect("an id").to_owned()
}

/// Large events, many at once.
fn post_large(address: SocketAddr, life: usize) -> Vec<Made> {
    let together = Barrier::new(LARGE_SENDERS);
    let post = |sender: usize| {
        let mut client = Client::connect(address).expect("a connection");
        together.wait();
        let made = |post: usize| Made {
            id: format!("large-{life}-{sender}-{post}"),
            message: format!("m-large-{life}-{sender}-{post}"),
            step: Some(0),
            padding: LARGE_BYTES,
        };
        let events: Vec<Made> = (0..LARGE_POSTS).map(made).collect();
        for event in &events {
            let receipt = client.post(&format!("[{}]", event.element())).expect("an answer").receipt();
            assert_eq!(receipt.accepted, 1);
        }
        events
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..LARGE_SENDERS)
            .map(|sender| {
                scope.spawn({
                    let post = &post;
                    move || post(sender)
                })
            })
            .collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

/// The recording library, and the folder of its log.
pub struct Recorder {
    library: PathBuf,
    pub log: PathBuf,
}

impl Recorder {
    /// Compiles it into a folder.
    pub fn build(folder: &Path) -> Self {
        let (library, log) = (folder.join("recorder.so"), folder.join("log"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/power/recorder.c");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        let compiled = compile.args(["-ldl", "-pthread"]).output().expect("cc: tests/run installs it");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { library, log }
    }

    /// The command that starts a receiver whose operations below a folder are recorded.
    pub fn watch(&self, home: &Home, root: &Path) -> Command {
        let receiver = home.command();
        let mut command = Command::new("env");
        command
            .arg(format!("LD_PRELOAD={}", self.library.display()))
            .arg(format!("RECORDER_LOG={}", self.log.display()))
            .arg(format!("RECORDER_FOLDER={}", root.display()))
            .arg(format!("RECORDER_SYNC_US={SYNC_US}"))
            .arg(receiver.get_program())
            .args(receiver.get_args());
        command
    }
}
